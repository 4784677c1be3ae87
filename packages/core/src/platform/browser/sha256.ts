// SHA-256 (FIPS 180-4), a piece at a time: the browser's own digests a whole array only, and not at once.
import type { Hash } from "../platform.ts";

const BLOCK = 64;

/** The first 32 bits of the fractional parts of a root of the first primes. */
function primeRoots(count: number, root: (prime: number) => number): Int32Array {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  return Int32Array.from(primes, (prime) => Math.trunc((root(prime) % 1) * 2 ** 32) | 0);
}

const START = primeRoots(8, Math.sqrt);
const ROUNDS = primeRoots(64, Math.cbrt);

const rotate = (word: number, by: number): number => (word >>> by) | (word << (32 - by));

/** Numbers of a block, and those that follow from them. */
const words = new Int32Array(64);

function schedule(view: DataView, at: number): void {
  for (let t = 0; t < 16; t++) words[t] = view.getInt32(at + 4 * t);
  for (let t = 16; t < 64; t++) {
    const [early, late] = [words[t - 15] ?? 0, words[t - 2] ?? 0];
    const s0 = rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3);
    const s1 = rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10);
    words[t] = (words[t - 16] ?? 0) + s0 + (words[t - 7] ?? 0) + s1;
  }
}

/** Adds the block at a position to the state. */
function addBlock(state: Int32Array, view: DataView, at: number): void {
  schedule(view, at);
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  for (let t = 0; t < 64; t++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + (ROUNDS[t] ?? 0) + (words[t] ?? 0)) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  for (const [i, value] of [a, b, c, d, e, f, g, h].entries()) state[i] = (state[i] ?? 0) + value;
}

const toBytes = (data: string | ArrayBufferView): Uint8Array =>
  typeof data === "string"
    ? new TextEncoder().encode(data)
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

const ENCODINGS = {
  hex: (bytes: Uint8Array): string =>
    Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(""),
  base64url: (bytes: Uint8Array): string =>
    btoa(String.fromCharCode(...bytes))
      .replaceAll("=", "")
      .replaceAll("+", "-")
      .replaceAll("/", "_"),
};

/** A digest of what it was given. */
export function createHash(_algorithm: "sha256"): Hash {
  const state = START.slice();
  const rest = new Uint8Array(BLOCK);
  const restView = new DataView(rest.buffer);
  let length = 0;
  const add = (bytes: Uint8Array): void => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < bytes.length; ) {
      const held = length % BLOCK;
      const taken = Math.min(BLOCK - held, bytes.length - at);
      length += taken;
      if (taken === BLOCK) addBlock(state, view, at);
      else {
        rest.set(bytes.subarray(at, at + taken), held);
        if (held + taken === BLOCK) addBlock(state, restView, 0);
      }
      at += taken;
    }
  };
  const hash: Hash = {
    update: (data) => {
      add(toBytes(data));
      return hash;
    },
    digest: (encoding) => {
      const bits = BigInt(length) * 8n;
      add(Uint8Array.of(0x80));
      add(new Uint8Array((2 * BLOCK - 8 - (length % BLOCK)) % BLOCK));
      const end = new DataView(new ArrayBuffer(8));
      end.setBigUint64(0, bits);
      add(new Uint8Array(end.buffer));
      const result = new DataView(new ArrayBuffer(4 * state.length));
      for (const [i, word] of state.entries()) result.setInt32(4 * i, word);
      return ENCODINGS[encoding](new Uint8Array(result.buffer));
    },
  };
  return hash;
}
