import { expect, test } from "vitest";
import { grad } from "../grad.ts";
import { compile } from "../runtime/program.ts";
import { leaf, type Value } from "../value.ts";
import { clip, log1mexp, logSigmoid, softplus } from "./elementwise.ts";
import { sum } from "./reduce.ts";

/** Values and gradients of an op at each x. */
async function evaluate(op: (x: Value) => Value, xs: readonly number[]) {
  const x = leaf("x", [xs.length]);
  const y = op(x);
  const [dx] = grad(sum(y), [x]) as [Value];
  await using program = await compile({ y, dx });
  const outputs = await program.run({ x: { shape: [xs.length], data: Float32Array.from(xs) } });
  return { y: Array.from(outputs["y"]?.data ?? []), dx: Array.from(outputs["dx"]?.data ?? []) };
}

test("log(1 + e^x) and log σ(x) are finite and exact for large |x|", async () => {
  const xs = [-200, -30, 0, 30, 200];
  const positive = await evaluate(softplus, xs);
  for (const [i, expected] of [0, Math.exp(-30), Math.LN2, 30, 200].entries())
    expect(positive.y[i]).toBeCloseTo(expected, 5);
  const negative = await evaluate(logSigmoid, xs);
  for (const [i, expected] of [-200, -30, -Math.LN2, 0, 0].entries())
    expect(negative.y[i]).toBeCloseTo(expected, 5);
  for (const [i, expected] of [1, 1, 0.5, 0, 0].entries()) expect(negative.dx[i]).toBeCloseTo(expected, 5);
});

test("log(1 + e^x) keeps its digits where e^x is small", async () => {
  const xs = [-60, -20, -10, -3, -0.1, 0.1, 3, 20].map(Math.fround);
  const { y, dx } = await evaluate(softplus, xs);
  for (const [i, x] of xs.entries()) {
    const expected = Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
    expect(Math.abs(y[i]! / expected - 1)).toBeLessThan(1e-6);
    expect(dx[i]).toBeCloseTo(1 / (1 + Math.exp(-x)), 6);
  }
});

test("log(1 - e^x) keeps its digits near 0 and far from it", async () => {
  const xs = [-1e-6, -1e-3, -0.5, -3, -20, -100].map(Math.fround);
  const { y, dx } = await evaluate(log1mexp, xs);
  for (const [i, x] of xs.entries()) {
    expect(Math.abs((y[i] ?? Number.NaN) - Math.log(-Math.expm1(x)))).toBeLessThan(2e-6);
    const slope = 1 / -Math.expm1(-x); // −eˣ / (1 − eˣ)
    expect(Math.abs((dx[i] ?? Number.NaN) - slope)).toBeLessThan(1e-6 + 1e-5 * Math.abs(slope));
  }
});

test("the gradient of clip ends beyond its bounds, as that of torch.clamp", async () => {
  const { y, dx } = await evaluate((x) => clip(x, -0.5, 2), [-1, -0.5, 0, 2, 3]);
  expect(y).toEqual([-0.5, -0.5, 0, 2, 2]);
  expect(dx).toEqual([0, 1, 1, 1, 0]);
});
