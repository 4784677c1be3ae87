/** Bytes of many tokens, one after the other. */
export interface TokenBytes {
  readonly bytes: Uint8Array;
  /** Where the bytes of each token begin, and a last entry where they end. */
  readonly offsets: Int32Array;
}

/** Ranges of at most so many tokens are sorted by comparing them. */
const SMALL_RANGE = 24;

/** A range of tokens that agree in their first `depth` bytes. */
interface Range {
  readonly first: number;
  readonly end: number;
  readonly depth: number;
}

/**
 * Sorts tokens by their bytes, from the first byte on. A generator, so that the caller can let others run: it stops after each
 * pass over a range.
 */
export function* sortTokens(tokens: Int32Array, bytes: TokenBytes): Generator<undefined> {
  const sorter = new Sorter(tokens, bytes);
  const ranges: Range[] = [{ first: 0, end: tokens.length, depth: 0 }];
  for (let range = ranges.pop(); range; range = ranges.pop()) {
    if (range.end - range.first > SMALL_RANGE) {
      ranges.push(...sorter.partition(range));
      yield;
    } else sorter.insert(range);
  }
}

class Sorter {
  readonly #tokens: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #offsets: Int32Array;
  readonly #scratch: Int32Array;

  constructor(tokens: Int32Array, { bytes, offsets }: TokenBytes) {
    this.#tokens = tokens;
    this.#bytes = bytes;
    this.#offsets = offsets;
    this.#scratch = new Int32Array(tokens.length);
  }

  /** Sorts a range by one byte, and returns the ranges that agree in it. */
  partition({ first, end, depth }: Range): Range[] {
    const tokens = this.#tokens;
    // bucket 0 holds the tokens that end here, which keep the order of their ids
    const sizes = new Int32Array(257);
    for (let index = first; index < end; index++) {
      const bucket = this.#byteAt(tokens[index] ?? 0, depth);
      sizes[bucket] = (sizes[bucket] ?? 0) + 1;
    }
    const ranges: Range[] = [];
    const places = new Int32Array(257);
    let place = first;
    sizes.forEach((size, bucket) => {
      places[bucket] = place;
      if (bucket > 0 && size > 1) ranges.push({ first: place, end: place + size, depth: depth + 1 });
      place += size;
    });
    for (let index = first; index < end; index++) {
      const token = tokens[index] ?? 0;
      const bucket = this.#byteAt(token, depth);
      const to = places[bucket] ?? 0;
      places[bucket] = to + 1;
      this.#scratch[to] = token;
    }
    tokens.set(this.#scratch.subarray(first, end), first);
    return ranges;
  }

  /** Sorts a range by insertion. */
  insert({ first, end, depth }: Range): void {
    const tokens = this.#tokens;
    for (let index = first + 1; index < end; index++) {
      const token = tokens[index] ?? 0;
      let place = index;
      for (; place > first && this.#isBefore(token, tokens[place - 1] ?? 0, depth); place--)
        tokens[place] = tokens[place - 1] ?? 0;
      tokens[place] = token;
    }
  }

  #isBefore(one: number, other: number, from: number): boolean {
    for (let depth = from; ; depth++) {
      const left = this.#byteAt(one, depth);
      const right = this.#byteAt(other, depth);
      if (left !== right) return left < right;
      if (left === 0) return one < other;
    }
  }

  /** A byte of a token plus one, or 0 after its end. */
  #byteAt(token: number, depth: number): number {
    const index = (this.#offsets[token] ?? 0) + depth;
    return index < (this.#offsets[token + 1] ?? 0) ? (this.#bytes[index] ?? 0) + 1 : 0;
  }
}
