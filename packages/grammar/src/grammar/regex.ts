/**
 * A regular expression over the bytes of UTF-8, as data: it survives structured cloning and JSON. A language is a set of byte
 * strings; `not` is the complement in the set of all byte strings, so whoever wants valid UTF-8 takes `and` of it with such a language.
 */
export type Regex =
  /** The UTF-8 of a text. */
  | { readonly type: "literal"; readonly text: string }
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
export const charClass = (...ranges: readonly (string | readonly [number, number])[]): Regex => ({
  type: "class",
  ranges: ranges.map((range) => {
    if (typeof range !== "string") return range;
    const [first = "", last = first] = Array.from(range);
    return [first.codePointAt(0) ?? 0, last.codePointAt(0) ?? 0] as const;
  }),
});

/** Any text, of valid UTF-8. */
export const ANY_TEXT: Regex = repeat(ANY);

/** Whether a regular expression matches the empty text. */
export function acceptsEmpty(regex: Regex): boolean {
  switch (regex.type) {
    case "literal":
      return regex.text === "";
    case "bytes":
      return regex.bytes.length === 0;
    case "class":
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
