import type { ByteClasses } from "#automaton";
import type { Lexer, LexerState } from "./lexer.ts";
import { isPlainAscii, PLAIN_CHARACTERS } from "./plain-tokens.ts";

/** States after each plain character from a state: none, all of them, or "some" if only some characters lead anywhere. */
export type PlainStep = readonly LexerState[] | "some";

type Level = readonly (LexerState | null)[];

type ByteRange = readonly [first: number, last: number];

/** Bytes that continue a character. */
const NEXT: ByteRange = [0x80, 0xbf];

/** Plain characters as sequences of ranges of bytes. */
const CHARACTERS: readonly (readonly ByteRange[])[] = [
  ...plainRanges().map((range) => [range]),
  [[0xc2, 0xdf], NEXT],
  [[0xe0, 0xe0], [0xa0, 0xbf], NEXT],
  [[0xe1, 0xec], NEXT, NEXT],
  [[0xed, 0xed], [0x80, 0x9f], NEXT],
  [[0xee, 0xef], NEXT, NEXT],
  [[0xf0, 0xf0], [0x90, 0xbf], NEXT, NEXT],
  [[0xf1, 0xf3], NEXT, NEXT, NEXT],
  [[0xf4, 0xf4], [0x80, 0x8f], NEXT, NEXT],
];

/** States that are looked at, at most, before a state counts as one without a rule. */
const LOOKED_AT = 96;

/** Lexemes that are looked at together, at most. */
const TOGETHER = 8;

/**
 * Finds out how many plain characters a state takes: the longest plain tokens that are allowed from it, where all shorter ones are
 * allowed and all longer ones are not.
 */
export class PlainRuns {
  readonly #lexer: Lexer;
  /** A byte of each class of bytes that has one in a range, by range. */
  readonly #representatives = new WeakMap<ByteClasses, Map<number, readonly number[]>>();

  constructor(lexer: Lexer) {
    this.#lexer = lexer;
  }

  /** Characters of the longest plain tokens from a state, up to `PLAIN_CHARACTERS`; undefined if they do not go by length. */
  length(state: LexerState): number | undefined {
    const parts = this.#lexer.parts(state);
    // a lexeme that takes any characters does so whatever else is possible, and tells it with less work than all together
    if (parts.some((part) => this.#lengthOf(part) === PLAIN_CHARACTERS)) return PLAIN_CHARACTERS;
    return parts.length > TOGETHER ? undefined : this.#lengthOf(state);
  }

  #lengthOf(state: LexerState): number | undefined {
    const seen = new Set<LexerState>();
    let level: readonly LexerState[] = [state];
    let isAccepting = false;
    for (let length = 0; length < PLAIN_CHARACTERS; length++) {
      for (const one of level) {
        seen.add(one);
        isAccepting ||= one.accept !== undefined;
      }
      const next = this.#after(level);
      if (next === "some" || seen.size > LOOKED_AT || next.some(({ ends }) => ends)) return undefined;
      // where a lexeme can end, a longer token may go on with another one
      if (next.length === 0) return isAccepting ? undefined : length;
      if (next.every((one) => seen.has(one))) return PLAIN_CHARACTERS;
      level = next;
    }
    return PLAIN_CHARACTERS;
  }

  /** States after one character from any of some states. */
  #after(level: readonly LexerState[]): PlainStep {
    const states = new Set<LexerState>();
    let dead = 0;
    for (const one of level) {
      one.plain ??= this.#compute(one);
      if (one.plain === "some") return "some";
      if (one.plain.length === 0) dead++;
      for (const to of one.plain) states.add(to);
    }
    return dead > 0 && states.size > 0 ? "some" : [...states];
  }

  #compute(state: LexerState): PlainStep {
    const states = new Set<LexerState>();
    let isDead = false;
    for (const sequence of CHARACTERS) {
      const ends = sequence.reduce((level, range) => this.#follow(level, range), [state] as Level);
      for (const to of ends) {
        if (to) states.add(to);
        else isDead = true;
      }
      if (isDead && states.size > 0) return "some";
    }
    return [...states];
  }

  /** States after a byte of a range, with null if there is none for some. */
  #follow(level: Level, range: ByteRange): Level {
    const next = new Set<LexerState | null>();
    for (const from of level)
      if (from) for (const byte of this.#bytesOf(from, range)) next.add(this.#lexer.step(from, byte));
      else next.add(null);
    return [...next];
  }

  /** A byte of each class that has one in the range. */
  #bytesOf(state: LexerState, [first, last]: ByteRange): readonly number[] {
    const classes = this.#lexer.classes(state);
    const byRange = this.#representatives.get(classes) ?? new Map<number, readonly number[]>();
    this.#representatives.set(classes, byRange);
    const known = byRange.get(256 * first + last);
    if (known) return known;
    const bytes = new Map<number, number>();
    for (let byte = first; byte <= last; byte++) bytes.set(classes.of[byte] ?? 0, byte);
    const found = [...bytes.values()];
    byRange.set(256 * first + last, found);
    return found;
  }
}

function plainRanges(): ByteRange[] {
  const ranges: [number, number][] = [];
  for (let byte = 0; byte < 0x80; byte++) {
    if (!isPlainAscii(byte)) continue;
    const last = ranges.at(-1);
    if (last && last[1] === byte - 1) last[1] = byte;
    else ranges.push([byte, byte]);
  }
  return ranges;
}
