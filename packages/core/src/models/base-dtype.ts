// Choice of each base weight's in-memory format, by its file's format and the requested dtype.

import { DEFAULT_DEVICE, type Device, supports } from "mixture-of-shards-graph";
import type { WeightFormat } from "mixture-of-shards-graph/common";
import { z } from "zod";
import { MosError, setting } from "#common";
import type { StoredFormat } from "#files";
import { findLinear } from "./linear-layers.ts";
import { isMatrix, LAYER_EMBEDDINGS } from "./weights.ts";

/** In-memory formats of a base's matrices, the default first. "stored": as in the file. */
export const BASE_DTYPES = ["stored", "float32", "int8", "int4", "nf4"] as const;
/** In-memory format of a base's matrices. @inline */
export type BaseDtype = (typeof BASE_DTYPES)[number];

/** Types in which the products of the linear layers are computed, the default first. */
export const COMPUTE_DTYPES = ["float32", "int8"] as const;
/** Type in which the products of the linear layers are computed. @inline */
export type ComputeDtype = (typeof COMPUTE_DTYPES)[number];

/** Setting of the format of a base's weights. */
export const baseDtype = setting(z.enum(BASE_DTYPES), {
  default: "stored",
  help: "data type of the base weights in memory; stored keeps the types of the file",
});

/** Setting of the type in which products with frozen weights are computed. */
export const computeDtype = setting(z.enum(COMPUTE_DTYPES), {
  defaultText: "int8 for a base of at most 8 bits on a CPU, else float32",
  help: "data type of matrix products with the base weights; int8 is faster but rounds",
});

/** Formats of a base. */
export interface BaseFormats {
  readonly baseDtype: BaseDtype;
  /** "int8": linear layers are kept as int8 rows, whose products are computed in int8. */
  readonly computeDtype: ComputeDtype;
  /** Stores a transposed copy of the codes of int8 rows. */
  readonly transposedCodes: boolean;
  /** Embeddings of each layer that are stored as plain numbers stay in the file (false). */
  readonly tableInFile?: boolean | undefined;
}

/** A weight in its file. */
interface StoredWeightInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly stored: StoredFormat["format"];
  /** The file, for messages. */
  readonly where: string;
}

const isLinear = (name: string): boolean => findLinear(name) !== undefined;

/**
 * The default type of a base's products: int8 on a CPU where all linear layers have at most 8 bits, as llama.cpp computes
 * them. It is several times faster and rounds less than the weights were rounded. NF4 stays in float32: its values would be
 * rounded to 8 bits, and take twice the memory. So do GPUs, which are as fast in floating point.
 */
export const defaultComputeDtype = (
  formats: Iterable<readonly [string, WeightFormat]>,
  device: Device = DEFAULT_DEVICE,
): ComputeDtype =>
  supports(device, "int8Product") &&
  [...formats].every(([name, { kind }]) => kind === "blocks" || kind === "int8rows" || !isLinear(name))
    ? "int8"
    : "float32";

/** Tests whether a base is so small that its int8 codes are kept a second time, transposed: that is a byte for each parameter. */
export const hasTransposedCodes = (parameters: number): boolean => parameters < 5e8;

/** The largest block that divides the rows: `largest`, or half or a quarter of it, but not less than 16. */
function chooseBlockSize(
  { name, shape, where }: StoredWeightInfo,
  dtype: BaseDtype,
  largest: 32 | 64,
): number {
  const width = shape.at(-1) ?? 1;
  const sizes = [64, 32, 16].filter((size) => size <= largest);
  const size = sizes.find((candidate) => width % candidate === 0);
  if (size !== undefined) return size;
  throw new MosError(
    "unsupported",
    `${where}: ${name} has rows of ${width}, which cannot be split into blocks of ${sizes.join(", ")}, so it cannot be stored as ${dtype}; use the base dtype stored or float32`,
  );
}

function int8Format(weight: StoredWeightInfo, dtype: BaseDtype): WeightFormat {
  const blockSize = chooseBlockSize(weight, dtype, 64);
  return { kind: "blocks", bits: 8, blockSize, zeroPoint: 0, scales: "float32", offsets: false };
}

/** Int8 for an embedding and a head. Scales in halves: an int4 weight takes 5 bits with them, and they are exact to a hundredth of a step. */
function int4Format(weight: StoredWeightInfo): WeightFormat {
  if (!isLinear(weight.name)) return int8Format(weight, "int4");
  const blockSize = chooseBlockSize(weight, "int4", 32);
  return { kind: "blocks", bits: 4, blockSize, zeroPoint: 0, scales: "float16", offsets: true };
}

/** A matrix whose products are in float32. */
function matrixFormat(weight: StoredWeightInfo, baseDtype: BaseDtype): WeightFormat {
  const { name, stored } = weight;
  const bits = stored.kind === "blocks" ? stored.bits : undefined;
  switch (baseDtype) {
    case "stored":
      return stored;
    case "float32":
      // the largest tensor of its model, of which each step reads a few rows: these are the same numbers
      return name === LAYER_EMBEDDINGS ? stored : { kind: "float32" };
    case "int8":
      return bits === 8 ? stored : int8Format(weight, baseDtype);
    case "int4":
      return bits === 4 || (bits === 8 && !isLinear(name)) ? stored : int4Format(weight);
    case "nf4":
      return isLinear(name) ? { kind: "nf4", blockSize: chooseBlockSize(weight, baseDtype, 64) } : stored;
  }
}

/**
 * The in-memory format of a weight. Vectors and kernels are float32. Blocks of as many bits as requested stay as they are, without
 * loss; under "int4", so do an embedding and a head in blocks of any kind, and "nf4" leaves both unchanged.
 *
 * @throws MosError "unsupported" where no block size divides its rows.
 */
export function chooseFormat(
  weight: StoredWeightInfo,
  { baseDtype, computeDtype, transposedCodes, tableInFile = false }: BaseFormats,
): WeightFormat {
  const { name, shape, stored } = weight;
  if (!isMatrix(shape)) return { kind: "float32" };
  if (tableInFile && name === LAYER_EMBEDDINGS && stored.kind !== "blocks")
    return { ...stored, inFile: true };
  if (computeDtype === "int8" && isLinear(name)) return { kind: "int8rows", transposed: transposedCodes };
  return matrixFormat(weight, baseDtype);
}
