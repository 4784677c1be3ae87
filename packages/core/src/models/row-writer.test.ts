import fc from "fast-check";
import { MAX_ROW_CODE, type WeightFormat } from "mixture-of-shards-graph/common";
import { describe, expect, test } from "vitest";
import { randomStream } from "#common";
import { blockFormats, type StoredType, storedFormat } from "#files";
import { GGUF_TYPES, randomBlocks } from "../../test/block-gguf.ts";
import { dequantizeWeight } from "./dequantize-weight.ts";
import { placeableFormat, rowWriter } from "./row-writer.ts";

/** What the numbers of a matrix [out, width] become when they are kept in a form. */
function kept(format: WeightFormat, numbers: Float32Array, width: number): Float32Array {
  const shape = [numbers.length / width, width] as const;
  const writer = rowWriter({ type: "F32", shape, width, format, onNumbers: () => {} });
  for (let row = 0; row < shape[0]; row++)
    writer.write(row, new Uint8Array(numbers.slice(row * width, (row + 1) * width).buffer));
  writer.finish();
  return dequantizeWeight(writer.weight);
}

const int4 = (blockSize: number): WeightFormat => ({
  kind: "blocks",
  bits: 4,
  blockSize,
  zeroPoint: 0,
  scales: "float16",
  offsets: true,
});
const int8 = (blockSize: number): WeightFormat => ({
  kind: "blocks",
  bits: 8,
  blockSize,
  zeroPoint: 0,
  scales: "float32",
  offsets: false,
});

const matrices = fc
  .record({
    bits: fc.constantFrom(4, 8),
    blockSize: fc.constantFrom(16, 32, 64),
    out: fc.integer({ min: 1, max: 4 }),
    blocks: fc.integer({ min: 1, max: 4 }),
  })
  .chain(({ out, blocks, blockSize, ...size }) => {
    const length = out * blocks * blockSize;
    const numbers = fc.float32Array({ minLength: length, maxLength: length, min: -4, max: 4, noNaN: true });
    return fc.record({ blockSize: fc.constant(blockSize), bits: fc.constant(size.bits), numbers });
  });

describe("columns in another order", () => {
  const [out, width] = [3, 768];
  const places = [2, 0, 4, 1, 5, 3]; // runs of half a K block
  const moved = (numbers: Float32Array): Float32Array =>
    numbers.map((_, i) => {
      const [row, column] = [Math.floor(i / width), i % width];
      return numbers[row * width + places.indexOf(Math.floor(column / 128)) * 128 + (column % 128)]!;
    });

  test.each(Object.keys(GGUF_TYPES) as StoredType[])("of %s are put in place, in any format", (type) => {
    const { blockSize, bytes, decode } = blockFormats[type];
    const data = randomBlocks(type, { count: (out * width) / blockSize, seed: 3 });
    const numbers = new Float32Array(out * width);
    decode(data, numbers);
    const rowBytes = (width / blockSize) * bytes;
    const write = (format: WeightFormat): Float32Array => {
      const columns = { shape: [out, width], width, columns: places };
      const writer = rowWriter({ type, ...columns, format, onNumbers: () => {} });
      for (const row of [2, 0, 1]) writer.write(row, data.subarray(row * rowBytes, (row + 1) * rowBytes));
      writer.finish();
      return dequantizeWeight(writer.weight);
    };
    const expected = moved(numbers);
    expect(write(storedFormat(type).format)).toEqual(expected);
    expect(write({ kind: "float32" })).toEqual(expected);
    const rows = { kind: "int8rows", transposed: false } as const;
    expect(write(rows)).toEqual(kept(rows, expected, width));
  });

  test("are float32 where no whole blocks move", () => {
    const { format } = storedFormat("Q8_0");
    const place = (size: number) => placeableFormat(format, { shape: [2, 6 * size], columns: places }).kind;
    expect([place(32), place(16)]).toEqual(["blocks", "float32"]);
  });
});

describe("a block", () => {
  test("is off by no more than plain rounding between its extremes would be", () => {
    fc.assert(
      fc.property(matrices, ({ bits, blockSize, numbers }) => {
        const back = kept(bits === 4 ? int4(blockSize) : int8(blockSize), numbers, blockSize);
        for (let from = 0; from < numbers.length; from += blockSize) {
          const block = numbers.subarray(from, from + blockSize);
          const [low, high] = [Math.min(0, ...block), Math.max(0, ...block)];
          const step = bits === 4 ? (high - low) / 15 : Math.max(high, -low) / 127;
          const error = block.reduce((sum, w, i) => sum + (w - back[from + i]!) ** 2, 0);
          // scales and offsets of 4 bits are halves, right to 2⁻¹¹ or, where they are tiny, to 2⁻²⁵
          const stored = bits === 4 ? 16 * (high - low) * 2 ** -11 + 2 ** -20 : 0;
          expect(error).toBeLessThanOrEqual(blockSize * (step / 2 + stored) ** 2 * 1.001 + 1e-12);
        }
      }),
    );
  });

  test.each([
    ["4 bits", int4(32), 15],
    ["8 bits", int8(32), 254],
  ] as const)("of %s is itself where it lies on a grid", (_, format, most) => {
    const stream = randomStream(1, "grid");
    const zero = most === 15 ? 6 : 127;
    // both extremes occur in every block, so the step is theirs
    const codes = (i: number): number => [0, most][i % 32] ?? Math.floor(stream.uniform() * (most + 1));
    const numbers = Float32Array.from({ length: 4 * 64 }, (_, i) => (codes(i) - zero) * 0.25);
    expect(kept(format, numbers, 64)).toEqual(numbers);
  });

  test("of zeros is zeros, and of equal numbers is these", () => {
    for (const format of [int4(16), int8(16)])
      expect(kept(format, new Float32Array(32), 16)).toEqual(new Float32Array(32));
    const equal = new Float32Array(32).fill(0.75);
    expect(kept(int4(16), equal, 16)).toEqual(equal);
  });
});

test("codes of int8 rows stay where pairs of products fit 16 bits", () => {
  fc.assert(
    fc.property(
      fc.float32Array({ minLength: 64, maxLength: 64, min: -4, max: 4, noNaN: true }),
      (numbers) => {
        const format = { kind: "int8rows", transposed: false } as const;
        const writer = rowWriter({ type: "F32", shape: [1, 64], width: 64, format, onNumbers: () => {} });
        writer.write(0, new Uint8Array(numbers.slice().buffer));
        writer.finish();
        const codes = writer.weight.parts.codes as Int8Array;
        expect(Math.max(...codes.map(Math.abs))).toBeLessThanOrEqual(MAX_ROW_CODE);
      },
    ),
  );
  expect(2 * 255 * MAX_ROW_CODE).toBeLessThan(2 ** 15);
});
