import type { ByteClasses } from "#automaton";
import type { Lexer, LexerState } from "./lexer.ts";
import { isPlainAscii, PLAIN_CHARACTERS } from "./plain-tokens.ts";

/** States after each plain character from a state. */
export interface PlainStep {
  readonly states: readonly LexerState[];
  /** Some plain characters lead nowhere. */
  readonly isPartial: boolean;
}

/** Where characters of several bytes begin, and what their other bytes may be. */
const SEQUENCES: readonly (readonly (readonly [first: number, last: number])[])[] = [
  [
    [0xc2, 0xdf],
    [0x80, 0xbf],
  ],
  [
    [0xe0, 0xe0],
    [0xa0, 0xbf],
    [0x80, 0xbf],
  ],
  [
    [0xe1, 0xec],
    [0x80, 0xbf],
    [0x80, 0xbf],
  ],
  [
    [0xed, 0xed],
    [0x80, 0x9f],
    [0x80, 0xbf],
  ],
  [
    [0xee, 0xef],
    [0x80, 0xbf],
    [0x80, 0xbf],
  ],
  [
    [0xf0, 0xf0],
    [0x90, 0xbf],
    [0x80, 0xbf],
    [0x80, 0xbf],
  ],
  [
    [0xf1, 0xf3],
    [0x80, 0xbf],
    [0x80, 0xbf],
    [0x80, 0xbf],
  ],
  [
    [0xf4, 0xf4],
    [0x80, 0x8f],
    [0x80, 0xbf],
    [0x80, 0xbf],
  ],
];

/** Plain ASCII characters, as ranges of bytes. */
const ASCII: readonly (readonly [first: number, last: number])[] = plainRanges();

/** States that are looked at, at most, before a state counts as one without a rule. */
const LOOKED_AT = 64;

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
    const seen = new Set<LexerState>();
    let level: readonly LexerState[] = [state];
    let isAccepting = false;
    for (let length = 0; length < PLAIN_CHARACTERS; length++) {
      for (const one of level) {
        seen.add(one);
        isAccepting ||= one.accept !== undefined;
      }
      const next = this.#after(level);
      // where a lexeme can end, a longer token may go on with another one
      if (next.states.length === 0) return isAccepting ? undefined : length;
      if (next.isPartial || seen.size > LOOKED_AT || next.states.some(({ ends }) => ends)) return undefined;
      if (next.states.every((one) => seen.has(one))) return PLAIN_CHARACTERS;
      level = next.states;
    }
    return PLAIN_CHARACTERS;
  }

  /** States after one character from any of some states. */
  #after(level: readonly LexerState[]): PlainStep {
    const [only] = level;
    if (only && level.length === 1) return this.#step(only);
    const steps = level.map((one) => this.#step(one));
    return {
      states: [...new Set(steps.flatMap(({ states }) => states))],
      isPartial: steps.some(({ isPartial }) => isPartial),
    };
  }

  #step(state: LexerState): PlainStep {
    state.plain ??= this.#compute(state);
    return state.plain;
  }

  #compute(state: LexerState): PlainStep {
    const states = new Set<LexerState>();
    let isPartial = false;
    const follow = (from: ReadonlySet<LexerState>, range: readonly [number, number]): Set<LexerState> => {
      const to = new Set<LexerState>();
      for (const one of from)
        for (const byte of this.#bytesOf(one, range)) {
          const next = this.#lexer.step(one, byte);
          if (next) to.add(next);
          else isPartial = true;
        }
      return to;
    };
    const start = new Set([state]);
    for (const range of ASCII) for (const to of follow(start, range)) states.add(to);
    for (const sequence of SEQUENCES) {
      const ends = sequence.reduce<ReadonlySet<LexerState>>(follow, start);
      for (const to of ends) states.add(to);
    }
    return { states: [...states], isPartial };
  }

  /** A byte of each class that has one in the range. */
  #bytesOf(state: LexerState, [first, last]: readonly [number, number]): readonly number[] {
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

function plainRanges(): (readonly [number, number])[] {
  const ranges: [number, number][] = [];
  for (let byte = 0; byte < 0x80; byte++) {
    if (!isPlainAscii(byte)) continue;
    const last = ranges.at(-1);
    if (last && last[1] === byte - 1) last[1] = byte;
    else ranges.push([byte, byte]);
  }
  return ranges;
}
