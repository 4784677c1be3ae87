// GGUF, versions 2 and 3, little-endian: counts, metadata, tensor table, then aligned tensor data
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Read by our own checked cursor: every length is compared
// with the file before use, and a message names the key or tensor that does not fit.
import { countElements, MosError } from "#common";
import { readSync } from "#platform";
import { closeOnFailure, openForReading, type ReadableFile } from "./atomic-files.ts";
import { blockFormats, fileBytes, isStoredType, type StoredType } from "./dequantize.ts";
import { storageError } from "./system-error.ts";

const WINDOW = 1 << 20;

type GgufCursor = ReturnType<typeof ggufCursor>;

/**
 * Reads little-endian values one after another from the head of a file, a window at a time. Whatever a value claims to
 * need is compared with what the file still has before anything is allocated.
 */
function ggufCursor(file: ReadableFile) {
  const { path, size } = file;
  let window = new Uint8Array(0);
  let begin = 0; // of the window in the file
  let position = 0;
  /** The error for a broken file. */
  const invalid = (what: string): MosError => new MosError("bad_model", `${path}: ${what}`);

  const refill = (length: number): void => {
    const wanted = Math.min(Math.max(length, WINDOW), size - position);
    const buffer = window.length === wanted ? window : new Uint8Array(wanted);
    let filled = 0;
    while (filled < wanted) {
      let read: number;
      try {
        read = readSync(file.handle.fd, buffer, filled, wanted - filled, position + filled);
      } catch (error) {
        throw storageError(error, path);
      }
      if (read === 0) throw invalid("the file was truncated while it was being read");
      filled += read;
    }
    window = buffer;
    begin = position;
  };

  /** The next `length` bytes, valid until the next call; `what` names them in the error of a file that ends. */
  const take = (length: number, what: string): DataView => {
    if (length > size - position)
      throw invalid(
        `${what} needs ${length} bytes at byte ${position}, but the file ends at ${size}; it is cut short or damaged; download it again`,
      );
    if (position + length > begin + window.length) refill(length);
    const view = new DataView(window.buffer, position - begin, length);
    position += length;
    return view;
  };

  /** An unsigned 64-bit number of at most `maximum`. */
  const count = (what: string, maximum: number): number => {
    const value = take(8, what).getBigUint64(0, true);
    if (value > BigInt(maximum)) throw invalid(`${what} is ${value}; the limit is ${maximum}`);
    return Number(value);
  };

  return {
    invalid,
    get position() {
      return position;
    },
    /** Bytes between the position and the end of the file. */
    get remaining() {
      return size - position;
    },
    take,
    count,
    uint32: (what: string): number => take(4, what).getUint32(0, true),
    /** A string of at most `maximum` bytes, with its length in front. */
    string: (what: string, maximum: number): string => {
      const length = count(`the length of ${what}`, Math.min(maximum, size));
      const { buffer, byteOffset } = take(length, what);
      // Vocabularies may hold pieces of code points, so invalid UTF-8 is not an error here.
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(new Uint8Array(buffer, byteOffset, length));
    },
  };
}

/** A value of the header. 64-bit numbers that float64 cannot hold stay bigint. */
export type GgufValue = string | number | bigint | boolean | readonly GgufValue[];

/** Key → value of a GGUF file's header, in the file's own names ("llama.block_count"). */
export type GgufMetadata = Readonly<Record<string, GgufValue>>;

const MAX_STRING_LENGTH = 1 << 26;
const MAX_KEY_LENGTH = 1 << 16;
const MAX_ITEMS = 1 << 23;
const MAX_KEYS = 1 << 16;
const MAX_DEPTH = 4;

const UINT32 = 4;
const STRING = 8;
const ARRAY = 9;

const narrow = (value: bigint): number | bigint => {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
};

/** The value types of fixed size, by GGUF's type number. */
const SCALARS: Readonly<
  Record<number, { readonly bytes: number; readonly read: (view: DataView) => GgufValue }>
> = {
  0: { bytes: 1, read: (view) => view.getUint8(0) },
  1: { bytes: 1, read: (view) => view.getInt8(0) },
  2: { bytes: 2, read: (view) => view.getUint16(0, true) },
  3: { bytes: 2, read: (view) => view.getInt16(0, true) },
  4: { bytes: 4, read: (view) => view.getUint32(0, true) },
  5: { bytes: 4, read: (view) => view.getInt32(0, true) },
  6: { bytes: 4, read: (view) => view.getFloat32(0, true) },
  7: { bytes: 1, read: (view) => view.getUint8(0) !== 0 },
  10: { bytes: 8, read: (view) => narrow(view.getBigUint64(0, true)) },
  11: { bytes: 8, read: (view) => narrow(view.getBigInt64(0, true)) },
  12: { bytes: 8, read: (view) => view.getFloat64(0, true) },
};

const smallestItem = (type: number): number => SCALARS[type]?.bytes ?? (type === STRING ? 8 : 12);

/** A value of the header: its key, and the number of lists around it. */
interface Item {
  readonly key: string;
  readonly depth: number;
}

function readArray(cursor: GgufCursor, { key, depth }: Item): readonly GgufValue[] {
  if (depth >= MAX_DEPTH) throw cursor.invalid(`${key} holds lists nested more than ${MAX_DEPTH} deep`);
  const type = cursor.uint32(`the item type of ${key}`);
  const length = cursor.count(`the length of ${key}`, MAX_ITEMS);
  if (length * smallestItem(type) > cursor.remaining)
    throw cursor.invalid(
      `${key} claims ${length} items, but only ${cursor.remaining} bytes follow; the file is cut short or damaged`,
    );
  const items: GgufValue[] = [];
  for (let i = 0; i < length; i++) items.push(readValue(cursor, type, { key, depth: depth + 1 }));
  return items;
}

function readValue(cursor: GgufCursor, type: number, item: Item): GgufValue {
  const scalar = SCALARS[type];
  if (scalar) return scalar.read(cursor.take(scalar.bytes, item.key));
  if (type === STRING) return cursor.string(item.key, MAX_STRING_LENGTH);
  if (type === ARRAY) return readArray(cursor, item);
  throw cursor.invalid(`${item.key} has the unknown value type ${type}`);
}

/** Reads `count` keys with their values, and finds the type of most weights, a uint32, where there is one. */
function readGgufMetadata(cursor: GgufCursor, count: number) {
  if (count > MAX_KEYS) throw cursor.invalid(`the header claims ${count} keys; the limit is ${MAX_KEYS}`);
  const values = new Map<string, GgufValue>();
  let fileTypeAt: number | undefined;
  for (let i = 0; i < count; i++) {
    const key = cursor.string(`key ${i + 1} of the header`, MAX_KEY_LENGTH);
    if (key === "__proto__" || values.has(key))
      throw cursor.invalid(`the key "${key}" of the header is not allowed or occurs twice`);
    const type = cursor.uint32(`the type of ${key}`);
    if (key === "general.file_type" && type === UINT32) fileTypeAt = cursor.position;
    values.set(key, readValue(cursor, type, { key, depth: 0 }));
  }
  return { metadata: Object.fromEntries(values) as GgufMetadata, fileTypeAt };
}

/** One tensor. `shape` is row-major, as Hugging Face writes it: the last dimension runs fastest. */
export interface GgufTensor {
  /** GGUF's name of the type, such as "Q4_K". */
  readonly type: string;
  readonly shape: readonly number[];
  /** Byte position in the file. */
  readonly offset: number;
}

export type GgufFile = Awaited<ReturnType<typeof openGguf>>;

/** Keys and values of a header as they stand in a file. */
export interface RawKeys {
  readonly count: number;
  readonly bytes: Uint8Array;
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

/**
 * Opens a GGUF file and checks its whole header: every count and length against the file, types, shapes, and that the
 * tensors lie inside the file without overlap.
 *
 * @throws MosError "bad_model" for a broken file, "unsupported" for other versions, "not_found", "storage".
 */
export async function openGguf(path: string) {
  return closeOnFailure(await openForReading(path, "bad_model"), (file) => {
    const cursor = ggufCursor(file);
    const counts = readCounts(cursor, path);
    const begin = cursor.position;
    const { metadata, fileTypeAt } = readGgufMetadata(cursor, counts.keys);
    const end = cursor.position;
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
      /** Any readable type as float32. */
      async readFloat32(name: string): Promise<Float32Array> {
        const { type: given, shape, offset } = find(name);
        const type = readableType(given, `${path}: tensor "${name}"`);
        const numbers = new Float32Array(countElements(shape));
        const bytes = new Uint8Array(fileBytes(type, numbers.length));
        await file.read(bytes, offset);
        blockFormats[type].decode(bytes, numbers);
        return numbers;
      },
      /** Fills `target` with bytes of a tensor as they stand in the file, from its byte `begin` on. */
      readInto: async (name: string, target: Uint8Array, begin: number): Promise<void> =>
        file.read(target, find(name).offset + begin),
      /** The keys and values of the header, for another file that is mostly of a type. */
      async readKeys(fileType: number): Promise<RawKeys> {
        const bytes = new Uint8Array(end - begin);
        await file.read(bytes, begin);
        if (fileTypeAt !== undefined)
          new DataView(bytes.buffer).setUint32(fileTypeAt - begin, fileType, true);
        return { count: counts.keys, bytes };
      },
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    };
  });
}
