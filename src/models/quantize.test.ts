import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomStream } from "#core";
import { grad, leaf, type QuantizedMatrix, quantizedLinear, sumAll } from "#graph";
import { compile } from "#runtime";
import { dequantizeRows, QUANTIZATION, quantizeMatrix } from "./quantize.ts";

const random = (count: number, label: string): Float32Array => {
  const stream = randomStream(1, label);
  return Float32Array.from({ length: count }, () => stream.normal());
};

/** x · Wᵀ in double precision. */
const product = (x: Float32Array, w: Float32Array, { out, in: width }: { out: number; in: number }) =>
  Float32Array.from({ length: (x.length / width) * out }, (_, i) => {
    const [row, column] = [Math.floor(i / out), i % out];
    let total = 0;
    for (let k = 0; k < width; k++) total += x[row * width + k]! * w[column * width + k]!;
    return total;
  });

const matrices = fc
  .record({
    bits: fc.constantFrom(4 as const, 8 as const),
    blockSize: fc.constantFrom(16, 32, 64),
    out: fc.integer({ min: 1, max: 4 }),
    in: fc.integer({ min: 1, max: 100 }),
    offsets: fc.boolean(),
  })
  .chain((options) =>
    fc.record({
      options: fc.constant(options),
      data: fc.float32Array({
        minLength: options.out * options.in,
        maxLength: options.out * options.in,
        min: -4,
        max: 4,
        noNaN: true,
      }),
    }),
  );

describe("a matrix and back", () => {
  test("is off by no more than plain rounding between a block's extremes would be", () => {
    fc.assert(
      fc.property(matrices, ({ options, data }) => {
        const { bits, blockSize, out, in: width } = options;
        const back = dequantizeRows(quantizeMatrix(data, options));
        for (let row = 0; row < out; row++)
          for (let from = row * width; from < (row + 1) * width; from += blockSize) {
            const block = data.subarray(from, Math.min(from + blockSize, (row + 1) * width));
            const [low, high] = [Math.min(0, ...block), Math.max(0, ...block)];
            // a whole zero point may need a step as if there were one number less
            const step = bits === 4 ? (high - low) / 14 : Math.max(high, -low) / 127;
            const error = block.reduce((sum, w, i) => sum + (w - back[from + i]!) ** 2, 0);
            expect(error).toBeLessThanOrEqual(block.length * (step / 2) ** 2 * 1.001 + 1e-12);
          }
      }),
    );
  });

  test.each([4, 8] as const)("of %i bits is itself where it lies on a grid", (bits) => {
    const stream = randomStream(1, "grid");
    const most = bits === 4 ? 15 : 254;
    const zero = bits === 4 ? 6 : 127;
    // both extremes occur in every block, so the step is theirs
    const data = Float32Array.from({ length: 4 * 64 }, (_, i) =>
      i % 32 === 0
        ? -zero * 0.25
        : i % 32 === 1
          ? (most - zero) * 0.25
          : (Math.floor(stream.uniform() * (most + 1)) - zero) * 0.25,
    );
    const back = dequantizeRows(quantizeMatrix(data, { out: 4, in: 64, bits, blockSize: 32 }));
    for (const [i, w] of data.entries()) expect(back[i]).toBeCloseTo(w, 5);
  });

  test("finds any grid of sixteen again with offsets, which are a sixteenth off", () => {
    const stream = randomStream(1, "offsets");
    const size = { out: 3, in: 128, bits: 4, blockSize: 32 } as const;
    const steps: number[] = [];
    const data = new Float32Array(3 * 128);
    for (let from = 0; from < data.length; from += 32) {
      const step = 0.5 + stream.uniform();
      const least = -step * (5 + 5 * stream.uniform());
      for (let i = 0; i < 32; i++)
        data[from + i] = least + step * (i < 2 ? 15 * i : Math.floor(16 * stream.uniform()));
      steps.push(step);
    }
    const worst = (offsets: boolean): number => {
      const back = dequantizeRows(quantizeMatrix(data, { ...size, offsets }));
      return Math.max(...data.map((w, i) => Math.abs(w - back[i]!) / steps[Math.floor(i / 32)]!));
    };
    expect(worst(true)).toBeLessThan(0.1);
    expect(worst(false)).toBeGreaterThan(0.4);
  });

  test("of zeros is zeros", () => {
    for (const bits of [4, 8] as const)
      expect(
        dequantizeRows(quantizeMatrix(new Float32Array(40), { out: 1, in: 40, bits, blockSize: 16 })),
      ).toEqual(new Float32Array(40));
  });

  test.each([
    [{ out: 2, in: 16, bits: 4, blockSize: 16 } as const, "a matrix [2, 16] has 32 numbers, not 16"],
    [{ out: 1, in: 16, bits: 4, blockSize: 24 } as const, "the block size is 24"],
    [{ out: 1, in: 16, bits: 8, blockSize: 8 } as const, "the block size is 8"],
  ])("is refused with %o", (options, message) => {
    expect(() => quantizeMatrix(new Float32Array(16), options)).toThrowError(
      expect.objectContaining({ code: "bad_config", message: expect.stringContaining(message) }),
    );
  });
});

describe("the runtime's product", () => {
  test.each([
    [4, 16, 7, 48, false],
    [4, 32, 33, 100, false],
    [4, 32, 33, 96, true],
    [4, 16, 5, 16 * 19, true],
    [4, 128, 16, 192, false],
    [8, 16, 5, 40, false],
    [8, 32, 33, 100, false],
    [8, 64, 16, 192, true],
  ] as const)(
    "of %i bits in blocks of %i is x · Wᵀ of the dequantised [%i, %i], offsets %s",
    async (bits, blockSize, out, width, offsets) => {
      const size = { out, in: width };
      const matrix = quantizeMatrix(random(out * width, "w"), { ...size, bits, blockSize, offsets });
      expect(matrix.offsets).toBe(offsets && bits === 4 ? width / blockSize : 0);
      const x = random(3 * width, "x");
      const value = leaf("x", ["n", width]);
      await using program = await compile({
        exact: quantizedLinear(value, matrix, { activations: "float32" }),
        fast: quantizedLinear(value, matrix),
      });
      const { exact, fast } = await program.run({ x: { shape: [3, width], data: x } });
      const wanted = product(x, dequantizeRows(matrix), size);
      const typical = Math.sqrt(wanted.reduce((sum, y) => sum + y * y, 0) / wanted.length);
      for (const [i, y] of wanted.entries()) {
        expect(Math.abs(exact!.data[i]! - y)).toBeLessThan(1e-4 * typical);
        expect(Math.abs(fast!.data[i]! - y)).toBeLessThan(0.05 * typical);
      }
    },
  );

  test("goes through the constants of another file", async () => {
    const matrix = quantizeMatrix(random(64 * 64, "w"), { out: 64, in: 64, ...QUANTIZATION.int4.layers });
    const y = quantizedLinear(leaf("x", ["n", 64]), matrix);
    const feeds = { x: { shape: [2, 64], data: random(2 * 64, "x") } };
    await using inside = await compile({ y });
    await using outside = await compile({ y }, { inlineLimit: 0 });
    expect((await outside.run(feeds))["y"]).toEqual((await inside.run(feeds))["y"]);
  });

  test("has no gradient, and says so", () => {
    const matrix: QuantizedMatrix = quantizeMatrix(new Float32Array(32), {
      out: 2,
      in: 16,
      bits: 8,
      blockSize: 16,
    });
    const x = leaf("x", [1, 16]);
    expect(() => grad(sumAll(quantizedLinear(x, matrix)), [x])).toThrowError(
      expect.objectContaining({ code: "bad_config", message: expect.stringContaining("no gradient") }),
    );
    expect(() => quantizedLinear(leaf("x", [1, 15]), matrix)).toThrowError(
      expect.objectContaining({
        code: "bad_config",
        message: "cannot multiply [1, 15] by [2, 16] transposed",
      }),
    );
  });
});
