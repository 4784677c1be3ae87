import { add, compile, constant, grad, leaf, mul, sum, type Value } from "mixture-of-shards-graph";
import { describe, expect, test } from "vitest";
import { countElements, randomStream } from "../src/common/index.ts";
import { type Case, cases } from "./op-cases.ts";

/** Gradients of a random weighting of the outputs, against central differences through the runtime. */
async function compareGradients({ shapes, signed = false, build }: Case, label: string): Promise<void> {
  const random = randomStream(1, label);
  const draw = (n: number) =>
    Float32Array.from({ length: n }, () => (signed ? 2 * random.uniform() - 1 : 0.5 + random.uniform()));
  const leaves = shapes.map((shape, i) => leaf(`x${i}`, shape));
  const built = build(...leaves);
  const outputs = Array.isArray(built) ? (built as Value[]) : [built as Value];
  const loss = outputs
    .map((y) => sum(mul(y, constant(draw(countElements(y.shape)), y.shape))))
    .reduce((a, b) => add(a, b));
  const gradients = grad(loss, leaves);
  await using program = await compile({ loss, ...Object.fromEntries(gradients.map((g, i) => [`g${i}`, g])) });
  // a program computes all of its outputs, whichever are fetched
  await using forward = await compile({ loss });
  const data = shapes.map((shape) => draw(countElements(shape)));
  const feeds = () => Object.fromEntries(data.map((d, i) => [`x${i}`, { shape: shapes[i]!, data: d }]));
  const exact = await program.run(feeds());
  for (const [i, values] of data.entries()) {
    const found = exact[`g${i}`]!;
    expect(found.shape).toEqual(shapes[i]);
    for (let j = 0; j < values.length; j++) {
      const kept = values[j]!;
      const step = 2 ** -7;
      values[j] = kept + step;
      const above = (await forward.run(feeds()))["loss"]!.data[0]!;
      values[j] = kept - step;
      const below = (await forward.run(feeds()))["loss"]!.data[0]!;
      values[j] = kept;
      const numeric = (above - below) / (2 * step);
      if (Math.abs(found.data[j]! - numeric) < 2e-3 + 1e-2 * Math.abs(numeric)) continue;
      expect.fail(`input ${i}, element ${j}: ${found.data[j]} against ${numeric}`);
    }
  }
}

describe.each(Object.entries(cases))("%s", (name, list: readonly Case[]) => {
  test.each(list.map((c, i) => [i, c] as const))("case %i agrees with finite differences", async (i, c) => {
    await compareGradients(c, `${name}.${i}`);
  });
});
