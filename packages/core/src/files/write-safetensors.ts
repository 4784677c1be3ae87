import { countElements } from "#common";
import { type FloatDtype, writeNumbers } from "./floats.ts";
import { checkCount, openPlannedWriter, type PlannedWriter } from "./planned-writer.ts";
import type { SafetensorsDtype } from "./safetensors.ts";

/** A tensor to be written; the last dimension runs fastest. */
export type WritableTensor =
  | {
      readonly dtype: FloatDtype;
      readonly shape: readonly number[];
      readonly data: Float32Array;
    }
  | { readonly dtype: "I32"; readonly shape: readonly number[]; readonly data: Int32Array };

/** A tensor to be written: everything except its data. */
export type PlannedTensor = Pick<WritableTensor, "dtype" | "shape"> & { readonly name: string };

const bytesPerElement = (dtype: WritableTensor["dtype"]): number =>
  dtype === "F32" || dtype === "I32" ? 4 : 2;
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** A tensor of any type, and how many bytes it takes. */
export interface PlacedTensor {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** The begin of a file of these tensors, in their order: `length` bytes, or as many as are needed where those are more. */
export function safetensorsHeader(
  tensors: readonly PlacedTensor[],
  { metadata, length = 0 }: { readonly metadata: Readonly<Record<string, string>>; readonly length?: number },
): Uint8Array {
  const pairs: string[] = [];
  const sorted = Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => compare(a, b)));
  if (Object.keys(sorted).length > 0) pairs.push(`"__metadata__":${JSON.stringify(sorted)}`);
  let position = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    const end = position + bytes;
    pairs.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [position, end] })}`);
    position = end;
  }
  const json = new TextEncoder().encode(`{${pairs.join(",")}}`);
  const size = Math.max(length, 8 + Math.ceil(json.length / 8) * 8);
  const header = new Uint8Array(size).fill(0x20); // padded with spaces
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(json, 8);
  return header;
}

/**
 * Starts a safetensors file whose tensors come one after the other, in the order of the plan. Where types are mixed,
 * the four-byte ones should come first, so that all stand aligned. F16 and BF16 are rounded from float32.
 *
 * @throws MosError "bad_config" if a tensor is not the next one or has another size; "storage", "not_found".
 */
export async function openSafetensorsWriter(
  path: string,
  tensors: readonly PlannedTensor[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<PlannedWriter<Float32Array | Int32Array>> {
  return openPlannedWriter(path, {
    header: safetensorsHeader(
      tensors.map((tensor) => ({
        ...tensor,
        bytes: countElements(tensor.shape) * bytesPerElement(tensor.dtype),
      })),
      { metadata },
    ),
    tensors,
    unit: "values",
    byteLength: ({ shape }) => countElements(shape),
    put: (file, data: Float32Array | Int32Array, { dtype }) => writeNumbers(file, data, dtype),
  });
}

/**
 * Writes a safetensors file, complete or not at all. F16 and BF16 are rounded from float32. Four-byte tensors come
 * first, so that all stand aligned in the file; then names decide: the same input, the same bytes.
 *
 * @throws MosError "bad_config" if the number of values does not match the shape; "storage", "not_found".
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, WritableTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const entries = Object.entries(tensors).map(([name, tensor]) => ({ ...tensor, name }));
  for (const { name, shape, data } of entries) checkCount(name, shape, data);
  const ordered = entries.sort(
    (a, b) => bytesPerElement(b.dtype) - bytesPerElement(a.dtype) || compare(a.name, b.name),
  );
  await using file = await openSafetensorsWriter(path, ordered, metadata);
  for (const { name, data } of ordered) await file.write(name, data);
  await file.commit();
}
