// GGUF, versions 2 and 3, little-endian: counts, metadata, tensor table, then aligned tensor data
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Read by our own checked cursor: every length is compared
// with the file before use, and a message names the key or tensor that does not fit.

import { countElements, MosError } from "#common";
import { closeOnFailure, openForReading, type ReadableFile } from "./atomic-files.ts";
import { blockFormats, fileBytes, isStoredType, type StoredType } from "./dequantize.ts";
import { type GgufCursor, type GgufMetadata, ggufCursor, readGgufMetadata } from "./gguf-header.ts";

/** One tensor. `shape` is row-major, as Hugging Face writes it: the last dimension runs fastest. */
export interface GgufTensor {
  /** GGUF's name of the type, such as "Q4_K". */
  readonly type: string;
  readonly shape: readonly number[];
  /** Byte position in the file. */
  readonly offset: number;
}

export interface GgufFile extends AsyncDisposable {
  readonly path: string;
  readonly version: number;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Any readable type as float32. */
  readFloat32(name: string): Promise<Float32Array>;
  /** Fills `target` with bytes of a tensor as they stand in the file, from its byte `begin` on. */
  readInto(name: string, target: Uint8Array, begin: number): Promise<void>;
}

/** Names of tensor types by their numbers; the gaps are types that were withdrawn. */
export const TYPE_NAMES: Readonly<Record<number, string>> = {
  0: "F32",
  1: "F16",
  2: "Q4_0",
  3: "Q4_1",
  6: "Q5_0",
  7: "Q5_1",
  8: "Q8_0",
  9: "Q8_1",
  10: "Q2_K",
  11: "Q3_K",
  12: "Q4_K",
  13: "Q5_K",
  14: "Q6_K",
  15: "Q8_K",
  16: "IQ2_XXS",
  17: "IQ2_XS",
  18: "IQ3_XXS",
  19: "IQ1_S",
  20: "IQ4_NL",
  21: "IQ3_S",
  22: "IQ2_S",
  23: "IQ4_XS",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
  29: "IQ1_M",
  30: "BF16",
  34: "TQ1_0",
  35: "TQ2_0",
  39: "MXFP4",
  40: "NVFP4",
};

export const MAGIC = 0x46554747; // "GGUF", read little-endian
const MAX_TENSORS = 1 << 17;
const MAX_ALIGNMENT = 1 << 20;
const MAX_NAME_LENGTH = 1 << 10;
/** 2⁴⁰ weights: beyond any model, and far from where float64 loses whole numbers. */
const MAX_WEIGHTS = 2 ** 40;
const CHUNK = 1 << 22;

function readCounts(cursor: GgufCursor, path: string): { version: number; tensors: number; keys: number } {
  if (cursor.remaining < 24 || cursor.uint32("the magic number") !== MAGIC)
    throw cursor.invalid('this is not a GGUF file (it does not begin with "GGUF")');
  const version = cursor.uint32("the version");
  if (version > 0xffff)
    throw new MosError(
      "unsupported",
      `${path}: big-endian GGUF files are not supported; convert it to little-endian`,
    );
  if (version !== 2 && version !== 3)
    throw new MosError("unsupported", `${path}: GGUF version ${version}; versions 2 and 3 are supported`);
  const tensors = cursor.count("the number of tensors", MAX_TENSORS);
  const keys = cursor.count("the number of keys", Number.MAX_SAFE_INTEGER);
  return { version, tensors, keys };
}

function readTensor(cursor: GgufCursor): readonly [string, GgufTensor] {
  const name = cursor.string("a tensor's name", MAX_NAME_LENGTH);
  const where = `tensor "${name}"`;
  const rank = cursor.uint32(`the rank of ${where}`);
  if (rank > 4) throw cursor.invalid(`${where} has ${rank} dimensions; the limit is 4`);
  const shape: number[] = [];
  for (let i = 0; i < rank; i++) shape.unshift(cursor.count(`dimension ${i} of ${where}`, MAX_WEIGHTS));
  if (countElements(shape) > MAX_WEIGHTS)
    throw cursor.invalid(`${where} claims the impossible shape [${shape.join(", ")}]`);
  const type = cursor.uint32(`the type of ${where}`);
  const offset = cursor.count(`the offset of ${where}`, Number.MAX_SAFE_INTEGER);
  return [name, { type: TYPE_NAMES[type] ?? `number ${type}`, shape, offset }];
}

function readAlignment(metadata: GgufMetadata, { invalid }: GgufCursor): number {
  const value = metadata["general.alignment"] ?? 32;
  if (typeof value === "number" && value >= 1 && value <= MAX_ALIGNMENT && Number.isInteger(Math.log2(value)))
    return value;
  throw invalid(`general.alignment is ${String(value)}; it must be a power of two up to ${MAX_ALIGNMENT}`);
}

/** Bytes of a tensor, or 0 for a type that cannot be read (its reading is refused later, by name). */
function checkedSize(name: string, { type, shape }: GgufTensor, { invalid }: GgufCursor): number {
  if (!isStoredType(type)) return 0;
  const { blockSize } = blockFormats[type];
  const row = shape.at(-1) ?? 1;
  if (row % blockSize !== 0)
    throw invalid(`tensor "${name}" has rows of ${row}, but ${type} stores blocks of ${blockSize}`);
  return fileBytes(type, countElements(shape));
}

function placeTensors(
  listed: readonly (readonly [string, GgufTensor])[],
  {
    cursor,
    size,
    dataBegin,
  }: { readonly cursor: GgufCursor; readonly size: number; readonly dataBegin: number },
): ReadonlyMap<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  let previous = { name: "", end: dataBegin };
  for (const [name, tensor] of [...listed].sort(([, a], [, b]) => a.offset - b.offset)) {
    const offset = dataBegin + tensor.offset;
    const end = offset + checkedSize(name, tensor, cursor);
    if (tensors.has(name)) throw cursor.invalid(`tensor "${name}" occurs twice`);
    if (end > size)
      throw cursor.invalid(
        `tensor "${name}" ends at byte ${end}, but the file has ${size}; it is cut short; download it again`,
      );
    if (offset < previous.end) throw cursor.invalid(`tensors "${previous.name}" and "${name}" overlap`);
    tensors.set(name, { ...tensor, offset });
    previous = { name, end };
  }
  return tensors;
}

/** A tensor's type as one that can be read. Throws `unsupported` with the names of those. */
export function readableType(type: string, where: string): StoredType {
  if (isStoredType(type)) return type;
  throw new MosError(
    "unsupported",
    `${where} has the unsupported type ${type}; supported types are ${Object.keys(blockFormats).join(", ")}`,
  );
}

async function dequantizeTensor(
  file: ReadableFile,
  { shape, offset }: GgufTensor,
  type: StoredType,
): Promise<Float32Array> {
  const { bytes: size, blockSize, decode } = blockFormats[type];
  const result = new Float32Array(countElements(shape));
  const blocks = result.length / blockSize;
  const step = Math.min(blocks, Math.ceil(CHUNK / size));
  const buffer = new Uint8Array(step * size);
  for (let block = 0; block < blocks; block += step) {
    const some = Math.min(step, blocks - block);
    const part = buffer.subarray(0, some * size);
    await file.read(part, offset + block * size);
    decode(part, result.subarray(block * blockSize, (block + some) * blockSize));
  }
  return result;
}

/**
 * Opens a GGUF file and checks its whole header: every count and length against the file, types, shapes, and that the
 * tensors lie inside the file without overlap.
 *
 * @throws MosError "bad_model" for a broken file, "unsupported" for other versions, "not_found", "storage".
 * @example
 * await using file = await openGguf("model.gguf");
 * const embedding = await file.readFloat32("token_embd.weight");
 */
export async function openGguf(path: string): Promise<GgufFile> {
  return closeOnFailure(await openForReading(path, "bad_model"), (file) => {
    const cursor = ggufCursor(file);
    const counts = readCounts(cursor, path);
    const metadata = readGgufMetadata(cursor, counts.keys);
    const listed = Array.from({ length: counts.tensors }, () => readTensor(cursor));
    const alignment = readAlignment(metadata, cursor);
    const dataBegin = Math.ceil(cursor.position / alignment) * alignment;
    const tensors = placeTensors(listed, { cursor, size: file.size, dataBegin });
    const find = (name: string): GgufTensor => {
      const tensor = tensors.get(name);
      if (!tensor) throw cursor.invalid(`there is no tensor "${name}"`);
      return tensor;
    };
    return {
      path,
      version: counts.version,
      metadata,
      tensors,
      readFloat32: async (name) => {
        const tensor = find(name);
        return dequantizeTensor(file, tensor, readableType(tensor.type, `${path}: tensor "${name}"`));
      },
      readInto: async (name, target, begin) => file.read(target, find(name).offset + begin),
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    };
  });
}
