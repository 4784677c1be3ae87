// Products with packed matrices against those with the numbers that they stand for.

import { compile, leaf, packedLinear, type Value } from "mixture-of-shards-graph";
import { afterAll, expect, test } from "vitest";
import { randomStream } from "#common";
import type { Weight } from "#models";
import { packMatrix } from "../../src/inference/pack-matrix.ts";
import { openConstantsFile, writeMatrix } from "../../src/inference/packed-store.ts";
import { expand, FORMS, randomWeight } from "../stored-weights.ts";

const file = await openConstantsFile();
afterAll(() => file[Symbol.asyncDispose]());

const [ROWS, WIDTH] = [3, 192];
const random = randomStream(0, "x");
const x = Float32Array.from({ length: ROWS * WIDTH }, () => random.normal());

function dense(weights: readonly Weight[]): Float32Array {
  const numbers = weights.map((weight) => expand(weight));
  return Float32Array.from(
    Array.from({ length: ROWS }, (_, row) =>
      numbers.flatMap((w) =>
        Array.from({ length: w.length / WIDTH }, (_, out) => {
          let sum = 0;
          for (let k = 0; k < WIDTH; k++) sum += x[row * WIDTH + k]! * w[out * WIDTH + k]!;
          return sum;
        }),
      ),
    ).flat(),
  );
}

async function product(weights: readonly Weight[], computeDtype: "float32" | "int8"): Promise<Float32Array> {
  const matrix = await writeMatrix(packMatrix(weights, computeDtype), (_, { data, shape, dtype }) =>
    file.add(data, shape, dtype),
  );
  const y: Value = packedLinear(leaf("x", ["rows", WIDTH]), matrix, { computeDtype });
  await using program = await compile({ y });
  const { y: result } = await program.run({ x: { shape: [ROWS, WIDTH], data: x } });
  return result!.data as Float32Array;
}

function relativeError(actual: Float32Array, expected: Float32Array): number {
  expect(actual).toHaveLength(expected.length);
  const size = Math.sqrt(expected.reduce((sum, y) => sum + y * y, 0));
  return Math.sqrt(actual.reduce((sum, y, i) => sum + (y - expected[i]!) ** 2, 0)) / size;
}

const packed = Object.entries(FORMS).filter(([, { kind }]) => kind === "blocks" || kind === "nf4");

test.each(packed)("float32 products have the numbers of the weights: %s", async (name, format) => {
  // an odd number of rows, whose last half is padding
  const weights = [randomWeight(format, [24, WIDTH], "a"), randomWeight(format, [7, WIDTH], "b")];
  expect(relativeError(await product(weights, "float32"), dense(weights)), name).toBeLessThan(2e-6);
});

test.each(Object.entries(FORMS))("int8 products are near: %s", async (name, format) => {
  const weights = [randomWeight(format, [24, WIDTH], "a"), randomWeight(format, [7, WIDTH], "b")];
  expect(relativeError(await product(weights, "int8"), dense(weights)), name).toBeLessThan(0.03);
});
