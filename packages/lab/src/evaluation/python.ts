// The originals are Python programs: what Python takes for whitespace, digits and letters decides scores, and its random
// numbers decide which examples are shown. JavaScript's \s, \w, \d and dot differ.

/** Python's `\w`, for a class of a regular expression with the flag `u`: no marks, no joiners. */
export const WORD = "\\p{L}\\p{N}_";

/** Python's `\d`, for a regular expression with the flag `u`: digits of all scripts. */
export const DIGIT = "\\p{Nd}";

/** Whitespace, which in Python is also U+001C to 1F. */
const BLANKS = "\\p{White_Space}\\x1c-\\x1f";
const BLANK_RUN = new RegExp(`[${BLANKS}]+`, "u");

/** `str.split()`: the words, none of them empty. */
export const splitWords = (text: string): readonly string[] =>
  text.split(BLANK_RUN).filter((word) => word !== "");

/** Deletes what `string.punctuation` lists: the 32 ASCII characters, and no other script's. */
export const withoutPunctuation = (text: string): string => text.replace(/[!-/:-@[-`{-~]/g, "");

// Python's `random`, as far as the rules draw by it: MT19937 (Matsumoto and Nishimura, 1998), seeded by a whole number
// as CPython does.
const SIZE = 624;
const MIDDLE = 397;

/**
 * The stream of `random.seed(seed)`.
 *
 * @param seed a whole number from 0 to 2³² - 1.
 */
export function pythonRandom(seed: number) {
  const state = seededBy(seed);
  let next = SIZE;
  /** `getrandbits(32)`. */
  const uint32 = (): number => {
    if (next === SIZE) {
      advance(state);
      next = 0;
    }
    return temper(at(state, next++));
  };
  /** `randrange(limit)`, with a limit of at most 2³². */
  const below = (limit: number): number => {
    const bits = bitLength(limit);
    for (;;) {
      const drawn = uint32() >>> (32 - bits);
      if (drawn < limit) return drawn;
    }
  };
  /** The indices that `sample(range(length), count)` gives: from a list that shrinks, or of a long one without those drawn before. */
  const sample = (length: number, count: number): readonly number[] => {
    const small = 21 + (count > 5 ? 4 ** Math.ceil(Math.log(count * 3) / Math.log(4)) : 0);
    const drawn = new Set<number>();
    if (length > small) while (drawn.size < count) drawn.add(below(length));
    if (length > small) return [...drawn];
    const pool = Array.from({ length }, (_, i) => i);
    return Array.from({ length: Math.min(count, length) }, (_, i) => {
      const j = below(length - i);
      const index = pool[j] ?? 0;
      pool[j] = pool[length - i - 1] ?? 0;
      return index;
    });
  };
  return { uint32, sample };
}

const at = (words: Uint32Array, index: number): number => words[index] ?? 0;

/** `int.bit_length()`; 2³² itself would take 33 bits, which `below` never needs for sizes of lists. */
const bitLength = (value: number): number => Math.min(32, 32 - Math.clz32(value));

function plainState(seed: number): Uint32Array {
  const state = new Uint32Array(SIZE);
  state[0] = seed;
  for (let i = 1; i < SIZE; i++) {
    const before = at(state, i - 1);
    state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
  }
  return state;
}

/** The reference's `init_by_array` with a key of one word. */
function seededBy(seed: number): Uint32Array {
  const state = plainState(19650218);
  let i = 1;
  const mixed = (factor: number): number => {
    const before = at(state, i - 1);
    return at(state, i) ^ Math.imul(before ^ (before >>> 30), factor);
  };
  const step = (value: number): void => {
    state[i] = value;
    i++;
    if (i < SIZE) return;
    state[0] = at(state, SIZE - 1);
    i = 1;
  };
  for (let k = 0; k < SIZE; k++) step(mixed(1664525) + seed);
  for (let k = 1; k < SIZE; k++) step(mixed(1566083941) - i);
  state[0] = 0x80000000;
  return state;
}

function advance(state: Uint32Array): void {
  for (let i = 0; i < SIZE; i++) {
    const joined = (at(state, i) & 0x80000000) | (at(state, (i + 1) % SIZE) & 0x7fffffff);
    state[i] = at(state, (i + MIDDLE) % SIZE) ^ (joined >>> 1) ^ (joined & 1 ? 0x9908b0df : 0);
  }
}

function temper(word: number): number {
  let y = word;
  y ^= y >>> 11;
  y ^= (y << 7) & 0x9d2c5680;
  y ^= (y << 15) & 0xefc60000;
  return (y ^ (y >>> 18)) >>> 0;
}
