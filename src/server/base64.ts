import { setImmediate as nextTurn } from "node:timers/promises";

/** Letters that are decoded in one turn of the event loop: whole groups of four. */
const SLICE = 1 << 20;

/** Base64, strictly, piece by piece, so that a long one holds nobody else up. Undefined for what is none. */
export async function decodeBase64(letters: Uint8Array): Promise<Uint8Array | undefined> {
  const { length } = letters;
  if (length % 4 !== 0) return undefined;
  const source = Buffer.from(letters.buffer, letters.byteOffset, length);
  const decoded = Buffer.alloc((length / 4) * 3);
  let size = 0;
  for (let start = 0; start < length; start += SLICE) {
    const slice = source.toString("latin1", start, Math.min(length, start + SLICE));
    const isLast = start + SLICE >= length;
    if (!(isLast ? /^[A-Za-z0-9+/]*={0,2}$/ : /^[A-Za-z0-9+/]*$/).test(slice)) return undefined;
    size += decoded.write(slice, size, "base64");
    await nextTurn();
  }
  return decoded.subarray(0, size);
}
