import { ANY, and, either, literal, not, only, type Regex, repeat } from "#grammar";
import type { Languages } from "./languages.ts";

/** A set of texts: listed ones, or those in all of some languages with so many code points. */
export type StringSet =
  | { readonly type: "values"; readonly values: readonly string[] }
  | {
      readonly type: "language";
      readonly parts: readonly Regex[];
      readonly min: number;
      readonly max: number | null;
    };

export const NO_STRING: StringSet = { type: "values", values: [] };
export const ANY_STRING: StringSet = { type: "language", parts: [], min: 0, max: null };

export const isNoString = (set: StringSet): boolean => set.type === "values" && set.values.length === 0;
export const isAnyString = (set: StringSet): boolean =>
  set.type === "language" && set.parts.length === 0 && set.min === 0 && set.max === null;

/** Texts of so many code points; a null maximum is none. */
export const ofLength = (min: number, max: number | null): StringSet => ({
  type: "language",
  parts: [],
  min,
  max,
});

export const ofLanguage = (regex: Regex): StringSet => ({
  type: "language",
  parts: [regex],
  min: 0,
  max: null,
});

/** The texts of a set, not as JSON spells them. */
export function languageOf(set: StringSet): Regex {
  if (set.type === "values") return either(...set.values.map(literal));
  const length = set.min === 0 && set.max === null ? [] : [repeat(ANY, set.min, set.max)];
  const all = [...set.parts, ...length];
  return only(all) ?? and(...all);
}

/** The smaller of two greatest numbers, of which null is none. */
export const smaller = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.min(a, b);

/** Whether a text is in the set. */
export function containsText(
  set: StringSet,
  { text, languages }: { text: string; languages: Languages },
): boolean {
  if (set.type === "values") return set.values.includes(text);
  const { length } = Array.from(text);
  if (length < set.min || (set.max !== null && length > set.max)) return false;
  return set.parts.every((part) => languages.matches(part, text));
}

/** The texts in both sets. */
export function intersectStrings(a: StringSet, b: StringSet, languages: Languages): StringSet {
  if (isAnyString(a)) return b;
  if (isAnyString(b)) return a;
  if (a.type === "values") {
    const known = b.type === "values" ? new Set(b.values) : undefined;
    const values = a.values.filter((text) => known?.has(text) ?? containsText(b, { text, languages }));
    return { type: "values", values };
  }
  if (b.type === "values") return intersectStrings(b, a, languages);
  const max = smaller(a.max, b.max);
  const min = Math.max(a.min, b.min);
  if (max !== null && min > max) return NO_STRING;
  const parts = new Set([...a.parts, ...b.parts]);
  for (const part of parts) if (part.type === "not" && parts.has(part.of)) return NO_STRING;
  return { type: "language", parts: [...parts], min, max };
}

/** The texts in any of these sets. */
export function uniteStrings(sets: readonly StringSet[]): StringSet {
  const values = new Set<string>();
  const others: StringSet[] = [];
  for (const set of sets) {
    if (isAnyString(set)) return ANY_STRING;
    if (set.type === "language") others.push(set);
    else for (const text of set.values) values.add(text);
  }
  const listed: StringSet = { type: "values", values: [...values] };
  const [first, ...further] = [...new Set(others)];
  if (first === undefined) return listed;
  if (further.length === 0 && values.size === 0) return first;
  const languages = [...(values.size === 0 ? [] : [listed]), first, ...further].map(languageOf);
  return ofLanguage(either(...languages));
}

/** All other texts. */
export function complementStrings(set: StringSet): StringSet {
  if (isNoString(set)) return ANY_STRING;
  if (isAnyString(set)) return NO_STRING;
  if (set.type === "language" && set.parts.length === 0) {
    const short = set.min > 0 ? [ofLength(0, set.min - 1)] : [];
    const long = set.max === null ? [] : [ofLength(set.max + 1, null)];
    return uniteStrings([...short, ...long]);
  }
  return ofLanguage(not(languageOf(set)));
}
