import { ANY_TEXT, and, EMPTY, either, NOTHING, type Regex } from "#grammar";

/** What may follow from some place of a text to its end. */
export interface Rest {
  readonly regex: Regex;
  readonly isNullable: boolean;
}

/** What may follow at the start of the text, after a character of a word, and after another one. */
export interface Rests {
  readonly start: Rest;
  readonly word: Rest;
  readonly other: Rest;
}

export const NO_REST: Rest = { regex: NOTHING, isNullable: false };
export const END_OF_TEXT: Rest = { regex: EMPTY, isNullable: true };
export const ANY_REST: Rest = { regex: ANY_TEXT, isNullable: true };

/** Whether what may follow does not depend on what is before. */
export const isSame = (rests: Rests): boolean => rests.start === rests.word && rests.word === rests.other;

export const inAll = (rest: Rest): Rests => ({ start: rest, word: rest, other: rest });

/** The same change of all rests, which stay one object where they are one. */
export function mapRests(rests: Rests, change: (rest: Rest) => Rest): Rests {
  const start = change(rests.start);
  const word = rests.word === rests.start ? start : change(rests.word);
  if (rests.other === rests.start) return { start, word, other: start };
  return { start, word, other: rests.other === rests.word ? word : change(rests.other) };
}

/** A rest that is also in another language. */
export const both = (rest: Rest, other: Rest): Rest =>
  rest === NO_REST || other === NO_REST
    ? NO_REST
    : { regex: and(rest.regex, other.regex), isNullable: rest.isNullable && other.isNullable };

export function oneOf(options: readonly Rest[]): Rest {
  const distinct = [...new Set(options)].filter((option) => option !== NO_REST);
  const [only = NO_REST, second] = distinct;
  if (second === undefined) return only;
  return {
    regex: either(...distinct.map(({ regex }) => regex)),
    isNullable: distinct.some(({ isNullable }) => isNullable),
  };
}

/** A union of what may follow. */
export function oneOfRests(options: readonly Rests[]): Rests {
  const start = oneOf(options.map((option) => option.start));
  if (options.every(isSame)) return inAll(start);
  const word = oneOf(options.map((option) => option.word));
  const isWord = options.every((option) => option.word === option.other);
  return { start, word, other: isWord ? word : oneOf(options.map((option) => option.other)) };
}
