// Check that all numbers of a stored weight are finite, by its parts.
import { MosError } from "#core";
import { float16Value, type WeightFormat, type WeightPart } from "#files";
import type { TensorData } from "#graph";
import type { Weight } from "./weight.ts";
import { checkFinite } from "./weights.ts";

export interface CheckStoredOptions {
  /** The file, for messages. */
  readonly where: string;
  /** True if the parts are the file's; false if they were made of finite numbers. */
  readonly fromFile: boolean;
}

/** The exponents of numbers that are not finite, by type. */
const EXPONENTS = { float16: 0x7c00, bfloat16: 0x7f80 } as const;

/** A float32 scale of 2¹¹⁹ or more, times a code of 8 bits and plus an offset, could be infinite. */
const MAX_SCALE = 0x7b000000;

/** Index of the first of 16-bit numbers that is not finite, or −1. */
function firstInfinite(data: Uint16Array, kind: keyof typeof EXPONENTS): number {
  const exponent = EXPONENTS[kind];
  for (let i = 0; i < data.length; i++) if (((data[i] as number) & exponent) === exponent) return i;
  return -1;
}

function firstBadScale(data: TensorData): number {
  if (data instanceof Uint16Array) return firstInfinite(data, "float16");
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (let i = 0; i < bits.length; i++) if (((bits[i] as number) & 0x7fffffff) >= MAX_SCALE) return i;
  return -1;
}

function valueAt(data: TensorData, i: number, kind: WeightFormat["kind"]): number {
  const found = data[i] as number;
  if (data instanceof Float32Array) return found;
  if (kind !== "bfloat16") return float16Value(found);
  return new Float32Array(Uint32Array.of(found << 16).buffer)[0] as number;
}

/** Refuses a scale or an offset that is not finite, or so large that a number of its block might not be. */
function checkBlocks(
  name: string,
  { format, shape, parts }: Weight,
  { part, where, fromFile }: CheckStoredOptions & { readonly part: WeightPart },
): void {
  const data = parts[part];
  if (data === undefined) return;
  const found = firstBadScale(data);
  if (found < 0) return;
  const blocks = data.length / (shape[0] ?? 1);
  const place = `block ${found % blocks} of row ${Math.floor(found / blocks)}`;
  const value = `the ${part === "scales" ? "scale" : "offset"} ${valueAt(data, found, format.kind)}`;
  throw fromFile
    ? new MosError(
        "bad_model",
        `${where}: ${name} has ${value} for ${place}; finite scales and offsets are expected, the file is damaged`,
      )
    : new MosError(
        "unsupported",
        `${where}: ${name} holds numbers in ${place} that are too large to be quantised (${value}); use the base dtype stored or float32`,
      );
}

/**
 * Refuses a weight with numbers that are not finite. Where the scales and offsets of blocks are finite, so are their
 * numbers: halves are far from overflowing float32, and so are the products that scales of GGUF's types are.
 *
 * @throws MosError "bad_model" with the weight's name and the place; "unsupported" for one that quantising made infinite.
 */
export function checkStored(name: string, weight: Weight, options: CheckStoredOptions): void {
  const { format, parts } = weight;
  const { where } = options;
  if (format.kind === "float32") {
    checkFinite(name, parts.data as Float32Array, { where });
    return;
  }
  if (format.kind === "float16" || format.kind === "bfloat16") {
    const data = parts.data as Uint16Array;
    const found = firstInfinite(data, format.kind);
    if (found < 0) return;
    throw new MosError(
      "bad_model",
      `${where}: ${name} holds the value ${valueAt(data, found, format.kind)} at ${found}; the file is damaged`,
    );
  }
  checkBlocks(name, weight, { ...options, part: "scales" });
  checkBlocks(name, weight, { ...options, part: "offsets" });
}
