/** Words of a set of bytes: bit b of word w is the byte 32 w + b. */
const WORDS = 8;

/** Interned sets of bytes: equal sets have equal numbers. */
export class ByteSets {
  #words = new Uint32Array(64 * WORDS);
  #count = 0;
  readonly #ids = new Map<string, number>();
  readonly #scratch = new Uint32Array(WORDS);

  get bytes(): number {
    return this.#words.byteLength + 100 * this.#count;
  }

  /** The set of the bytes in these inclusive ranges. */
  ofRanges(ranges: readonly (readonly [first: number, last: number])[]): number {
    this.#scratch.fill(0);
    for (const [first, last] of ranges) {
      for (let byte = first; byte <= last; byte++) {
        this.#scratch[byte >> 5] = (this.#scratch[byte >> 5] ?? 0) | (1 << (byte & 31));
      }
    }
    return this.#intern();
  }

  union(one: number, other: number): number {
    for (let word = 0; word < WORDS; word++) {
      this.#scratch[word] = this.#word(one, word) | this.#word(other, word);
    }
    return this.#intern();
  }

  intersection(one: number, other: number): number {
    for (let word = 0; word < WORDS; word++) {
      this.#scratch[word] = this.#word(one, word) & this.#word(other, word);
    }
    return this.#intern();
  }

  has(set: number, byte: number): boolean {
    return ((this.#word(set, byte >> 5) >>> (byte & 31)) & 1) === 1;
  }

  isEmpty(set: number): boolean {
    for (let word = 0; word < WORDS; word++) if (this.#word(set, word) !== 0) return false;
    return true;
  }

  isSubset(set: number, of: number): boolean {
    for (let word = 0; word < WORDS; word++) {
      if ((this.#word(set, word) & ~this.#word(of, word)) !== 0) return false;
    }
    return true;
  }

  /** Whether a set has continuation bytes of UTF-8 (0x80 to 0xBF), and whether it has others. */
  kinds(set: number): { continuation: boolean; other: boolean } {
    const continuation = (this.#word(set, 4) | this.#word(set, 5)) !== 0;
    const other = [0, 1, 2, 3, 6, 7].some((word) => this.#word(set, word) !== 0);
    return { continuation, other };
  }

  #word(set: number, word: number): number {
    return this.#words[set * WORDS + word] ?? 0;
  }

  #intern(): number {
    const key = String.fromCharCode(...new Uint16Array(this.#scratch.buffer));
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = this.#count++;
    if ((id + 1) * WORDS > this.#words.length) {
      const words = new Uint32Array(2 * this.#words.length);
      words.set(this.#words);
      this.#words = words;
    }
    this.#words.set(this.#scratch, id * WORDS);
    this.#ids.set(key, id);
    return id;
  }
}
