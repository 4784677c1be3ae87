/**
 * A regular expression over the bytes of UTF-8, as data: it survives structured cloning and JSON. A language is a set of byte
 * strings; `not` is the complement in the set of all byte strings, so whoever wants valid UTF-8 takes `and` of it with such a language.
 */
export type Regex =
  /** The UTF-8 of a text. */
  | { readonly type: "literal"; readonly text: string }
  /**
   * One of many texts, in a form that is read at once: `text` has them one after another, in the order of their bytes and each once, and
   * `ends` where each ends, in bytes. None is empty.
   */
  | { readonly type: "words"; readonly text: string; readonly ends: readonly number[] }
  /** These bytes, which need not be valid UTF-8. */
  | { readonly type: "bytes"; readonly bytes: readonly number[] }
  /** One code point in one of these inclusive ranges, without surrogates. */
  | { readonly type: "class"; readonly ranges: readonly (readonly [first: number, last: number])[] }
  | { readonly type: "concat"; readonly parts: readonly Regex[] }
  /** One of these; without any, the empty language. */
  | { readonly type: "either"; readonly options: readonly Regex[] }
  /** @remarks `max` null is without limit. */
  | { readonly type: "repeat"; readonly of: Regex; readonly min: number; readonly max: number | null }
  /** In all of these languages; without any, all byte strings. */
  | { readonly type: "and"; readonly parts: readonly Regex[] }
  | { readonly type: "not"; readonly of: Regex };

/** The empty language. */
export const NOTHING: Regex = { type: "either", options: [] };

/** The empty text only. */
export const EMPTY: Regex = { type: "concat", parts: [] };

/** One code point of any kind. */
export const ANY: Regex = { type: "class", ranges: [[0, 0x10ffff]] };

export const literal = (text: string): Regex => ({ type: "literal", text });

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** One of these texts, none of which is empty. */
export function words(texts: readonly string[]): Regex {
  const sorted = texts.map((text) => encoder.encode(text)).sort(compareBytes);
  const distinct = sorted.filter((bytes, i) => i === 0 || compareBytes(sorted[i - 1] ?? bytes, bytes) !== 0);
  const all = new Uint8Array(distinct.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  const ends = distinct.map((bytes) => {
    all.set(bytes, end);
    end += bytes.length;
    return end;
  });
  // a lone surrogate at the end of a text must not meet one at the beginning of the next
  return { type: "words", text: decoder.decode(all), ends };
}

/** The texts of a list. */
export function listWords({ text, ends }: Extract<Regex, { type: "words" }>): readonly string[] {
  const all = encoder.encode(text);
  return ends.map((end, i) => decoder.decode(all.subarray(ends[i - 1] ?? 0, end)));
}

/** Order of byte strings, by the first byte that differs. */
export function compareBytes(one: Uint8Array, other: Uint8Array): number {
  const length = Math.min(one.length, other.length);
  for (let index = 0; index < length; index++) {
    const difference = (one[index] ?? 0) - (other[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return one.length - other.length;
}

export const concat = (...parts: readonly Regex[]): Regex => ({ type: "concat", parts });
export const either = (...options: readonly Regex[]): Regex => ({ type: "either", options });
export const repeat = (of: Regex, min = 0, max: number | null = null): Regex => ({
  type: "repeat",
  of,
  min,
  max,
});
export const optional = (of: Regex): Regex => repeat(of, 0, 1);
export const and = (...parts: readonly Regex[]): Regex => ({ type: "and", parts });
export const not = (of: Regex): Regex => ({ type: "not", of });

/** A class of code points, by inclusive ranges of characters ("az" is a to z) or of code points. */
export const charClass = (
  ...ranges: readonly (string | readonly [number, number])[]
): Extract<Regex, { type: "class" }> => ({
  type: "class",
  ranges: ranges.map((range) => {
    if (typeof range !== "string") return range;
    const [first = "", last = first] = Array.from(range);
    return [first.codePointAt(0) ?? 0, last.codePointAt(0) ?? 0] as const;
  }),
});

/** Any text, of valid UTF-8. */
export const ANY_TEXT: Regex = repeat(ANY);

/** Texts of a language in which none of these occur. */
export const textWithout = (texts: readonly string[], language: Regex = ANY_TEXT): Regex =>
  texts.length === 0
    ? language
    : and(language, not(concat(ANY_TEXT, { type: "either", options: texts.map(literal) }, ANY_TEXT)));

/** Sorted ranges that neither overlap nor touch, of the same code points. */
export function normalizeRanges(
  ranges: readonly (readonly [first: number, last: number])[],
): readonly (readonly [first: number, last: number])[] {
  const sorted = ranges.filter(([first, last]) => first <= last).sort(([one], [other]) => one - other);
  const joined: [number, number][] = [];
  for (const [first, last] of sorted) {
    const previous = joined.at(-1);
    if (previous !== undefined && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last);
    else joined.push([first, last]);
  }
  return joined;
}

/** The expressions directly within one. */
export function partsOf(regex: Regex): readonly Regex[] {
  if ("parts" in regex) return regex.parts;
  if ("options" in regex) return regex.options;
  return "of" in regex ? [regex.of] : [];
}

/** Whether a regular expression matches the empty text. */
export function acceptsEmpty(regex: Regex): boolean {
  switch (regex.type) {
    case "literal":
      return regex.text === "";
    case "bytes":
      return regex.bytes.length === 0;
    case "class":
    case "words":
      return false;
    case "concat":
    case "and":
      return regex.parts.every(acceptsEmpty);
    case "either":
      return regex.options.some(acceptsEmpty);
    case "repeat":
      return regex.min === 0 || acceptsEmpty(regex.of);
    case "not":
      return !acceptsEmpty(regex.of);
  }
}
