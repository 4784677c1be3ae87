// Random stored weights of every form, and their numbers in plain TypeScript.

import { hadamardRows, NF4_LEVELS, type TensorData } from "mixture-of-shards-graph";
import {
  MAX_ROW_CODE,
  type WeightFormat,
  type WeightPart,
  weightParts,
} from "mixture-of-shards-graph/common";
import { randomStream } from "../src/common/index.ts";

export const FORMS: Readonly<Record<string, WeightFormat>> = {
  float16: { kind: "float16" },
  bfloat16: { kind: "bfloat16" },
  "4 bits, zero point 8, halves (Q4_0)": {
    kind: "blocks",
    bits: 4,
    blockSize: 32,
    zeroPoint: 8,
    scales: "float16",
    offsets: false,
  },
  "4 bits, offsets, halves (Q4_1)": {
    kind: "blocks",
    bits: 4,
    blockSize: 32,
    zeroPoint: 0,
    scales: "float16",
    offsets: true,
  },
  "4 bits, offsets (int4)": {
    kind: "blocks",
    bits: 4,
    blockSize: 32,
    zeroPoint: 0,
    scales: "float32",
    offsets: true,
  },
  "8 bits, halves (Q8_0)": {
    kind: "blocks",
    bits: 8,
    blockSize: 32,
    zeroPoint: 0,
    scales: "float16",
    offsets: false,
  },
  "8 bits, offsets (Q5_K)": {
    kind: "blocks",
    bits: 8,
    blockSize: 32,
    zeroPoint: 0,
    scales: "float32",
    offsets: true,
  },
  "8 bits, blocks of 16 (Q6_K)": {
    kind: "blocks",
    bits: 8,
    blockSize: 16,
    zeroPoint: 0,
    scales: "float32",
    offsets: false,
  },
  nf4: { kind: "nf4", blockSize: 64 },
};

/** A half of small magnitude, as bits. */
const half = (random: { uniform(): number }): number =>
  (random.uniform() < 0.5 ? 0x8000 : 0) | Math.floor(0x2000 + random.uniform() * 0x1400);

export function halfToNumber(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

export interface HostWeight {
  readonly format: WeightFormat;
  readonly shape: readonly number[];
  readonly parts: Readonly<Partial<Record<WeightPart, TensorData>>>;
}

/** A stored weight of random content. */
export function randomWeight(format: WeightFormat, shape: readonly number[], label = "weight"): HostWeight {
  const random = randomStream(1, label);
  const largest = format.kind === "int8rows" ? MAX_ROW_CODE : 127;
  const parts = weightParts(format, shape).map(({ part, shape: of, dtype }) => {
    const length = of.reduce((a, b) => a * b, 1);
    const draw = (next: () => number) => Array.from({ length }, next);
    const scale = () => (random.uniform() - 0.5) / 50;
    const data: TensorData =
      dtype === "float16"
        ? Uint16Array.from(draw(() => half(random)))
        : dtype === "uint16"
          ? Uint16Array.from(
              new Uint32Array(Float32Array.from(draw(scale)).buffer).map((bits) => bits >>> 16),
            )
          : dtype === "float32"
            ? Float32Array.from(draw(() => scale() / (format.kind === "nf4" ? 1 : 4)))
            : dtype === "int8"
              ? Int8Array.from(draw(() => Math.floor(random.uniform() * (2 * largest + 1)) - largest))
              : Uint8Array.from(draw(() => Math.floor(random.uniform() * 256)));
    return [part, data] as const;
  });
  return { format, shape, parts: Object.fromEntries(parts) };
}

/** The numbers of a stored weight, row by row. */
export function expand({ format, shape, parts }: HostWeight): Float32Array {
  const [out = 0, width = 0] = shape;
  const { data, codes, scales, offsets } = parts;
  const float = (tensor: TensorData | undefined, i: number): number =>
    tensor instanceof Uint16Array ? halfToNumber(tensor[i]!) : (tensor?.[i] ?? 0);
  const number = (row: number, column: number): number => {
    const i = row * width + column;
    switch (format.kind) {
      case "float32":
      case "float16":
        return float(data, i);
      case "bfloat16":
        return new Float32Array(Uint32Array.of(data![i]! << 16).buffer)[0]!;
      case "nf4": {
        const level = NF4_LEVELS[(codes![i >> 1]! >> (i % 2 === 0 ? 4 : 0)) & 15]!;
        return Math.fround(level) * scales![Math.floor(i / format.blockSize)]!;
      }
      case "int8rows":
        return codes![i]! * scales![row]!;
      case "blocks": {
        const half = Math.ceil(out / 2);
        const packed = codes![(row % half) * width + column]!;
        const code = format.bits === 8 ? codes![i]! : row < half ? packed & 15 : packed >> 4;
        const block = Math.floor(i / format.blockSize);
        const scaled = Math.fround(float(scales, block) * (code - format.zeroPoint));
        return offsets === undefined ? scaled : scaled + float(offsets, block);
      }
    }
  };
  const numbers = Float32Array.from({ length: out * width }, (_, i) =>
    number(Math.floor(i / width), i % width),
  );
  if (format.kind === "int8rows") hadamardRows(numbers, width, { inverse: true });
  return numbers;
}

/** Bytes that the parts of a weight take. */
export const storedBytes = ({
  parts,
}: {
  readonly parts: Readonly<Partial<Record<WeightPart, TensorData>>>;
}): number => Object.values(parts).reduce((sum, { byteLength }) => sum + byteLength, 0);
