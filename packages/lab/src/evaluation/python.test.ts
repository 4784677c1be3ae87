import { expect, test } from "vitest";
import { pythonRandom } from "./python.ts";

test("draws what Python draws after seed(42)", () => {
  const random = pythonRandom(42);
  expect(Array.from({ length: 5 }, random.uint32)).toEqual([
    2746317213, 478163327, 107420369, 3184935163, 1181241943,
  ]);
});

test("continues beyond its first block of 624 words, and takes other seeds", () => {
  const random = pythonRandom(42);
  const words = Array.from({ length: 2000 }, random.uint32);
  expect([words[623], words[624], words[1999]]).toEqual([2929454134, 1071722055, 1557724698]);
  expect([0, 1, 2 ** 32 - 1].map((seed) => pythonRandom(seed).uint32())).toEqual([
    3626764237, 577090037, 2728839433,
  ]);
});

test("samples as Python does, of short lists and long ones", () => {
  expect(pythonRandom(42).sample(8, 3)).toEqual([1, 0, 5]);
  expect(pythonRandom(42).sample(8, 8)).toEqual([1, 0, 5, 2, 7, 6, 4, 3]);
  expect(pythonRandom(42).sample(21, 2)).toEqual([20, 3]);
  expect(pythonRandom(42).sample(22, 5)).toEqual([20, 3, 0, 8, 7]);
  expect(pythonRandom(42).sample(85, 6)).toEqual([81, 14, 3, 35, 31, 28]);
  expect(pythonRandom(42).sample(86, 6)).toEqual([81, 14, 3, 35, 31, 28]);
  expect(pythonRandom(42).sample(1000, 10)).toEqual([654, 114, 25, 759, 281, 250, 228, 142, 754, 104]);
  expect(pythonRandom(42).sample(5, 0)).toEqual([]);
});
