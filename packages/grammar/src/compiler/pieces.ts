import {
  concat,
  EMPTY,
  type GrammarBuilder,
  type GrammarSymbol,
  memo,
  only,
  type Regex,
  repeat,
} from "#grammar";
import { isPrefixFree } from "./prefix-free.ts";

/** A regular language, which is not a lexeme yet, since its neighbours may join it. */
export interface Regular {
  readonly regex: Regex;
  /** Whether it is one given text, ends with one, or neither. Only in the last case may it go on in what follows. */
  readonly fixed: "whole" | "end" | "no";
}

/** Symbols, with regular languages before and after them. */
interface Branch {
  readonly head: Regular;
  readonly middle: readonly GrammarSymbol[];
  readonly tail: Regular;
}

/** A part of a grammar that has not met its neighbours: a regular language, or one of some branches. */
export interface Piece {
  readonly regular?: Regular;
  readonly branches: readonly Branch[];
}

/** Repetitions; `max` null is without limit. */
export interface Counts {
  readonly min: number;
  readonly max: number | null;
}

/** Branches that are joined one by one with what stands before or after them, and those that are repeated so. */
const [MAX_BRANCHES, MAX_REPEATED] = [64, 8];
/** Repetitions that are written one by one where they may go on in each other. */
const MAX_WRITTEN = 8;

const NONE: Regular = { regex: EMPTY, fixed: "whole" };

const isNone = ({ regex }: Regular): boolean => regex === EMPTY;
const isOpen = ({ fixed }: Regular): boolean => fixed === "no";

export const regular = (regex: Regex, fixed: Regular["fixed"] = "no"): Piece => ({
  regular: { regex, fixed },
  branches: [],
});

export const symbolPiece = (symbol: GrammarSymbol): Piece => ({
  branches: [{ head: NONE, middle: [symbol], tail: NONE }],
});

export const emptyPiece: Piece = { regular: NONE, branches: [] };

/** The language of a piece that is regular as a whole. */
export const asRegular = ({ regular: found, branches }: Piece): Regex | undefined =>
  branches.length === 0 ? found?.regex : undefined;

/** Whether a piece begins or ends with a language that may go on in its neighbours. */
const isOpenPiece = ({ regular: language, branches }: Piece): boolean =>
  (language !== undefined && isOpen(language)) ||
  branches.some(({ head, tail }) => isOpen(head) || isOpen(tail));

const partsOf = (regex: Regex): readonly Regex[] => (regex.type === "concat" ? regex.parts : [regex]);

function joined(one: Regular, other: Regular): Regular {
  if (isNone(one)) return other;
  if (isNone(other)) return one;
  const isWhole = one.fixed === "whole" && other.fixed === "whole";
  const end = isOpen(other) ? "no" : "end";
  // flat, since thousands may follow each other
  return {
    regex: { type: "concat", parts: [...partsOf(one.regex), ...partsOf(other.regex)] },
    fixed: isWhole ? "whole" : end,
  };
}

/** One of these pieces. */
export function union(pieces: readonly Piece[]): Piece {
  const branches = pieces.flatMap((piece) => piece.branches);
  const languages = pieces.flatMap((piece) => (piece.regular === undefined ? [] : [piece.regular]));
  const [first, ...others] = languages;
  if (first === undefined) return { branches };
  if (others.length === 0) return { regular: first, branches };
  const options = languages.map(({ regex }) => regex);
  return { regular: { regex: { type: "either", options }, fixed: "no" }, branches };
}

/**
 * Puts pieces side by side. Where a regular language meets another they are joined, since a lexer that takes the longest match
 * would not find the end of the first; in doing so, branches may be multiplied, within bounds.
 */
export class Joiner {
  readonly #builder: GrammarBuilder;
  readonly #name: string;
  readonly #prefixFree = new Map<Regex, boolean>();

  constructor(builder: GrammarBuilder, name: string) {
    this.#builder = builder;
    this.#name = name;
  }

  sequence(pieces: readonly Piece[]): Piece {
    return pieces.reduce((before, piece) => this.#pair(before, piece), emptyPiece);
  }

  /** The symbol of a piece. */
  symbol(piece: Piece, isFollowed = true): GrammarSymbol {
    const { regular: language, branches } = piece;
    const alone = language === undefined ? [] : [this.#lexeme(language, isFollowed)];
    const alternatives = [
      ...alone,
      ...branches.map(({ head, middle, tail }) => [
        ...this.#lexeme(head),
        ...middle,
        ...this.#lexeme(tail, isFollowed),
      ]),
    ];
    return only(only(alternatives) ?? []) ?? this.#builder.rule(this.#name, alternatives);
  }

  /** Repeats a piece that is not regular as a whole; what is between two of it may be. */
  repeat(piece: Piece, separator: Piece, { min, max }: Counts): Piece {
    if (max === 0) return emptyPiece;
    if (min === 0) return union([emptyPiece, this.repeat(piece, separator, { min: 1, max })]);
    if (max === 1) return piece;
    const between = separator.branches.length === 0 ? separator.regular : undefined;
    const isFew = piece.branches.length <= MAX_REPEATED;
    if (max === null && min === 1 && between !== undefined && isFew) return this.#many(piece, between);
    if (isOpenPiece(piece) || isOpenPiece(separator)) {
      const written = this.#written(piece, separator, { min, max });
      if (written !== undefined) return written;
    }
    const item = this.symbol(piece);
    const isApart = between !== undefined && isNone(between);
    return symbolPiece(this.#counted(item, isApart ? undefined : this.symbol(separator), { min, max }));
  }

  /** Repetitions one after the other, each joined with the next; undefined where they are too many. */
  #written(piece: Piece, separator: Piece, { min, max }: Counts): Piece | undefined {
    if ((max ?? min) > MAX_WRITTEN) return undefined;
    if (max === null && min === 1) {
      const next = this.sequence([separator, piece]);
      if (next.branches.length > MAX_REPEATED) return undefined;
      return this.sequence([piece, union([emptyPiece, this.#many(next, NONE)])]);
    }
    const rest = { min: Math.max(min - 1, 1), max: max === null ? null : max - 1 };
    const next = this.sequence([separator, this.repeat(piece, separator, rest)]);
    return this.sequence([piece, min > 1 ? next : union([emptyPiece, next])]);
  }

  /** One or more of a piece. Where some of it is regular, any number of that stand between its branches, as one language with them. */
  #many({ regular: alone, branches }: Piece, between: Regular): Piece {
    if (alone === undefined) return this.#loop(branches, between);
    const after: Regular = { regex: repeat(concat(between.regex, alone.regex)), fixed: "no" };
    const before: Regular = { regex: repeat(concat(alone.regex, between.regex)), fixed: "no" };
    const looped = this.#loop(branches, joined(after, between)).branches;
    return {
      regular: joined(alone, after),
      branches: looped.map(({ head, middle, tail }) => ({
        head: joined(before, head),
        middle,
        tail: joined(tail, after),
      })),
    };
  }

  /** Any number of branches, the tail of each joined with the head of the next. */
  #loop(branches: readonly Branch[], between: Regular): Piece {
    const builder = this.#builder;
    /** Those that begin with one branch and end with another. */
    const spans = branches.map(() => branches.map(() => builder.reserve(this.#name)));
    /** What stands between the beginning of one branch and the end of another before it. */
    const links = branches.map(({ head }) =>
      branches.map(({ tail }) => this.#lexeme(joined(joined(tail, between), head))),
    );
    for (const [i, row] of spans.entries())
      for (const [j, span] of row.entries()) {
        const { middle } = branches[j] as Branch;
        const longer = row.map((before, k) => [before, ...(links[j]?.[k] ?? []), ...middle]);
        builder.set(span, i === j ? [middle, ...longer] : longer);
      }
    return {
      branches: spans.flatMap((row, i) =>
        row.map((span, j) => ({
          head: (branches[i] as Branch).head,
          middle: [span],
          tail: (branches[j] as Branch).tail,
        })),
      ),
    };
  }

  /** Unlimited repetitions recur on the left, which costs a parser least; limited ones are one rule for each. */
  #counted(of: GrammarSymbol, separator: GrammarSymbol | undefined, { min, max }: Counts): GrammarSymbol {
    const builder = this.#builder;
    const name = this.#name;
    const next = separator === undefined ? of : builder.rule(name, [[separator, of]]);
    const required = [of, ...Array<GrammarSymbol>(min - 1).fill(next)];
    if (max === null) {
      const many = builder.reserve(name);
      builder.set(many, [[], [many, next]]);
      return builder.rule(name, [[...required, many]]);
    }
    let more = builder.rule(name, [[]]);
    for (let i = min; i < max; i++) more = builder.rule(name, [[], [next, more]]);
    return builder.rule(name, [[...required, more]]);
  }

  #pair(one: Piece, other: Piece): Piece {
    const [first, second] = [one.regular, other.regular];
    const parts: Piece[] = [];
    if (first !== undefined && second !== undefined)
      parts.push({ regular: joined(first, second), branches: [] });
    if (first !== undefined) parts.push({ branches: this.#begin(first, other.branches) });
    if (second !== undefined)
      parts.push({
        branches: one.branches.map((branch) => ({ ...branch, tail: joined(branch.tail, second) })),
      });
    return union([...parts, { branches: this.#product(one.branches, other.branches) }]);
  }

  /** Branches after a regular language. */
  #begin(before: Regular, branches: readonly Branch[]): readonly Branch[] {
    const isOpenSomewhere = isOpen(before) || branches.some(({ tail }) => isOpen(tail));
    const isFew = branches.length <= (isOpenSomewhere ? MAX_BRANCHES : 1);
    if (isFew || isNone(before))
      return branches.map((branch) => ({ ...branch, head: joined(before, branch.head) }));
    return [{ head: before, middle: [this.symbol({ branches })], tail: NONE }];
  }

  #product(ones: readonly Branch[], others: readonly Branch[]): readonly Branch[] {
    if (ones.length === 0 || others.length === 0) return [];
    if (ones.length * others.length <= MAX_BRANCHES)
      return ones.flatMap(({ head, middle, tail }) =>
        others.map((other) => ({
          head,
          middle: [...middle, ...this.#lexeme(joined(tail, other.head)), ...other.middle],
          tail: other.tail,
        })),
      );
    if (others.some(({ tail }) => isOpen(tail))) {
      const before = this.symbol({ branches: ones });
      return others.map(({ head, middle, tail }) => ({
        head: NONE,
        middle: [before, ...this.#lexeme(head), ...middle],
        tail,
      }));
    }
    const after = this.symbol({ branches: others });
    return ones.map(({ head, middle, tail }) => ({
      head,
      middle: [...middle, ...this.#lexeme(tail), after],
      tail: NONE,
    }));
  }

  #endsAtMatch(regex: Regex): boolean {
    return memo(this.#prefixFree, regex, () => isPrefixFree(regex));
  }

  /** A language that nothing joins any more: one that ends with a given text ends there at its first match. */
  #lexeme(language: Regular, isFollowed = true): readonly GrammarSymbol[] {
    if (isNone(language)) return [];
    const { regex, fixed } = language;
    // a lazy lexeme would end those beside it, too
    const isLazy = isFollowed && fixed === "end" && !this.#endsAtMatch(regex);
    return [this.#builder.lexeme({ name: this.#name, regex, isLazy })];
  }
}
