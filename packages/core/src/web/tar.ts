// Folders as tar archives (ustar): what everybody can open, and a page can offer as one download.
import { MosError } from "#common";

const BLOCK = 512;
/** The most that an archive may hold: an adapter has some MB. */
const MAX_BYTES = 4e9;

/** A file of an archive. */
export interface TarEntry {
  /** Its path, with / between folders. */
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const padding = (length: number): number => (BLOCK - (length % BLOCK)) % BLOCK;

/** Parts of the archive that holds some files, in order. */
export function tarParts(entries: Iterable<TarEntry>): Uint8Array<ArrayBuffer>[] {
  const parts = [...entries].flatMap(({ name, bytes }) => [
    header(name, bytes.length),
    bytes,
    new Uint8Array(padding(bytes.length)),
  ]);
  return [...parts, new Uint8Array(2 * BLOCK)];
}

function header(name: string, size: number): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK);
  const put = (at: number, text: string): void => void new TextEncoder().encodeInto(text, block.subarray(at));
  const octal = (number: number, width: number): string => `${number.toString(8).padStart(width - 1, "0")}\0`;
  if (new TextEncoder().encode(name).length > 100)
    throw new MosError("unsupported", `${name}: the name is too long for an archive`);
  put(0, name);
  put(100, octal(0o644, 8));
  put(108, octal(0, 8));
  put(116, octal(0, 8));
  put(124, octal(size, 12));
  put(136, octal(0, 12));
  put(148, " ".repeat(8));
  put(156, "0");
  put(257, "ustar\0" + "00");
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

/** The files of an archive; folders and links are left out. Throws `bad_adapter` for what is no archive, or is cut off. */
export function readTar(bytes: Uint8Array): TarEntry[] {
  const entries: TarEntry[] = [];
  for (let at = 0; at + BLOCK <= bytes.length; ) {
    const block = bytes.subarray(at, at + BLOCK);
    if (block.every((byte) => byte === 0)) return entries;
    const size = readOctal(block.subarray(124, 136));
    const begin = at + BLOCK;
    if (!isHeader(block) || !(size <= MAX_BYTES) || begin + size > bytes.length)
      throw new MosError(
        "bad_adapter",
        `the archive is damaged at byte ${at}; give the .tar of exportAdapter`,
      );
    const prefix = readText(block.subarray(345, 500));
    const name = `${prefix === "" ? "" : `${prefix}/`}${readText(block.subarray(0, 100))}`;
    const kind = block[156];
    if (kind === 0 || kind === 0x30) entries.push({ name, bytes: bytes.slice(begin, begin + size) });
    at = begin + size + padding(size);
  }
  return entries;
}

const readText = (field: Uint8Array): string => {
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
};

const readOctal = (field: Uint8Array): number => Number.parseInt(readText(field).trim() || "0", 8);

/** The sum of a header's bytes, with spaces in the place of the sum itself. */
const isHeader = (block: Uint8Array): boolean =>
  readOctal(block.subarray(148, 156)) ===
  block.reduce((sum, byte, i) => sum + (i >= 148 && i < 156 ? 32 : byte), 0);
