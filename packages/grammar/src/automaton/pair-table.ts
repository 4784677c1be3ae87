const EMPTY_SLOT = -1;

/** Mixes two integers into a hash of 32 bits. */
export const mix = (first: number, second: number): number => {
  let hash = Math.imul(first ^ (second >>> 16) ^ (second << 11), 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 15) ^ second, 0x85ebca6b);
  return hash ^ (hash >>> 13);
};

/** A map from pairs of non-negative integers to integers, by open addressing: a tenth of the memory of a Map. */
export class PairTable {
  #first = new Int32Array(64).fill(EMPTY_SLOT);
  #second = new Int32Array(64);
  #values = new Int32Array(64);
  #size = 0;

  get bytes(): number {
    return 12 * this.#first.length;
  }

  /** The value of a pair, or -1. */
  get(first: number, second: number): number {
    const slot = this.#find(first, second);
    return this.#first[slot] === EMPTY_SLOT ? -1 : (this.#values[slot] ?? -1);
  }

  set(first: number, second: number, value: number): void {
    if (2 * this.#size >= this.#first.length) this.#grow();
    const slot = this.#find(first, second);
    if (this.#first[slot] === EMPTY_SLOT) this.#size++;
    this.#first[slot] = first;
    this.#second[slot] = second;
    this.#values[slot] = value;
  }

  #find(first: number, second: number): number {
    const last = this.#first.length - 1;
    let slot = mix(first, second) & last;
    for (;;) {
      const found = this.#first[slot];
      if (found === EMPTY_SLOT || (found === first && this.#second[slot] === second)) return slot;
      slot = (slot + 1) & last;
    }
  }

  #grow(): void {
    const [first, second, values] = [this.#first, this.#second, this.#values];
    const size = 2 * first.length;
    this.#first = new Int32Array(size).fill(EMPTY_SLOT);
    this.#second = new Int32Array(size);
    this.#values = new Int32Array(size);
    for (let slot = 0; slot < first.length; slot++) {
      const key = first[slot] ?? EMPTY_SLOT;
      if (key === EMPTY_SLOT) continue;
      const place = this.#find(key, second[slot] ?? 0);
      this.#first[place] = key;
      this.#second[place] = second[slot] ?? 0;
      this.#values[place] = values[slot] ?? 0;
    }
  }
}
