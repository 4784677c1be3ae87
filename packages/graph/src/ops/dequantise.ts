// Nodes that dequantise a stored weight to float32. They have no gradient, since these weights are frozen.
// R rows, of any number of axes · K blocks per row

import { MosError } from "../error.ts";
import { countElements, type Shape } from "../tensor-type.ts";
import { cast, constant, emit, gather, int64s, type StoredWeight, scalar, type Value } from "../value.ts";
import type { BlockFormat, WeightPart } from "../weight-form.ts";
import { hadamard } from "./hadamard.ts";
import { after, concat, reshape, slice } from "./shape.ts";

/** The levels of NF4, from −1 to 1 (QLoRA, appendix E). */
export const NF4_LEVELS: readonly number[] = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

/** Both levels of every byte, the high half first: [256, 2]. */
const NF4_PAIRS = constant(
  Float32Array.from({ length: 512 }, (_, i) => NF4_LEVELS[i % 2 === 0 ? i >> 5 : (i >> 1) & 15] ?? 0),
  [256, 2],
);

const plain = (op: string, inputs: readonly Value[], shape: Shape): Value => emit(op, inputs, { shape });
const byte = (x: number): Value => constant(Uint8Array.of(x), []);

const toFloat = (x: Value): Value => cast(x, "float32");

const lowHalf = (codes: Value): Value => plain("BitwiseAnd", [codes, byte(15)], codes.shape);
const highHalf = (codes: Value): Value =>
  emit("BitShift", [codes, byte(4)], { shape: codes.shape, attributes: { direction: "RIGHT" } });

/** A part of a weight, which its format must have. */
export function requirePart({ format, parts }: StoredWeight, part: WeightPart): Value {
  const value = parts[part];
  if (value === undefined)
    throw new MosError("bad_config", `a weight of format ${format.kind} needs its ${part}`);
  return value;
}

/** Codes of 4 bits, whose halves are those of the matrix, as one byte each: [out, in]. */
function unpackRows(codes: Value, out: number): Value {
  const [half, width] = codes.shape as readonly [number, number];
  const all = emit("Concat", [lowHalf(codes), highHalf(codes)], {
    shape: [2 * half, width],
    attributes: { axis: 0 },
  });
  return out === 2 * half ? all : plain("Slice", [all, int64s(0), int64s(out), int64s(0)], [out, width]);
}

interface BlockRows {
  /** One number in an element, [R, in]. */
  readonly codes: Value;
  /** [R, K] */
  readonly scales: Value;
  readonly offsets: Value | undefined;
}

/**
 * scale · (code − zero point), a block in a row. It is one operator, which takes half the time of a Cast, a Sub and a Mul,
 * and a third of their memory; with the attribute for blocks it would be the slower one.
 */
function scaleRows(
  codes: Value,
  scales: Value,
  { blockSize, zeroPoint }: Pick<BlockFormat, "blockSize" | "zeroPoint">,
): Value {
  const blocks = countElements(codes.shape) / blockSize;
  const inputs = [reshape(codes, [blocks, blockSize]), reshape(toFloat(scales), [blocks])];
  if (zeroPoint !== 0) inputs.push(zeroPoints(blocks, zeroPoint));
  return emit("DequantizeLinear", inputs, {
    shape: [blocks, blockSize],
    dtype: "float32",
    attributes: { axis: 0 },
  });
}

/** By their number and value: layers of one shape share them. */
const sharedZeroPoints = new Map<string, Value>();

/** A zero point for each of many blocks. They are a constant since WebGPU's Expand takes no bytes. */
function zeroPoints(blocks: number, zeroPoint: number): Value {
  const key = `${blocks} ${zeroPoint}`;
  const found = sharedZeroPoints.get(key) ?? constant(new Uint8Array(blocks).fill(zeroPoint), [blocks]);
  sharedZeroPoints.set(key, found);
  return found;
}

/** code − zero point. No Cast, since WebGPU's takes no int8. */
function centred(codes: Value, shape: Shape, zeroPoint: number): Value {
  const inputs = [reshape(codes, shape), scalar(1)];
  if (zeroPoint !== 0) inputs.push(byte(zeroPoint));
  return emit("DequantizeLinear", inputs, { shape, dtype: "float32" });
}

/** scale · (code − zero point) + offset, [R, in] */
function scaleBlocks(
  { codes, scales, offsets }: BlockRows,
  format: Pick<BlockFormat, "blockSize" | "zeroPoint">,
): Value {
  const rows = codes.shape.slice(0, -1);
  const width = codes.shape.at(-1) as number;
  const shape = [...rows, width / format.blockSize, format.blockSize];
  const column = (v: Value): Value => reshape(toFloat(v), [...v.shape, 1]);
  const scaled = rows.some((dim) => typeof dim === "string")
    ? plain("Mul", [centred(codes, shape, format.zeroPoint), column(scales)], shape)
    : reshape(scaleRows(codes, scales, format), shape);
  return reshape(
    offsets === undefined ? scaled : plain("Add", [scaled, column(offsets)], shape),
    codes.shape,
  );
}

/** Rows of packed NF4 codes [R, in / 2] as float32: [R, in]. */
function nf4Rows(
  codes: Value,
  { scales, blockSize }: { readonly scales: Value; readonly blockSize: number },
): Value {
  const rows = codes.shape.slice(0, -1);
  const width = 2 * (codes.shape.at(-1) as number);
  const levels = gather(NF4_PAIRS, cast(codes, "int32"));
  const shape = [...rows, width / blockSize, blockSize];
  const scaled = plain("Mul", [reshape(levels, shape), reshape(scales, [...scales.shape, 1])], shape);
  return reshape(scaled, [...rows, width]);
}

/** Tensors of a weight, or of some of its rows, as numbers. `unpackCodes` gives codes of 4 bits as one byte each. */
function decodeParts({ format, parts, shape }: StoredWeight, unpackCodes: (codes: Value) => Value): Value {
  const part = (name: WeightPart): Value => requirePart({ format, parts, shape }, name);
  switch (format.kind) {
    case "float32":
    case "float16":
      return toFloat(part("data"));
    case "bfloat16":
      return toFloat(cast(part("data"), "bfloat16", "BitCast"));
    case "blocks":
      return scaleBlocks(
        {
          codes: format.bits === 4 ? unpackCodes(part("codes")) : part("codes"),
          scales: part("scales"),
          offsets: format.offsets ? part("offsets") : undefined,
        },
        format,
      );
    case "nf4":
      return nf4Rows(part("codes"), { scales: part("scales"), blockSize: format.blockSize });
    case "int8rows": {
      const codes = part("codes");
      const scales = part("scales");
      const transformed = scaleBlocks(
        { codes, scales: reshape(scales, [...scales.shape, 1]), offsets: undefined },
        { blockSize: shape[1] ?? 0, zeroPoint: 0 },
      );
      return hadamard(transformed, { inverse: true });
    }
  }
}

const mapParts = (weight: StoredWeight, map: (part: Value, name: WeightPart) => Value): StoredWeight => ({
  ...weight,
  parts: Object.fromEntries(
    Object.entries(weight.parts).map(([name, part]) => [name, map(part, name as WeightPart)]),
  ),
});

/**
 * A stored weight as float32, [out, in]. They exist from when `others` are computed until they are last read;
 * without others, the runtime may compute them at the beginning of the run.
 */
export function dequantise(weight: StoredWeight, others: readonly Value[] = []): Value {
  const timed = others.length === 0 ? weight : mapParts(weight, (part) => after(part, others));
  return decodeParts(timed, (codes) => unpackRows(codes, weight.shape[0] ?? 0));
}

/** A range of the rows in which the codes of a weight are stored; with 4 bits, each holds two rows of the weight. */
export interface StoredRange {
  readonly from: number;
  readonly to: number;
}

/** The number of rows that the codes of a weight are stored in. */
export const storedRows = ({ parts, shape }: StoredWeight): number =>
  ((parts.codes ?? parts.data)?.shape[0] as number | undefined) ?? shape[0] ?? 0;

/** Rows that a part of a stored weight has, in its order: `from` … `to` − 1, and of 4-bit halves also those that share their bytes. */
export function sliceStoredRows(weight: StoredWeight, { from, to }: StoredRange): readonly StoredRange[] {
  const [out = 0] = weight.shape;
  const packed = weight.format.kind === "blocks" && weight.format.bits === 4;
  const half = storedRows(weight);
  const shared = { from: half + from, to: Math.min(out, half + to) };
  return packed && shared.to > shared.from ? [{ from, to }, shared] : [{ from, to }];
}

/**
 * A part of a stored weight as float32, computed after `others`: the rows of `sliceStoredRows`. Ranges that cover all
 * stored rows give every row once.
 */
export function dequantiseRange(
  weight: StoredWeight,
  { from, to }: StoredRange,
  others: readonly Value[],
): Value {
  const [, shared] = sliceStoredRows(weight, { from, to });
  const range = (part: Value, begin: number, end: number): Value =>
    slice(after(part, others), { axis: 0, from: begin, to: end });
  const parts = mapParts(weight, (part, name) => {
    const first = range(part, from, to);
    return name === "codes" || shared === undefined
      ? first
      : concat([first, range(part, shared.from, shared.to)], 0);
  });
  const second = shared === undefined ? 0 : shared.to - shared.from;
  return decodeParts(parts, (codes) => unpackRows(codes, to - from + second));
}

/** Some rows of a stored weight as float32, [...indices, in]; no other row is dequantised. */
export function dequantiseRows(weight: StoredWeight, indices: Value): Value {
  const packed = weight.format.kind === "blocks" && weight.format.bits === 4;
  if (!packed)
    return decodeParts(
      mapParts(weight, (part) => gather(part, indices)),
      (codes) => codes,
    );
  const half = constant(Int32Array.of(Math.ceil((weight.shape[0] ?? 0) / 2)), []);
  const isLow = emit("Less", [indices, half], { shape: indices.shape, dtype: "bool" });
  const row = plain("Mod", [indices, half], indices.shape);
  const rows = mapParts(weight, (part, name) => gather(part, name === "codes" ? row : indices));
  return decodeParts(rows, (codes) =>
    emit("Where", [reshape(isLow, [...indices.shape, 1]), lowHalf(codes), highHalf(codes)], {
      shape: codes.shape,
      dtype: "uint8",
    }),
  );
}
