import { charClass, GrammarError, memo, normalizeRanges } from "#grammar";
import type { Ranges } from "./pattern-nodes.ts";

export const LAST_POINT = 0x10ffff;

export const ANY_POINT: Ranges = [[0, LAST_POINT]];

export function complement(ranges: Ranges): Ranges {
  const outside: [number, number][] = [];
  let next = 0;
  for (const [first, last] of normalizeRanges(ranges)) {
    if (first > next) outside.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= LAST_POINT) outside.push([next, LAST_POINT]);
  return outside;
}

const DIGITS: Ranges = charClass("09").ranges;
/** What \w matches. */
export const WORD: Ranges = charClass("09", "AZ", "_", "az").ranges;
const SPACES: Ranges = [
  ...charClass("\t\r", " ", "\u00a0", "\u1680", "\u2000\u200a").ranges,
  ...charClass("\u2028\u2029", "\u202f", "\u205f", "\u3000", "\ufeff").ranges,
];

/** What `.` matches without the flag s. */
export const DOT: Ranges = complement(charClass("\n", "\r", "\u2028\u2029").ranges);

/** Escapes that stand for a class. */
export const CLASS_ESCAPES: ReadonlyMap<string, Ranges> = new Map([
  ["d", DIGITS],
  ["D", complement(DIGITS)],
  ["w", WORD],
  ["W", complement(WORD)],
  ["s", SPACES],
  ["S", complement(SPACES)],
]);

const properties = new Map<string, Ranges>();

/** Code points that are tested at once. */
const BLOCK = 0x800;

const utf16 = new TextDecoder("utf-16le");

/** The code points of a block; nothing for surrogates. */
function blockText(first: number): string {
  if (first >= 0xd800 && first <= 0xdfff) return "";
  const units = new Uint16Array(first > 0xffff ? 2 * BLOCK : BLOCK);
  for (let index = 0; index < BLOCK; index++) {
    const point = first + index;
    if (point <= 0xffff) {
      units[index] = point;
    } else {
      units[2 * index] = 0xd7c0 + (point >> 10);
      units[2 * index + 1] = 0xdc00 + (point & 0x3ff);
    }
  }
  return utf16.decode(units);
}

/**
 * Code points of a Unicode property, such as `L` or `Script=Greek`. The JavaScript engine has the tables: its expression for the
 * property is applied to all code points once.
 */
export const propertyRanges = (name: string): Ranges => memo(properties, name, () => findProperty(name));

function findProperty(name: string): Ranges {
  if (!/^[A-Za-z_]+(=[A-Za-z0-9_]+)?$/.test(name)) throw unknownProperty(name);
  let runs: RegExp;
  try {
    runs = new RegExp(`\\p{${name}}+`, "gu");
  } catch (error) {
    throw unknownProperty(name, error);
  }
  const ranges: [number, number][] = [];
  for (let first = 0; first <= LAST_POINT; first += BLOCK) {
    const text = blockText(first);
    for (let run = runs.exec(text); run !== null; run = runs.exec(text)) {
      const last = runs.lastIndex - 1;
      const isPair = text.charCodeAt(last) >= 0xdc00 && text.charCodeAt(last) <= 0xdfff;
      const end = text.codePointAt(isPair ? last - 1 : last) ?? 0;
      ranges.push([text.codePointAt(run.index) ?? 0, end]);
    }
  }
  return normalizeRanges(ranges);
}

const unknownProperty = (name: string, cause?: unknown): GrammarError =>
  new GrammarError("bad_grammar", `\\p{${name}} names no property of Unicode`, { keyword: "\\p", cause });
