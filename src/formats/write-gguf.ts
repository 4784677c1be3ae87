// Writes GGUF version 3, little-endian: counts, metadata, tensor table, then the tensors' bytes in the order of the table,
// each at a multiple of 32. llama.cpp refuses a table whose offsets leave any other gaps.

import { MosError } from "#core";
import { openAtomicFile } from "#storage";
import { type FloatDtype, writeNumbers } from "./floats.ts";

/** A value of the header with the type that it is written in. */
export type WritableGgufValue =
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "uint32" | "float32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean };

/** A tensor to be written; the last dimension runs fastest, and F16 and BF16 are rounded from float32. */
export interface WritableGgufTensor {
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface WritableGguf {
  readonly metadata: Readonly<Record<string, WritableGgufValue>>;
  readonly tensors: Readonly<Record<string, WritableGgufTensor>>;
}

const MAGIC = 0x46554747; // "GGUF", read little-endian
const VERSION = 3;
/** The alignment of files that do not state another. */
const ALIGNMENT = 32;
/** llama.cpp keeps names in 64 bytes with a zero at the end, and tensors of four dimensions. */
const LONGEST_NAME = 63;
const MAX_DIMENSIONS = 4;

const VALUE_TYPES = { uint32: 4, float32: 6, bool: 7, string: 8 } as const;
const TENSOR_TYPES = { F32: 0, F16: 1, BF16: 30 } as const;

const padded = (size: number): number => Math.ceil(size / ALIGNMENT) * ALIGNMENT;
const sizeOf = ({ dtype, data }: WritableGgufTensor): number => data.length * (dtype === "F32" ? 4 : 2);

function checkTensor(name: string, { shape, data }: WritableGgufTensor): void {
  const refuse = (what: string): never => {
    throw new MosError("bad_config", `tensor "${name}" of shape [${shape.join(", ")}] ${what}`);
  };
  const count = shape.reduce((product, size) => product * size, 1);
  if (count !== data.length) refuse(`needs ${count} numbers, it has ${data.length}`);
  if (shape.length > MAX_DIMENSIONS) refuse(`has more than ${MAX_DIMENSIONS} dimensions`);
  if (new TextEncoder().encode(name).length > LONGEST_NAME)
    refuse(`has a name of more than ${LONGEST_NAME} bytes`);
}

function bytesOf(size: number, fill: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size);
  fill(new DataView(bytes.buffer));
  return bytes;
}

const uint32 = (value: number): Uint8Array => bytesOf(4, (view) => view.setUint32(0, value, true));
const uint64 = (value: number): Uint8Array => bytesOf(8, (view) => view.setBigUint64(0, BigInt(value), true));
const float32 = (value: number): Uint8Array => bytesOf(4, (view) => view.setFloat32(0, value, true));

function text(value: string): readonly Uint8Array[] {
  const bytes = new TextEncoder().encode(value);
  return [uint64(bytes.length), bytes];
}

function encodeValue(value: WritableGgufValue): readonly Uint8Array[] {
  switch (value.type) {
    case "string":
      return text(value.value);
    case "uint32":
      return [uint32(value.value)];
    case "float32":
      return [float32(value.value)];
    case "bool":
      return [Uint8Array.of(value.value ? 1 : 0)];
  }
}

/** All that comes before the tensors' bytes, padded to the alignment. */
function buildHeader({ metadata, tensors }: WritableGguf): Uint8Array {
  const [keys, table] = [Object.entries(metadata), Object.entries(tensors)];
  const parts: Uint8Array[] = [uint32(MAGIC), uint32(VERSION), uint64(table.length), uint64(keys.length)];
  for (const [key, value] of keys)
    parts.push(...text(key), uint32(VALUE_TYPES[value.type]), ...encodeValue(value));
  let offset = 0;
  for (const [name, tensor] of table) {
    const sizes = [...tensor.shape].reverse(); // GGUF lists the fastest dimension first
    parts.push(...text(name), uint32(sizes.length), ...sizes.map(uint64));
    parts.push(uint32(TENSOR_TYPES[tensor.dtype]), uint64(offset));
    offset += padded(sizeOf(tensor));
  }
  const header = new Uint8Array(padded(parts.reduce((sum, part) => sum + part.length, 0)));
  let position = 0;
  for (const part of parts) {
    header.set(part, position);
    position += part.length;
  }
  return header;
}

/**
 * Writes a GGUF file, complete or not at all.
 *
 * @throws MosError "bad_config" if a shape and its numbers disagree or a name is too long; "storage", "not_found".
 * @example
 * await writeGguf("adapter.gguf", {
 *   metadata: { "general.type": { type: "string", value: "adapter" } },
 *   tensors: { "blk.0.attn_q.weight.lora_a": { dtype: "F32", shape: [1, 2], data: Float32Array.of(1, 2) } },
 * });
 */
export async function writeGguf(path: string, content: WritableGguf): Promise<void> {
  for (const [name, tensor] of Object.entries(content.tensors)) checkTensor(name, tensor);
  await using file = await openAtomicFile(path);
  await file.write(buildHeader(content));
  for (const tensor of Object.values(content.tensors)) {
    await writeNumbers(file, tensor.data, tensor.dtype);
    const size = sizeOf(tensor);
    await file.write(new Uint8Array(padded(size) - size));
  }
  await file.commit();
}
