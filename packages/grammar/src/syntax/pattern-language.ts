import { ANY, ANY_TEXT, and, concat, GrammarError, not, type Regex, repeat } from "#grammar";
import { complement, WORD } from "./pattern-classes.ts";
import {
  alternativesNode,
  canBeEmpty,
  type LookNode,
  type PatternNode,
  plainRegex,
  type RepeatNode,
  repeatNode,
  sequenceNode,
  Uses,
  without,
} from "./pattern-nodes.ts";
import {
  ANY_REST,
  both,
  END_OF_TEXT,
  inAll,
  isSame,
  mapRests,
  NO_REST,
  oneOf,
  oneOfRests,
  type Rest,
  type Rests,
} from "./pattern-rests.ts";

/** Repeats of a part with assertions that are written out. */
const WRITTEN_REPEATS = 64;

/** Parts that are visited at most. Repeats within repeats are visited often. */
const VISITS = 10_000;

const WORD_CHARACTER: Regex = { type: "class", ranges: WORD };
const OTHER_CHARACTER: Regex = { type: "class", ranges: complement(WORD) };
const ENDS_WITH_WORD = concat(ANY_TEXT, WORD_CHARACTER);
const ENDS_WITH_OTHER = concat(ANY_TEXT, OTHER_CHARACTER);
const BEGINS_WITH_WORD: Rest = { regex: concat(WORD_CHARACTER, ANY_TEXT), isNullable: false };
const BEGINS_WITHOUT_WORD: Rest = { regex: not(BEGINS_WITH_WORD.regex), isNullable: true };
const NOT_EMPTY = repeat(ANY, 1);
const END_NODE: PatternNode = { type: "end", uses: Uses.End };

const refuse = (keyword: string, reason: string): GrammarError =>
  new GrammarError("unsupported", `${keyword} is not supported ${reason}`, { keyword });

const then = (regex: Regex, rest: Rest, isNullable: boolean): Rest => {
  if (rest === NO_REST) return NO_REST;
  return {
    regex: rest === END_OF_TEXT ? regex : concat(regex, rest.regex),
    isNullable: isNullable && rest.isNullable,
  };
};

/**
 * The language of a pattern with assertions. It is built from the end: each part is joined with what may follow, so that a lookahead
 * or $ is an intersection with it. What ^ and \b ask about the text before is known as one of three states ({@link Rests}).
 */
export class PatternLanguage {
  #visits = 0;

  /** Texts that a pattern matches from some place on to their end, if `rest` follows the pattern. */
  follow(node: PatternNode, rests: Rests): Rests {
    if (++this.#visits > VISITS) {
      throw new GrammarError("limit", "a pattern has too many repeats of parts with assertions");
    }
    if (node.uses === 0) return this.#consume(plainRegex(node), canBeEmpty(node), rests);
    switch (node.type) {
      case "sequence":
        return this.#followSequence(node.parts, rests);
      case "alternatives":
        return this.#followAlternatives(node.options, rests);
      case "repeat":
        return this.#followRepeat(node, rests);
      case "start":
        return { start: rests.start, word: NO_REST, other: NO_REST };
      case "end":
        return mapRests(rests, (rest) => (rest.isNullable ? END_OF_TEXT : NO_REST));
      case "word":
        return followBoundary(node.isNegative, rests);
      case "look":
        return this.#followLook(node, rests);
      default:
        return rests;
    }
  }

  /** Texts in which a pattern matches, before a rest. The text before the match is also in the language `before`. */
  search(node: PatternNode, rest: Rest, before: readonly Regex[]): Regex {
    const { start, word, other } = this.follow(node, inAll(rest));
    const prefix = (regex: Regex): Regex => (before.length === 0 ? regex : and(regex, ...before));
    if (start === word && word === other) return then(prefix(ANY_TEXT), start, false).regex;
    const isWordAlike = word === other;
    const options = [
      before.length === 0 ? start : then(prefix(concat()), start, false),
      then(prefix(isWordAlike ? NOT_EMPTY : ENDS_WITH_WORD), word, false),
    ];
    if (!isWordAlike) options.push(then(prefix(ENDS_WITH_OTHER), other, false));
    return oneOf(options).regex;
  }

  #consume(regex: Regex, isNullable: boolean, rests: Rests): Rests {
    if (isSame(rests)) return inAll(then(regex, rests.start, isNullable));
    const some = isNullable ? and(regex, NOT_EMPTY) : regex;
    const moved =
      rests.word === rests.other
        ? then(some, rests.word, false)
        : oneOf([
            then(and(some, ENDS_WITH_WORD), rests.word, false),
            then(and(some, ENDS_WITH_OTHER), rests.other, false),
          ]);
    return isNullable ? mapRests(rests, (rest) => oneOf([moved, rest])) : inAll(moved);
  }

  #followSequence(parts: readonly PatternNode[], rests: Rests): Rests {
    let result = rests;
    let plain: PatternNode[] = [];
    for (const part of [...parts].reverse()) {
      if (part.uses === 0) {
        plain.unshift(part);
        continue;
      }
      if (plain.length > 0) result = this.follow(sequenceNode(plain), result);
      plain = [];
      result = this.follow(part, result);
    }
    return plain.length > 0 ? this.follow(sequenceNode(plain), result) : result;
  }

  #followAlternatives(options: readonly PatternNode[], rests: Rests): Rests {
    const plain = options.filter(({ uses }) => uses === 0);
    const others = options.filter(({ uses }) => uses !== 0);
    const all = plain.length > 0 ? [alternativesNode(plain), ...others] : others;
    return oneOfRests(all.map((option) => this.follow(option, rests)));
  }

  #followLook({ of, isAhead, isNegative }: LookNode, rests: Rests): Rests {
    if (!isAhead) throw refuse("lookbehind", "but at the beginning of a pattern");
    const found = this.follow(of, inAll(ANY_REST));
    const change = (rest: Rest): Rest =>
      isNegative ? { regex: not(rest.regex), isNullable: !rest.isNullable } : rest;
    const looked = mapRests(found, change);
    if (isSame(looked)) return mapRests(rests, (rest) => both(rest, looked.start));
    return {
      start: both(rests.start, looked.start),
      word: both(rests.word, looked.word),
      other: both(rests.other, looked.other),
    };
  }

  #followRepeat(node: RepeatNode, rests: Rests): Rests {
    const { of, min, max } = node;
    if (max !== null && max <= WRITTEN_REPEATS) {
      let result = rests;
      for (let count = max - 1; count >= 0; count--) {
        const next = this.follow(of, result);
        result = count >= min ? oneOfRests([next, rests]) : next;
      }
      return result;
    }
    const guarded = this.#followGuarded(node, rests);
    if (guarded !== undefined) return guarded;
    const isEither = (of.uses & (Uses.Start | Uses.End)) === (Uses.Start | Uses.End);
    if ((of.uses & (Uses.Word | Uses.Ahead | Uses.Behind)) !== 0 || (isEither && canBeEmpty(of))) {
      throw refuse((of.uses & Uses.Word) === 0 ? "lookahead" : "\\b", "within a repeat");
    }
    return (of.uses & Uses.Start) === 0 ? this.#repeatToEnd(node, rests) : this.#repeatFromStart(node, rests);
  }

  /** `^` holds in the first repeat only, and only at the start of the text. */
  #repeatFromStart({ of, min, max }: RepeatNode, rests: Rests): Rests {
    const later = without(of, "start");
    const [least, most] = [canBeEmpty(of) ? 0 : Math.max(0, min - 1), max === null ? null : max - 1];
    const { word, other } = this.follow(repeatNode(later, { min, max }), rests);
    const first = this.follow(sequenceNode([of, repeatNode(later, { min: least, max: most })]), rests);
    return { start: oneOf(min === 0 ? [rests.start, first.start] : [first.start]), word, other };
  }

  /** `$` holds in the last repeat only, and only at the end of the text. */
  #repeatToEnd({ of, min, max }: RepeatNode, rests: Rests): Rests {
    const earlier = without(of, "end");
    const [least, most] = [canBeEmpty(of) ? 0 : Math.max(0, min - 1), max === null ? null : max - 1];
    const last = sequenceNode([repeatNode(earlier, { min: least, max: most }), of, END_NODE]);
    return oneOfRests([this.follow(repeatNode(earlier, { min, max }), rests), this.follow(last, rests)]);
  }

  /** `((?!A).)*` up to the end of the text: no place in it may begin with A. */
  #followGuarded({ of, min, max }: RepeatNode, rests: Rests): Rests | undefined {
    const parts = of.type === "sequence" ? of.parts : [];
    const step = parts.at(-1);
    const looks = parts.slice(0, -1);
    if (step?.type !== "class" || !looks.every((part): part is LookNode => part.type === "look"))
      return undefined;
    if (isSame(rests) && rests.start === ANY_REST && min === 0) return rests;
    if (!isSame(rests) || rests.start !== END_OF_TEXT) return undefined;
    const conditions: Regex[] = [repeat(plainRegex(step), min, max)];
    for (const look of looks) {
      const here = this.#followLook(look, inAll(ANY_REST));
      if (!isSame(here)) return undefined;
      const refused = and(NOT_EMPTY, not(here.start.regex));
      conditions.push(not(concat(ANY_TEXT, refused)));
    }
    return inAll({ regex: and(...conditions), isNullable: min === 0 });
  }
}

/** \b holds where one of the characters before and after is a word's, and \B elsewhere. */
function followBoundary(isNegative: boolean, rests: Rests): Rests {
  const [unequal, equal] = [BEGINS_WITH_WORD, BEGINS_WITHOUT_WORD];
  const [afterOther, afterWord] = isNegative ? [equal, unequal] : [unequal, equal];
  const start = both(rests.start, afterOther);
  return {
    start,
    word: both(rests.word, afterWord),
    other: rests.other === rests.start ? start : both(rests.other, afterOther),
  };
}
