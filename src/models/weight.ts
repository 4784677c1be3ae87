// One weight in memory, in the form in which it is stored, and the numbers that it stands for.
import { MosError } from "#core";
import { decodeBfloat16, decodeFloat16 } from "#formats";
import type { BlockForm, Int8RowsForm, Nf4Form, TensorData, WeightForm, WeightPart } from "#graph";
import { weightParts } from "#graph";
import { NF4_LEVELS } from "./nf4-levels.ts";

/**
 * A weight in memory; linear layers are [out, in], the last dimension runs fastest. Vectors (norms, biases) are always
 * float32. `parts` are the tensors that `weightParts(form, shape)` lists.
 */
export interface Weight {
  readonly shape: readonly number[];
  readonly form: WeightForm;
  readonly parts: Readonly<Partial<Record<WeightPart, TensorData>>>;
}

/** A weight of float32 numbers. */
export const floatWeight = (shape: readonly number[], data: Float32Array): Weight => ({
  shape,
  form: { kind: "float32" },
  parts: { data },
});

/**
 * The numbers of a float32 weight, as all vectors are: its own memory, not a copy.
 *
 * @throws MosError "bad_config" where the weight is stored otherwise; `dequantizeWeight` reads those.
 */
export function floatData({ form, parts }: Weight): Float32Array {
  if (form.kind === "float32" && parts.data instanceof Float32Array) return parts.data;
  throw new MosError("bad_config", `a weight stored as ${form.kind} was read as float32`);
}

/** A tensor of a weight, by the name of the leaf that takes it. */
export interface WeightTensor {
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** A float32 tensor. */
export interface FloatTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** The weights of a float32 model as tensors in their own memory. Throws as `floatData` does. */
export const floatTensors = (weights: ReadonlyMap<string, Weight>): Map<string, FloatTensor> =>
  new Map([...weights].map(([name, weight]) => [name, { shape: weight.shape, data: floatData(weight) }]));

/** What the leaves of a stored weight are fed: its numbers by its own name, other parts by `name:part`. */
export function weightFeeds(
  name: string,
  { form, shape, parts }: Weight,
): Readonly<Record<string, WeightTensor>> {
  const feeds: Record<string, WeightTensor> = {};
  for (const { part, shape: size } of weightParts(form, shape)) {
    const data = parts[part];
    if (data === undefined)
      throw new MosError("bad_config", `${name}: a weight stored as ${form.kind} lacks its ${part}`);
    feeds[part === "data" ? name : `${name}:${part}`] = { shape: size, data };
  }
  return feeds;
}

/** Bytes that the parts of a weight take. */
export const bytesOfWeight = ({ parts }: Weight): number =>
  Object.values(parts).reduce((sum, { byteLength }) => sum + byteLength, 0);

/** Whole rows of a matrix: `begin` … `end` − 1. */
export interface RowRange {
  readonly begin: number;
  readonly end: number;
}

/**
 * The numbers that a weight stands for as float32, all of them or those of some rows, [rows, in]: a copy. Each step is
 * rounded to float32, as the same steps in a graph are; for GGUF's types the product is exact, so only the sum rounds.
 */
export function dequantizeWeight(weight: Weight, rows?: RowRange): Float32Array {
  const { shape, form, parts } = weight;
  const count = shape.reduce((product, size) => product * size, 1);
  const out = shape[0] ?? 1;
  const width = shape.length > 1 ? count / out : 1;
  const { begin, end } = rows ?? { begin: 0, end: out };
  switch (form.kind) {
    case "float32":
      return floatData(weight).slice(begin * width, end * width);
    case "float16":
    case "bfloat16": {
      const bits = (parts.data as Uint16Array).subarray(begin * width, end * width);
      const target = new Float32Array(bits.length);
      return form.kind === "float16" ? decodeFloat16(bits, target) : decodeBfloat16(bits, target);
    }
    case "blocks":
      return readBlocks({ weight, form, out, width, begin, end });
    case "nf4":
      return readNf4({ weight, form, out, width, begin, end });
    case "int8rows":
      return readInt8Rows({ weight, form, out, width, begin, end });
  }
}

interface Reading<Form> extends RowRange {
  readonly weight: Weight;
  readonly form: Form;
  readonly out: number;
  readonly width: number;
}

/** Scales or offsets of some blocks as float32. */
function floats(data: TensorData, begin: number, end: number): Float32Array {
  if (data instanceof Float32Array) return data.subarray(begin, end);
  return decodeFloat16((data as Uint16Array).subarray(begin, end), new Float32Array(end - begin));
}

/** Row `row` of the codes less the zero point. */
function readCodes(
  { parts }: Weight,
  row: number,
  { bits, zeroPoint, out, target }: BlockForm & { readonly out: number; readonly target: Float32Array },
): void {
  const codes = parts.codes as Uint8Array | Int8Array;
  const width = target.length;
  const half = Math.ceil(out / 2);
  const isHigh = bits === 4 && row >= half;
  const start = (isHigh ? row - half : row) * width;
  const shift = isHigh ? 4 : 0;
  const mask = bits === 4 ? 15 : -1;
  for (let k = 0; k < width; k++) target[k] = (((codes[start + k] as number) >> shift) & mask) - zeroPoint;
}

function readBlocks({ weight, form, out, width, begin, end }: Reading<BlockForm>): Float32Array {
  const { scales: scaleData, offsets: offsetData } = weight.parts;
  const blocks = width / form.blockSize;
  const scales = floats(scaleData as TensorData, begin * blocks, end * blocks);
  const offsets = offsetData && floats(offsetData, begin * blocks, end * blocks);
  const result = new Float32Array((end - begin) * width);
  for (let row = begin; row < end; row++) {
    const at = (row - begin) * width;
    readCodes(weight, row, { ...form, out, target: result.subarray(at, at + width) });
  }
  for (let block = 0, i = 0; i < result.length; block++) {
    const scale = scales[block] as number;
    const stop = i + form.blockSize;
    for (let k = i; k < stop; k++) result[k] = (result[k] as number) * scale;
    if (offsets)
      for (let k = i; k < stop; k++) result[k] = (result[k] as number) + (offsets[block] as number);
    i = stop;
  }
  return result;
}

function readNf4({ weight: { parts }, form, width, begin, end }: Reading<Nf4Form>): Float32Array {
  const codes = parts.codes as Uint8Array;
  const scales = parts.scales as Float32Array;
  const result = new Float32Array((end - begin) * width);
  for (let i = 0, at = (begin * width) / 2; i < result.length; i += 2, at++) {
    const byte = codes[at] as number;
    const scale = scales[Math.floor((begin * width + i) / form.blockSize)] as number;
    result[i] = (NF4_LEVELS[byte >> 4] as number) * scale;
    result[i + 1] = (NF4_LEVELS[byte & 15] as number) * scale;
  }
  return result;
}

function readInt8Rows({ weight: { parts }, width, begin, end }: Reading<Int8RowsForm>): Float32Array {
  const codes = parts.codes as Int8Array;
  const scales = parts.scales as Float32Array;
  const result = new Float32Array((end - begin) * width);
  for (let row = begin, at = 0; row < end; row++) {
    const scale = scales[row] as number;
    for (let k = 0; k < width; k++, at++) result[at] = scale * (codes[row * width + k] as number);
  }
  return result;
}
