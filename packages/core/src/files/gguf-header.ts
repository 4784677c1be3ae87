// The head of a GGUF file: a checked cursor over its values, and the metadata.
import { MosError } from "#common";
import { readSync } from "#platform";
import type { ReadableFile } from "./atomic-files.ts";
import { storageError } from "./system-error.ts";

const WINDOW = 1 << 20;

/**
 * Reads little-endian values one after another from the head of a file, a window at a time. Whatever a value claims to
 * need is compared with what the file still has before anything is allocated.
 */
export interface GgufCursor {
  /** The error for a broken file. */
  readonly invalid: (what: string) => MosError;
  readonly position: number;
  /** Bytes between the position and the end of the file. */
  readonly remaining: number;
  /** The next `length` bytes, valid until the next call; `what` names them in the error of a file that ends. */
  take(length: number, what: string): DataView;
  uint32(what: string): number;
  /** An unsigned 64-bit number of at most `maximum`. */
  count(what: string, maximum: number): number;
  /** A string of at most `maximum` bytes, with its length in front. */
  string(what: string, maximum: number): string;
}

/** A cursor at byte 0. The file must stay open while the cursor is used. */
export function ggufCursor(file: ReadableFile): GgufCursor {
  const { path, size } = file;
  let window = new Uint8Array(0);
  let begin = 0; // of the window in the file
  let position = 0;
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
    get remaining() {
      return size - position;
    },
    take,
    count,
    uint32: (what) => take(4, what).getUint32(0, true),
    string: (what, maximum) => {
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

/** Reads `count` keys with their values. */
export function readGgufMetadata(cursor: GgufCursor, count: number): GgufMetadata {
  if (count > MAX_KEYS) throw cursor.invalid(`the header claims ${count} keys; the limit is ${MAX_KEYS}`);
  const values = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = cursor.string(`key ${i + 1} of the header`, MAX_KEY_LENGTH);
    if (key === "__proto__" || values.has(key))
      throw cursor.invalid(`the key "${key}" of the header is not allowed or occurs twice`);
    const type = cursor.uint32(`the type of ${key}`);
    values.set(key, readValue(cursor, type, { key, depth: 0 }));
  }
  return Object.fromEntries(values);
}
