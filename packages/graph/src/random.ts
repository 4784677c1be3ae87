import { MosError } from "./error.ts";

/** The complete state of a generator, four unsigned 32-bit words: a stream can be saved and resumed. */
type RandomState = readonly [number, number, number, number];

/** A stream of random numbers that is the same on every platform and in every version of this package. */
export interface Random {
  /** An unsigned 32-bit integer. */
  uint32(): number;
  /** Uniform in [0, 1), a multiple of 2⁻⁵³. */
  uniform(): number;
  /** Standard normal. */
  normal(): number;
  /** Uniform integer in [0, limit), without modulo bias; `limit` ≤ 2³². */
  below(limit: number): number;
  /** 0 … n − 1 in random order (Fisher-Yates). */
  permutation(n: number): Uint32Array;
  /** State from which `randomFromState` resumes. */
  readonly state: RandomState;
}

const rotateLeft = (x: number, k: number): number => (x << k) | (x >>> (32 - k));

/** FNV-1a over the UTF-8 bytes, finished by murmur3's mixer, so that labels give unrelated streams. */
function hashLabel(label: string, seed: number): number {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (const byte of new TextEncoder().encode(label)) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) >>> 0;
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35) >>> 0;
  return (h ^ (h >>> 16)) >>> 0;
}

/** xoshiro128** (Blackman and Vigna, 2018): 128 bits of state, in signed integers, as V8 allocates those from 2³¹ on. */
export function randomFromState(state: RandomState): Random {
  let [a = 0, b = 0, c = 0, d = 0] = state.map((word) => word | 0);
  const uint32 = (): number => {
    const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = rotateLeft(d, 11);
    return result;
  };
  const uniform = (): number => ((uint32() >>> 5) * 67108864 + (uint32() >>> 6)) / 9007199254740992;
  const below = (limit: number): number => {
    const bias = 4294967296 % limit;
    let x = uint32();
    while (x < bias) x = uint32();
    return x % limit;
  };
  return {
    uint32,
    uniform,
    below,
    // Box-Muller without keeping the second number, so that the state alone decides what follows
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    permutation(n) {
      const order = Uint32Array.from({ length: n }, (_, i) => i);
      for (let i = n - 1; i > 0; i--) {
        const j = below(i + 1);
        const kept = order[i] as number;
        order[i] = order[j] as number;
        order[j] = kept;
      }
      return order;
    },
    get state(): RandomState {
      return [a >>> 0, b >>> 0, c >>> 0, d >>> 0];
    },
  };
}

/**
 * A stream for one purpose. The same seed and label give the same numbers, and streams of different labels are
 * independent, so that a new use of randomness leaves all others as they were.
 *
 * @throws MosError `bad_option` for a seed that is not a whole number from 0 to 2⁵³ − 1.
 * @example
 * const routing = randomStream(0, "q_proj.I_a");
 */
export function randomStream(seed: number, label: string): Random {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new MosError("bad_option", `seed ${seed} is invalid; give a whole number from 0 to 2⁵³ − 1`);
  const low = seed >>> 0;
  const high = Math.floor(seed / 4294967296) >>> 0;
  const word = (i: number): number => hashLabel(`${i}:${high}:${label}`, low);
  return randomFromState([word(0), word(1), word(2), word(3) || 1]);
}
