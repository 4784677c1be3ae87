// Whether all numbers of a stored weight are finite, seen from its parts.
import { MosError } from "#core";
import { float16Value } from "#formats";
import type { TensorData, WeightForm, WeightPart } from "#graph";
import type { Weight } from "./weight.ts";
import { checkFinite } from "./weights.ts";

interface Where {
  /** The file, for messages. */
  readonly where: string;
}

/** Index of the first number that is not finite, or −1. The exponent of such a number has all its bits set. */
function firstInfinite(data: TensorData, kind: "float32" | "float16" | "bfloat16"): number {
  const mask = kind === "float32" ? 0x7f800000 : kind === "float16" ? 0x7c00 : 0x7f80;
  const bits =
    data instanceof Float32Array ? new Uint32Array(data.buffer, data.byteOffset, data.length) : data;
  for (let i = 0; i < bits.length; i++) if (((bits[i] as number) & mask) === mask) return i;
  return -1;
}

const valueAt = (data: TensorData, i: number, kind: WeightForm["kind"]): number => {
  const found = data[i] as number;
  if (data instanceof Float32Array) return found;
  return kind === "bfloat16"
    ? (new Float32Array(Uint32Array.of(found << 16).buffer)[0] as number)
    : float16Value(found);
};

/** Refuses a scale or an offset that is not finite: every number of its block would be none. */
function checkBlocks(
  name: string,
  { form, shape, parts }: Weight,
  { part, where }: Where & { readonly part: WeightPart },
) {
  const data = parts[part];
  if (data === undefined) return;
  const kind = data instanceof Float32Array ? "float32" : "float16";
  const found = firstInfinite(data, kind);
  if (found < 0) return;
  const blocks = data.length / (shape[0] ?? 1);
  throw new MosError(
    "bad_model",
    `${where}: ${name} has the ${part.replace(/s$/, "")} ${valueAt(data, found, kind)} for block ${found % blocks} of row ${Math.floor(found / blocks)} (${form.kind}); a finite one is expected, the file is damaged`,
  );
}

/**
 * Refuses a weight with numbers that are not finite. A product of a code and a scale in halves cannot overflow, nor can
 * one of the scales that GGUF's types have, so finite scales and offsets are enough.
 *
 * @throws MosError "bad_model" with the weight's name and the place.
 */
export function checkStored(name: string, weight: Weight, { where }: Where): void {
  const { form, parts } = weight;
  switch (form.kind) {
    case "float32":
      checkFinite(name, parts.data as Float32Array, { where });
      return;
    case "float16":
    case "bfloat16": {
      const data = parts.data as Uint16Array;
      const found = firstInfinite(data, form.kind);
      if (found >= 0)
        throw new MosError(
          "bad_model",
          `${where}: ${name} holds the value ${valueAt(data, found, form.kind)} at ${found}; the file is damaged`,
        );
      return;
    }
    default:
      checkBlocks(name, weight, { part: "scales", where });
      checkBlocks(name, weight, { part: "offsets", where });
  }
}
