import { compareBytes } from "#grammar";
import { EMPTY } from "./kinds.ts";

/** A word of a trie: bytes, and the node of what follows them. */
export interface Word {
  readonly bytes: Uint8Array;
  readonly tail: number;
}

/**
 * The bytes of literals, and sorted lists of words. A trie is a range of such a list with a depth, so that nothing is built for
 * branches that no text takes.
 */
export class Words {
  #text = new Uint8Array(1024);
  /** How many bytes before each one begin a code point, i.e. are no continuation bytes. */
  #starts = new Int32Array(1025);
  #length = 0;
  readonly #begin: number[] = [];
  readonly #end: number[] = [];
  readonly #tail: number[] = [];

  get bytes(): number {
    return 5 * this.#text.length + 24 * this.#begin.length;
  }

  byte(place: number): number {
    return this.#text[place] ?? 0;
  }

  /** Number of bytes from `begin` to `end` that begin a code point. */
  countStarts(begin: number, end: number): number {
    return (this.#starts[end] ?? 0) - (this.#starts[begin] ?? 0);
  }

  /** Stores bytes, and returns where they begin. */
  addText(bytes: Uint8Array): number {
    const begin = this.#length;
    this.#reserve(begin + bytes.length);
    this.#text.set(bytes, begin);
    for (let index = 0; index < bytes.length; index++) {
      const isStart = ((bytes[index] ?? 0) & 0xc0) !== 0x80;
      this.#starts[begin + index + 1] = (this.#starts[begin + index] ?? 0) + (isStart ? 1 : 0);
    }
    this.#length += bytes.length;
    return begin;
  }

  /** Stores words, none of them empty, and returns the range of their indices, which are in their order. */
  addWords(words: readonly Word[]): { low: number; high: number } {
    const low = this.#begin.length;
    const sorted = [...words].sort(
      (one, other) => compareBytes(one.bytes, other.bytes) || one.tail - other.tail,
    );
    let previous: Word | undefined;
    for (const word of sorted) {
      if (previous?.tail === word.tail && compareBytes(previous.bytes, word.bytes) === 0) continue;
      const begin = this.addText(word.bytes);
      this.#begin.push(begin);
      this.#end.push(begin + word.bytes.length);
      this.#tail.push(word.tail);
      previous = word;
    }
    return { low, high: this.#begin.length };
  }

  /** Stores words that are sorted, by where each ends in their bytes. Nothing follows them. */
  addSorted(bytes: Uint8Array, ends: readonly number[]): { low: number; high: number } {
    const low = this.#begin.length;
    const begin = this.addText(bytes);
    let last = begin;
    for (const end of ends) {
      this.#begin.push(last);
      last = begin + end;
      this.#end.push(last);
      this.#tail.push(EMPTY);
    }
    return { low, high: this.#begin.length };
  }

  begin(word: number): number {
    return this.#begin[word] ?? 0;
  }

  end(word: number): number {
    return this.#end[word] ?? 0;
  }

  tail(word: number): number {
    return this.#tail[word] ?? 0;
  }

  /** The byte of a word at a depth that it reaches. */
  byteAt(word: number, depth: number): number {
    return this.byte(this.begin(word) + depth);
  }

  /** First word from `low` to `high` whose byte at this depth is at least `byte`. */
  lowerBound(byte: number, { low, high, depth }: { low: number; high: number; depth: number }): number {
    let [from, to] = [low, high];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.byteAt(middle, depth) < byte) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  #reserve(length: number): void {
    if (length <= this.#text.length) return;
    const size = Math.max(length, 2 * this.#text.length);
    const text = new Uint8Array(size);
    text.set(this.#text);
    const starts = new Int32Array(size + 1);
    starts.set(this.#starts);
    this.#text = text;
    this.#starts = starts;
  }
}
