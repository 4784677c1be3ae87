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

/** Interned partitions of bytes: equal ones have equal numbers. */
export class Partitions {
  readonly #partitions: ByteClasses[] = [];
  readonly #ids = new Map<string, number>();
  readonly #refined = new PairTable();
  readonly #scratch = new Uint8Array(256);
  /** Class by key, valid where the stamp is that of the current partition. */
  readonly #numbers = new Uint8Array(65_536);
  readonly #stamps = new Uint32Array(65_536);
  #stamp = 0;
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
    const representatives: number[] = [];
    this.#stamp++;
    for (let byte = 0; byte < 256; byte++) {
      const key = keyOf(byte);
      if (this.#stamps[key] !== this.#stamp) {
        this.#stamps[key] = this.#stamp;
        this.#numbers[key] = representatives.length;
        representatives.push(byte);
      }
      this.#scratch[byte] = this.#numbers[key] ?? 0;
    }
    const text = String.fromCharCode(...this.#scratch);
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    const id = this.#partitions.length;
    this.#partitions.push({
      count: representatives.length,
      of: this.#scratch.slice(),
      representatives: Uint8Array.from(representatives),
    });
    this.#ids.set(text, id);
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
    const refined = this.intern((byte) => 256 * (a[byte] ?? 0) + (b[byte] ?? 0));
    this.#refined.set(low, high, refined);
    return refined;
  }
}
