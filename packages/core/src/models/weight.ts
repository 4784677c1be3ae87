// One weight in memory, in its storage format.

import {
  type FileRange,
  fileConstant,
  partName,
  storedWeight,
  type TensorData,
  type Value,
} from "mixture-of-shards-graph";
import { isInFile, type WeightFormat, type WeightPart, weightParts } from "mixture-of-shards-graph/common";
import { countElements, MosError } from "#common";

/**
 * A weight in memory; linear layers are [out, in], the last dimension runs fastest. Vectors (norms, biases) are always
 * float32. `parts` are the tensors that `weightParts(format, shape)` lists.
 */
export interface Weight {
  readonly shape: readonly number[];
  readonly format: WeightFormat;
  readonly parts: Readonly<Partial<Record<WeightPart, TensorData>>>;
  /** Where the bytes of one lie that stays in its file, and has no parts. */
  readonly file?: FileRange;
}

/** A float32 weight. */
export const floatWeight = (shape: readonly number[], data: Float32Array): Weight => ({
  shape,
  format: { kind: "float32" },
  parts: { data },
});

/**
 * The values of a float32 weight, as all vectors are: its own memory, not a copy.
 *
 * @throws MosError "bad_config" where the weight is stored otherwise; `dequantizeWeight` reads those.
 */
export function floatData({ format, parts }: Weight): Float32Array {
  if (format.kind === "float32" && parts.data instanceof Float32Array) return parts.data;
  throw new MosError("bad_config", `a weight stored as ${format.kind} was read as float32`);
}

/** A tensor of a weight, by the name of the leaf that takes it. */
interface WeightTensor {
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

/** Feeds of the leaves that `weightLeaf` makes of a stored weight. */
export function weightFeeds(
  name: string,
  { format, shape, parts }: Weight,
): Readonly<Record<string, WeightTensor>> {
  const feeds: Record<string, WeightTensor> = {};
  if (isInFile(format)) return feeds;
  for (const { part, shape: size } of weightParts(format, shape)) {
    const data = parts[part];
    if (data === undefined || data.length !== countElements(size))
      throw new MosError(
        "bad_config",
        `${name}: a weight [${shape.join(", ")}] stored as ${format.kind} needs ${part} [${size.join(", ")}], not ${data?.length ?? 0} values`,
      );
    feeds[partName(name, part)] = { shape: size, data };
  }
  return feeds;
}

/** Storage format of each weight, by name. */
export const storageFormats = (weights: ReadonlyMap<string, Weight>): ReadonlyMap<string, WeightFormat> =>
  new Map([...weights].map(([name, { format }]) => [name, format]));

/** Feeds of the leaves of all weights. */
export const feedWeights = (weights: ReadonlyMap<string, Weight>): ReadonlyMap<string, WeightTensor> =>
  new Map([...weights].flatMap(([name, weight]) => Object.entries(weightFeeds(name, weight))));

/** A weight that stays in its file, as a constant there; undefined for others. */
export function fileWeight({ format, shape, file }: Weight): Value | undefined {
  const [data] = weightParts(format, shape);
  if (file === undefined || data === undefined) return undefined;
  return storedWeight(format, shape, { data: fileConstant(file, shape, data.dtype) });
}
