import { readSync } from "node:fs";
import { MosError } from "#core";
import { type ReadableFile, storageError } from "#storage";

const WINDOW = 1 << 20;

/**
 * Reads little-endian values one after another from the head of a file, a window at a time. Whatever a value claims to
 * need is compared with what the file still has before anything is allocated.
 */
export interface GgufCursor {
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
      if (read === 0) throw new MosError("bad_model", `${path}: the file became shorter while it was read`);
      filled += read;
    }
    window = buffer;
    begin = position;
  };

  const take = (length: number, what: string): DataView => {
    if (length > size - position)
      throw new MosError(
        "bad_model",
        `${path}: ${what} needs ${length} bytes at byte ${position}, but the file ends at ${size}; it is cut short or damaged, fetch it again`,
      );
    if (position + length > begin + window.length) refill(length);
    const view = new DataView(window.buffer, position - begin, length);
    position += length;
    return view;
  };

  const count = (what: string, maximum: number): number => {
    const value = take(8, what).getBigUint64(0, true);
    if (value > BigInt(maximum))
      throw new MosError("bad_model", `${path}: ${what} is ${value}; at most ${maximum} is possible here`);
    return Number(value);
  };

  return {
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
      // Vocabularies may hold pieces of code points, so invalid UTF-8 is no error here.
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(new Uint8Array(buffer, byteOffset, length));
    },
  };
}
