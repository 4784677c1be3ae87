import {
  compile,
  constant,
  crossEntropy,
  embed,
  grad,
  type HostTensor,
  leaf,
  linear,
  lowRankLinear,
  mul,
  neg,
  partName,
  storedWeight,
  sum,
  weightLeaf,
} from "mixture-of-shards-graph";
import { type WeightPart, weightParts } from "mixture-of-shards-graph/common";
import { describe, expect, test } from "vitest";
import { sortNodes } from "../../graph/src/value.ts";
import { randomStream } from "../src/common/index.ts";
import { expand, FORMS, type HostWeight, randomWeight } from "./stored-weights.ts";

/** What the leaves of a weight are fed. */
const makeFeeds = (name: string, { format, shape, parts }: HostWeight): Record<string, HostTensor> =>
  Object.fromEntries(
    weightParts(format, shape).map((type) => [
      partName(name, type.part),
      { shape: type.shape, data: parts[type.part as WeightPart]! },
    ]),
  );

const normal = (length: number, label: string): Float32Array => {
  const random = randomStream(2, label);
  return Float32Array.from({ length }, () => 2 * random.uniform() - 1);
};

function expectClose(left: ArrayLike<number>, right: ArrayLike<number>, tolerance: number): void {
  expect(left.length).toBe(right.length);
  const size = Array.from(right).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  expect(size).toBeGreaterThan(0);
  const worst = Array.from(left).reduce((most, x, i) => Math.max(most, Math.abs(x - right[i]!)), 0);
  expect(worst / size).toBeLessThan(tolerance);
}

describe.each(Object.entries(FORMS))("a weight stored as %s", (_, format) => {
  // an odd number of rows: of 4-bit halves, the second is one row shorter
  const shape = [7, 128];
  const stored = randomWeight(format, shape);
  const numbers = expand(stored);
  const weight = weightLeaf("w", shape, format);
  const feeds = makeFeeds("w", stored);

  test("has its numbers, to the bit", async () => {
    await using program = await compile({ numbers: weight });
    const found = (await program.run(feeds))["numbers"]!;
    expect(found.shape).toEqual(shape);
    expect(found.data).toEqual(numbers);
  });

  test("gives the rows that an embedding reads", async () => {
    const ids = Int32Array.of(6, 0, 3, 4, 4, 1);
    await using program = await compile({ rows: embed(weight, leaf("ids", ["b", 3], "int32")) });
    const { rows } = await program.run({ ...feeds, ids: { shape: [2, 3], data: ids } });
    expect(rows!.shape).toEqual([2, 3, 128]);
    expect(rows!.data).toEqual(
      Float32Array.from([...ids].flatMap((row) => [...numbers.subarray(row * 128, (row + 1) * 128)])),
    );
  });

  test.each<[string, { readonly partSize?: number; readonly chunk?: number; readonly softCap?: number }]>([
    ["in one part", {}],
    ["in parts", { partSize: 300 }],
    ["in parts and rows", { partSize: 300, chunk: 1 }],
    ["capped", { softCap: 100 }],
    ["capped, in parts and rows", { softCap: 100, partSize: 300, chunk: 1 }],
  ])("has the cross-entropy of its numbers as a head, and the gradient: %s", async (_, sizes) => {
    const x = leaf("x", ["n", 128]);
    const labels = leaf("labels", ["n"], "int32");
    const outputs = (head: typeof weight, chosen: object) => {
      const { logprobs, misses } = crossEntropy(x, head, {
        labels,
        chunk: 8,
        maxRows: 5,
        training: true,
        ...chosen,
      });
      return { logprobs, misses, dx: grad(neg(sum(logprobs)), [x])[0]! };
    };
    const given = {
      x: { shape: [5, 128], data: normal(5 * 128, "x").map((v) => 30 * v) },
      labels: { shape: [5], data: Int32Array.of(6, 0, 3, 3, 1) },
    };
    await using program = await compile(outputs(weight, sizes));
    const { softCap } = sizes;
    await using reference = await compile(outputs(leaf("w", shape), { softCap }));
    const found = await program.run({ ...given, ...feeds });
    const expected = await reference.run({ ...given, w: { shape, data: numbers } });
    for (const [name, { data }] of Object.entries(expected)) expectClose(found[name]!.data, data, 1e-5);
    const logits = (row: number): number[] =>
      Array.from({ length: 7 }, (_, token) =>
        numbers
          .subarray(token * 128, (token + 1) * 128)
          .reduce((sum, w, i) => sum + w * given.x.data[row * 128 + i]!, 0),
      );
    const isMiss = (label: number, row: number): boolean => Math.max(...logits(row)) > logits(row)[label]!;
    expect([...found["misses"]!.data]).toEqual(
      [...given.labels.data].map((label, row) => Number(isMiss(label, row))),
    );
  });

  test.each(["plain", "low rank", "low rank with dropout", "kept", "again"] as const)(
    "has the product and the gradients of its numbers: %s",
    async (kind) => {
      const [x, a, b] = [leaf("x", [5, 128]), leaf("a", [2, 128]), leaf("b", [2, 7])];
      const mask = constant(
        Float32Array.from({ length: 5 * 128 }, (_, i) => (i % 3 === 0 ? 0 : 1.5)),
        [5, 128],
      );
      const options = {
        a,
        b,
        scale: 0.5,
        ...(kind === "kept" || kind === "again" ? { merge: kind } : {}),
        ...(kind === "low rank with dropout" ? { dropoutMask: mask } : {}),
      };
      const outputs = (w: typeof weight) => {
        const y = kind === "plain" ? linear(x, w) : lowRankLinear(x, w, options);
        const loss = sum(mul(y, mul(y, leaf("t", [5, 7]))));
        const [dx, da, db] = grad(loss, kind === "plain" ? [x] : [x, a, b]);
        return { y, dx: dx!, ...(da && db ? { da, db } : {}) };
      };
      const given = {
        x: { shape: [5, 128], data: normal(5 * 128, "x") },
        t: { shape: [5, 7], data: normal(35, "t") },
        ...(kind === "plain"
          ? {}
          : {
              a: { shape: [2, 128], data: normal(256, "a") },
              b: { shape: [2, 7], data: normal(14, "b") },
            }),
      };
      await using program = await compile(outputs(weight));
      await using reference = await compile(outputs(leaf("w", shape)));
      const found = await program.run({ ...given, ...feeds });
      const expected = await reference.run({ ...given, w: { shape, data: numbers } });
      for (const [name, { data }] of Object.entries(expected)) expectClose(found[name]!.data, data, 1e-5);
    },
  );
});

test("a weight whose tensors do not fit its form is refused", () => {
  const format = FORMS["nf4"]!;
  expect(() => storedWeight(format, [4, 64], {})).toThrowError(
    /of format nf4 needs codes \[4, 32\] of uint8/,
  );
  expect(() => storedWeight(format, [4, 64], { codes: leaf("c", [4, 64], "uint8") })).toThrowError(
    /not \[4, 64\]/,
  );
});

test("vectors are float32 in every form", () => {
  expect(weightLeaf("norm", [8], { kind: "bfloat16" }).dtype).toBe("float32");
});

test("NF4 has the runtime's own product forward only, since with transB = 0 that gives wrong numbers", () => {
  const x = leaf("x", ["n", 128]);
  const weight = weightLeaf("w", [8, 128], FORMS["nf4"]!);
  const y = lowRankLinear(x, weight, { a: leaf("a", [2, 128]), b: leaf("b", [2, 8]), scale: 1 });
  const loss = sum(mul(y, y));
  const products = sortNodes([loss, ...grad(loss, [x])]).filter(({ op }) => op === "MatMulBnb4");
  expect(products).toHaveLength(1);
  for (const { attributes } of products) expect(attributes["transB"]).toBe(1);
});
