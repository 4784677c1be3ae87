import { MosError } from "#core";
import { openAtomicFile } from "./files.ts";
import { encodeBfloat16, encodeFloat16 } from "./float16.ts";

/** A tensor to be written; the last dimension runs fastest. */
export type WritableTensor =
  | {
      readonly dtype: "F32" | "F16" | "BF16";
      readonly shape: readonly number[];
      readonly data: Float32Array;
    }
  | { readonly dtype: "I32"; readonly shape: readonly number[]; readonly data: Int32Array };

/** Numbers converted and written at a time. */
const CHUNK = 1 << 20;

const widthOf = ({ dtype }: WritableTensor): number => (dtype === "F32" || dtype === "I32" ? 4 : 2);
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const asBytes = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

function encodePart(tensor: WritableTensor, begin: number): Uint8Array {
  const part = tensor.data.subarray(begin, begin + CHUNK);
  if (part instanceof Int32Array || tensor.dtype === "F32") return asBytes(part);
  return asBytes(tensor.dtype === "F16" ? encodeFloat16(part) : encodeBfloat16(part));
}

function checkTensor(name: string, { shape, data }: WritableTensor): void {
  const count = shape.reduce((product, size) => product * size, 1);
  if (count !== data.length)
    throw new MosError(
      "bad_config",
      `tensor "${name}" of shape [${shape.join(", ")}] needs ${count} numbers, it has ${data.length}`,
    );
}

/** Four-byte tensors first, so that all stand aligned in the file; then by name: the same input, the same bytes. */
function buildHeader(
  ordered: readonly (readonly [string, WritableTensor])[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const pairs: string[] = [];
  const sorted = Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => compare(a, b)));
  if (Object.keys(sorted).length > 0) pairs.push(`"__metadata__":${JSON.stringify(sorted)}`);
  let position = 0;
  for (const [name, tensor] of ordered) {
    const end = position + tensor.data.length * widthOf(tensor);
    const entry = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [position, end] };
    pairs.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    position = end;
  }
  const json = new TextEncoder().encode(`{${pairs.join(",")}}`);
  const header = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20); // padded with spaces
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(json, 8);
  return header;
}

/**
 * Writes a safetensors file, complete or not at all. F16 and BF16 are rounded from float32.
 *
 * @throws MosError "bad_config" if a shape and its numbers disagree; "storage", "not_found".
 * @example
 * await writeSafetensors("pools.safetensors", {
 *   "q_proj.shards": { dtype: "F32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
 * });
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, WritableTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const entries = Object.entries(tensors);
  for (const [name, tensor] of entries) checkTensor(name, tensor);
  const ordered = entries.sort(([a, x], [b, y]) => widthOf(y) - widthOf(x) || compare(a, b));
  await using file = await openAtomicFile(path);
  await file.write(buildHeader(ordered, metadata));
  for (const [, tensor] of ordered)
    for (let begin = 0; begin < tensor.data.length; begin += CHUNK)
      await file.write(encodePart(tensor, begin));
  await file.commit();
}
