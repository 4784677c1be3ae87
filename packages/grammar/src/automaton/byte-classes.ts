import { PairTable } from "./pair-table.ts";

/** A partition of the 256 bytes into classes that behave alike. */
export interface ByteClasses {
  readonly count: number;
  /** Class of each byte. */
  readonly of: Uint8Array;
  /** The smallest byte of each class. */
  readonly representatives: Uint8Array;
}

/** Partition 0: all bytes are one class. */
export const ONE_CLASS = 0;

/** Scratch: classes by key, valid where the stamp is that of the current partition. */
const numbers = new Uint8Array(65_536);
const stamps = new Uint32Array(65_536);
let stamp = 0;
/** Scratch: keys and classes of the bytes. */
const keys = new Uint16Array(256);
const classes = new Uint8Array(256);

/** Interned partitions of bytes: equal ones have equal numbers. */
export class Partitions {
  readonly #partitions: ByteClasses[] = [];
  /** Numbers of partitions by their hash. */
  readonly #ids = new Map<number, number[]>();
  readonly #refined = new PairTable();
  readonly #ofByte = new Int32Array(256).fill(-1);

  constructor() {
    this.intern(() => 0);
  }

  get bytes(): number {
    return 1000 * this.#partitions.length + this.#refined.bytes;
  }

  get(partition: number): ByteClasses {
    const found = this.#partitions[partition];
    if (found === undefined) throw new RangeError(`there is no partition ${partition}`);
    return found;
  }

  /** The partition by a key of each byte. Keys are integers from 0 to 65,535. */
  intern(keyOf: (byte: number) => number): number {
    for (let byte = 0; byte < 256; byte++) keys[byte] = keyOf(byte);
    return this.#internKeys();
  }

  #internKeys(): number {
    let count = 0;
    let hash = 0;
    stamp++;
    for (let byte = 0; byte < 256; byte++) {
      const key = keys[byte] ?? 0;
      if (stamps[key] !== stamp) {
        stamps[key] = stamp;
        numbers[key] = count++;
      }
      const number = numbers[key] ?? 0;
      classes[byte] = number;
      hash = (Math.imul(hash, 31) + number) | 0;
    }
    const alike = this.#ids.get(hash) ?? [];
    const known = alike.find((id) => this.get(id).of.every((number, byte) => number === classes[byte]));
    if (known !== undefined) return known;
    const representatives = new Uint8Array(count);
    for (let byte = 255; byte >= 0; byte--) representatives[classes[byte] ?? 0] = byte;
    const id = this.#partitions.push({ count, of: classes.slice(), representatives }) - 1;
    this.#ids.set(hash, [...alike, id]);
    return id;
  }

  /** The partition into one byte and the rest. */
  ofByte(byte: number): number {
    const known = this.#ofByte[byte] ?? -1;
    if (known >= 0) return known;
    const partition = this.intern((other) => (other === byte ? 1 : 0));
    this.#ofByte[byte] = partition;
    return partition;
  }

  /** The coarsest partition that is finer than both. */
  refine(one: number, other: number): number {
    if (one === other || other === ONE_CLASS) return one;
    if (one === ONE_CLASS) return other;
    const [low, high] = one < other ? [one, other] : [other, one];
    const known = this.#refined.get(low, high);
    if (known >= 0) return known;
    const [a, b] = [this.get(low).of, this.get(high).of];
    for (let byte = 0; byte < 256; byte++) keys[byte] = 256 * (a[byte] ?? 0) + (b[byte] ?? 0);
    const refined = this.#internKeys();
    this.#refined.set(low, high, refined);
    return refined;
  }
}

/** The coarsest classes that are finer than both. */
export function refine(one: ByteClasses, other: ByteClasses): ByteClasses {
  const numbers = new Map<number, number>();
  const representatives: number[] = [];
  const of = new Uint8Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const key = 256 * (one.of[byte] ?? 0) + (other.of[byte] ?? 0);
    let number = numbers.get(key);
    if (number === undefined) {
      number = representatives.length;
      numbers.set(key, number);
      representatives.push(byte);
    }
    of[byte] = number;
  }
  return { count: representatives.length, of, representatives: Uint8Array.from(representatives) };
}
