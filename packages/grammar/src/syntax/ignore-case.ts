import { charClass, concat, either, listWords, literal, type Regex } from "#grammar";

type Ranges = readonly (readonly [number, number])[];

/** Code points that have a case are looked up one by one: no script with cases has more of them. */
const MAX_RANGE = 0x3000;

function cases(codePoint: number): readonly number[] {
  const character = String.fromCodePoint(codePoint);
  return [character.toLowerCase(), character.toUpperCase()].flatMap((variant) => {
    const [first = "", ...others] = Array.from(variant);
    return others.length > 0 || variant === character ? [] : [first.codePointAt(0) ?? codePoint];
  });
}

function withCases(ranges: Ranges): Ranges {
  const variants = ranges.flatMap(([first, last]) => {
    if (last - first > MAX_RANGE) return [];
    return Array.from({ length: last - first + 1 }, (_, i) => cases(first + i)).flat();
  });
  return [...ranges, ...[...new Set(variants)].map((codePoint) => [codePoint, codePoint] as const)];
}

/** The regular expression with letters of either case. */
export function ignoreCase(regex: Regex): Regex {
  switch (regex.type) {
    case "literal": {
      const characters = Array.from(regex.text, (character) => character.codePointAt(0) ?? 0);
      return concat(...characters.map((codePoint) => charClass(...withCases([[codePoint, codePoint]]))));
    }
    case "words":
      return ignoreCase(either(...listWords(regex).map(literal)));
    case "class":
      return { ...regex, ranges: withCases(regex.ranges) };
    case "concat":
    case "and":
      return { ...regex, parts: regex.parts.map(ignoreCase) };
    case "either":
      return { ...regex, options: regex.options.map(ignoreCase) };
    case "repeat":
    case "not":
      return { ...regex, of: ignoreCase(regex.of) };
    case "bytes":
      return regex;
  }
}
