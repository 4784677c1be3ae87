// Writes GGUF version 3, little-endian: counts, metadata, tensor table, then the tensors' bytes in the order of the table,
// each at a multiple of 32. llama.cpp refuses a table whose offsets leave any other gaps.

import { concatBytes, countElements, MosError } from "#common";
import { blockFormats, fileBytes, type StoredType } from "./dequantize.ts";
import { type FloatDtype, writeNumbers } from "./floats.ts";
import { MAGIC, type RawKeys, TYPE_NAMES } from "./gguf.ts";
import { checkCount, openPlannedWriter, type PlannedWriter } from "./planned-writer.ts";

/** A value of the header with the type that it is written in. */
export type WritableGgufValue =
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "uint32" | "float32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "int32s"; readonly value: readonly number[] };

/** A tensor to be written; the last dimension runs fastest, and F16 and BF16 are rounded from float32. */
export interface WritableGgufTensor {
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Key → value of the header. */
type GgufHeader = Readonly<Record<string, WritableGgufValue>>;

const VERSION = 3;
/** The alignment of files that do not state another. */
const ALIGNMENT = 32;
/** llama.cpp keeps names in 64 bytes with a zero at the end, and tensors of four dimensions. */
const MAX_NAME_LENGTH = 63;
const MAX_DIMENSIONS = 4;

/** A tensor of a file whose bytes come later. */
export interface PlannedGgufTensor {
  readonly name: string;
  readonly type: StoredType;
  /** The last dimension runs fastest, and is a whole number of blocks of the type. */
  readonly shape: readonly number[];
}

const ARRAY = 9;
const VALUE_TYPES = { uint32: 4, float32: 6, bool: 7, string: 8, strings: ARRAY, int32s: ARRAY } as const;
const INT32 = 5;

const typeNumber = (type: StoredType): number =>
  Number(Object.entries(TYPE_NAMES).find(([, name]) => name === type)?.[0]);

const padded = (size: number): number => Math.ceil(size / ALIGNMENT) * ALIGNMENT;

/** Bytes of a tensor. */
const tensorBytes = ({ type, shape }: PlannedGgufTensor): number => fileBytes(type, countElements(shape));

function checkTensor({ name, type, shape }: PlannedGgufTensor): void {
  const refuse = (what: string): never => {
    throw new MosError("bad_config", `tensor "${name}" of shape [${shape.join(", ")}] ${what}`);
  };
  const { blockSize } = blockFormats[type];
  if ((shape.at(-1) ?? 1) % blockSize !== 0) refuse(`has rows that are not whole blocks of ${blockSize}`);
  if (shape.length > MAX_DIMENSIONS) refuse(`has more than ${MAX_DIMENSIONS} dimensions`);
  if (new TextEncoder().encode(name).length > MAX_NAME_LENGTH)
    refuse(`has a name of more than ${MAX_NAME_LENGTH} bytes`);
}

function fillBytes(size: number, fill: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size);
  fill(new DataView(bytes.buffer));
  return bytes;
}

const uint32 = (value: number): Uint8Array => fillBytes(4, (view) => view.setUint32(0, value, true));
const uint64 = (value: number): Uint8Array =>
  fillBytes(8, (view) => view.setBigUint64(0, BigInt(value), true));
const float32 = (value: number): Uint8Array => fillBytes(4, (view) => view.setFloat32(0, value, true));

const ints = (values: readonly number[]): Uint8Array =>
  fillBytes(4 * values.length, (view) => {
    for (const [i, value] of values.entries()) view.setInt32(4 * i, value, true);
  });

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
    case "strings":
      return [uint32(VALUE_TYPES.string), uint64(value.value.length), ...value.value.flatMap(text)];
    case "int32s":
      return [uint32(INT32), uint64(value.value.length), ints(value.value)];
  }
}

function encodeKeys(metadata: GgufHeader): RawKeys {
  const keys = Object.entries(metadata);
  const parts: Uint8Array[] = [];
  for (const [key, value] of keys) {
    parts.push(...text(key), uint32(VALUE_TYPES[value.type]));
    for (const part of encodeValue(value)) parts.push(part); // a vocabulary has more parts than a call has arguments
  }
  return { count: keys.length, bytes: concatBytes(parts) };
}

/** All that comes before the tensors' bytes, padded to the alignment. */
function buildHeader(keys: RawKeys, table: readonly PlannedGgufTensor[]): Uint8Array {
  const counts = [uint64(table.length), uint64(keys.count)];
  const parts: Uint8Array[] = [uint32(MAGIC), uint32(VERSION), ...counts, keys.bytes];
  let offset = 0;
  for (const tensor of table) {
    const sizes = [...tensor.shape].reverse(); // GGUF lists the fastest dimension first
    parts.push(...text(tensor.name), uint32(sizes.length), ...sizes.map(uint64));
    parts.push(uint32(typeNumber(tensor.type)), uint64(offset));
    offset += padded(tensorBytes(tensor));
  }
  const bytes = concatBytes(parts);
  const header = new Uint8Array(padded(bytes.length));
  header.set(bytes);
  return header;
}

const isRaw = (keys: GgufHeader | RawKeys): keys is RawKeys => keys["bytes"] instanceof Uint8Array;

/**
 * Starts a GGUF file whose tensors come one after the other, in the order of the plan, as bytes of their types.
 *
 * @throws MosError "bad_config" if a tensor is not the next one, has another size, or cannot be written; "storage",
 * "not_found".
 */
export async function openGgufWriter(
  path: string,
  metadata: GgufHeader | RawKeys,
  tensors: readonly PlannedGgufTensor[],
): Promise<PlannedWriter<Uint8Array>> {
  for (const tensor of tensors) checkTensor(tensor);
  return openPlannedWriter(path, {
    header: buildHeader(isRaw(metadata) ? metadata : encodeKeys(metadata), tensors),
    tensors,
    unit: "bytes",
    byteLength: tensorBytes,
    put: (file, bytes: Uint8Array) => file.write(bytes),
    end: (file, tensor) => {
      const size = tensorBytes(tensor);
      return file.write(new Uint8Array(padded(size) - size));
    },
  });
}

/**
 * Writes a GGUF file, complete or not at all.
 *
 * @throws MosError "bad_config" if the number of values does not match the shape or a name is too long; "storage", "not_found".
 */
export async function writeGguf(
  path: string,
  {
    metadata,
    tensors,
  }: { readonly metadata: GgufHeader; readonly tensors: Readonly<Record<string, WritableGgufTensor>> },
): Promise<void> {
  const entries = Object.entries(tensors);
  for (const [name, { shape, data }] of entries) checkCount(name, shape, data);
  const planned = entries.map(([name, { dtype, shape }]) => ({ name, type: dtype, shape }));
  await using file = await openGgufWriter(path, metadata, planned);
  for (const [name, { data, dtype }] of entries)
    await writeNumbers({ write: (bytes) => file.write(name, bytes) }, data, dtype);
  await file.commit();
}
