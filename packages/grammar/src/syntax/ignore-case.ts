import { mapRegex } from "#automaton";
import { charClass, concat, either, listWords, type Regex } from "#grammar";

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

const spell = (text: string): Regex => {
  const points = Array.from(text, (character) => character.codePointAt(0) ?? 0);
  return concat(...points.map((point) => charClass(...withCases([[point, point]]))));
};

/** The regular expression with letters of either case. */
export const ignoreCase = (regex: Regex): Regex =>
  mapRegex(regex, (node) => {
    switch (node.type) {
      case "literal":
        return spell(node.text);
      case "words":
        return either(...listWords(node).map(spell));
      case "class":
        return { ...node, ranges: withCases(node.ranges) };
      default:
        return node;
    }
  });
