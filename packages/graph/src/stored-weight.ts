import { MosError } from "./error.ts";
import { dequantise } from "./ops/dequantise.ts";
import { leaf, type StoredWeight, showShape, type Value, withRematerialisation } from "./value.ts";
import { type WeightFormat, type WeightPart, weightParts } from "./weight-form.ts";

/** The name of a leaf that holds a tensor of a weight: the weight's own for `data`, else `name:part`. */
export const partName = (name: string, part: WeightPart): string =>
  part === "data" ? name : `${name}:${part}`;

/**
 * A frozen weight [out, in] as a float32 value that is computed from the tensors it is stored in. Products, embeddings
 * and the loss read those tensors themselves, and the backward pass computes the numbers again rather than keeping them.
 *
 * @throws MosError `bad_config` where a tensor is missing or is not what `weightParts` says.
 */
export function storedWeight(
  format: WeightFormat,
  shape: readonly number[],
  parts: StoredWeight["parts"],
): Value {
  const stored: StoredWeight = { format, shape, parts };
  for (const { part, shape: expected, dtype } of weightParts(format, shape)) {
    const found = parts[part];
    if (found?.dtype !== dtype || found.shape.join() !== expected.join())
      throw new MosError(
        "bad_config",
        `a weight ${showShape(shape)} of format ${format.kind} needs ${part} ${showShape(expected)} of ${dtype}${
          found === undefined ? "" : `, not ${showShape(found.shape)} of ${found.dtype}`
        }`,
      );
  }
  if (format.kind === "float32" && parts.data !== undefined) return parts.data;
  return { ...withRematerialisation(dequantise(stored), (others) => dequantise(stored, others)), stored };
}

/** Leaves for the tensors of a weight, named by `partName`, and the weight that they make. Vectors are always float32. */
export function weightLeaf(
  name: string,
  shape: readonly number[],
  format: WeightFormat = { kind: "float32" },
): Value {
  if (format.kind === "float32" || shape.length === 1) return leaf(name, shape);
  const parts = weightParts(format, shape).map(
    (type) => [type.part, leaf(partName(name, type.part), type.shape, type.dtype)] as const,
  );
  return storedWeight(format, shape, Object.fromEntries(parts));
}
