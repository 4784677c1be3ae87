import type { TokenBytes } from "./token-order.ts";
import { layOut, type Trie } from "./trie.ts";

/**
 * Plain tokens are whole characters that mean nothing in a JSON string: neither quotes, backslashes nor control characters. Some 95 % of a
 * vocabulary are plain, so that a lexeme which takes any such character, a certain number of times, allows a set of tokens that is known
 * beforehand, and leaves only the rest to be looked at.
 */
export interface PlainTokens {
  /** Plain tokens of at most so many characters, by the number of characters. */
  readonly upTo: readonly { readonly words: Uint32Array; readonly count: number }[];
  /** All tokens but the plain ones of at most `PLAIN_CHARACTERS` characters. */
  readonly rest: Trie;
}

/** Longest plain tokens, in characters, that are not among the rest. */
export const PLAIN_CHARACTERS = 20;

/** Steps of the loops over tokens between two looks at the clock. */
const BATCH = 1024;

/** Whether an ASCII character is plain. */
export const isPlainAscii = (byte: number): boolean =>
  byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c;

/** Splits sorted tokens into plain ones and the rest. */
export function* findPlainTokens(
  order: Int32Array,
  { bytes, offsets }: TokenBytes,
  nextToken: Int32Array,
): Generator<undefined, PlainTokens> {
  const size = offsets.length - 1;
  const upTo = Array.from({ length: PLAIN_CHARACTERS + 1 }, () => ({
    words: new Uint32Array(Math.ceil(size / 32)),
    count: 0,
  }));
  const rest: number[] = [];
  for (let index = 0; index < order.length; index++) {
    if (index % BATCH === 0) yield;
    const token = order[index] ?? 0;
    const length = plainCharacters(bytes.subarray(offsets[token] ?? 0, offsets[token + 1] ?? 0));
    if (length < 0 || length > PLAIN_CHARACTERS) {
      rest.push(token);
      continue;
    }
    for (let characters = length; characters <= PLAIN_CHARACTERS; characters++) {
      const slice = upTo[characters];
      if (!slice) continue;
      slice.words[token >>> 5] = (slice.words[token >>> 5] ?? 0) | (1 << (token & 31));
      slice.count++;
    }
  }
  return { upTo, rest: yield* layOut(Int32Array.from(rest), { bytes, offsets }, nextToken) };
}

/** Characters of a plain token, or −1. */
function plainCharacters(bytes: Uint8Array): number {
  let characters = 0;
  for (let index = 0; index < bytes.length; characters++) {
    const byte = bytes[index] ?? 0;
    const length = byte < 0x80 ? Number(isPlainAscii(byte)) : sequenceLength(bytes, index);
    if (length === 0) return -1;
    index += length;
  }
  return characters;
}

/** Ranges of the second byte of those first bytes that do not take all of 0x80 to 0xBF. */
const SECOND_BYTES = new Map([
  [0xe0, [0xa0, 0xbf]],
  [0xed, [0x80, 0x9f]],
  [0xf0, [0x90, 0xbf]],
  [0xf4, [0x80, 0x8f]],
]);

/** Bytes of the UTF-8 character of several bytes that begins at an index, or 0. */
function sequenceLength(bytes: Uint8Array, index: number): number {
  const lead = bytes[index] ?? 0;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  for (let offset = 1; offset < length; offset++) {
    const byte = bytes[index + offset] ?? 0;
    const [least = 0x80, most = 0xbf] = (offset === 1 && SECOND_BYTES.get(lead)) || [];
    if (byte < least || byte > most) return 0;
  }
  return length;
}
