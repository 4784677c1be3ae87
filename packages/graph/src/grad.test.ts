import { expect, test } from "vitest";
import { grad } from "./grad.ts";
import { add, mul } from "./ops/elementwise.ts";
import { sum } from "./ops/reduce.ts";
import { split } from "./ops/shape.ts";
import { constant, leaf, scalar } from "./value.ts";

const refusal = (message: string) =>
  expect.objectContaining({ name: "MosError", code: "bad_config", message });
const x = leaf("x", [2, 3]);

test("only scalars have gradients", () => {
  expect(() => grad(mul(x, x), [x])).toThrowError(refusal("grad needs a scalar, not [2, 3]"));
});

test("an input that the result does not depend on is refused", () => {
  const message = "grad: the result does not depend on one of the inputs";
  const y = sum(mul(x, x));
  expect(() => grad(y, [leaf("z", [2])])).toThrowError(refusal(message));
  expect(() => grad(y, [x, leaf("x", [2, 3])])).toThrowError(refusal(message));
  // depends on z, but not where y comes from
  const z = mul(x, scalar(2));
  expect(() => grad(y, [z])).toThrowError(refusal(message));
});

test("gradients have the shapes of their inputs, whether leaves or values in between", () => {
  const gain = leaf("gain", [3]);
  const between = mul(x, gain);
  const gradients = grad(sum(mul(between, between)), [gain, x, between]);
  expect(gradients.map(({ shape }) => shape)).toEqual([[3], [2, 3], [2, 3]]);
});

test("of a value with respect to itself it is 1", () => {
  const y = sum(x);
  expect(grad(y, [y])[0]!.source).toEqual({ kind: "constant", data: Float32Array.of(1) });
});

test("an unused part of a split gets a gradient of zeros", () => {
  const [first] = split(x, { axis: 1, sizes: [1, 2] });
  expect(grad(sum(first!), [x])[0]!.shape).toEqual([2, 3]);
});

test("a graph of many thousand nodes does not exhaust the stack", () => {
  let y = x;
  for (let i = 0; i < 20_000; i++) y = add(y, x);
  expect(grad(sum(y), [x])[0]!.shape).toEqual([2, 3]);
});

test("rules that lead to none of the inputs are not applied", () => {
  let asked = 0;
  const frozen = { ...mul(constant(Float32Array.of(1)), scalar(2)) };
  const watched = {
    ...frozen,
    rule: {
      inputs: [frozen],
      outputs: [frozen],
      vjp: () => {
        asked++;
        return [undefined];
      },
    },
  };
  grad(sum(mul(x, watched)), [x]);
  expect(asked).toBe(0);
});
