import { and, charClass, concat, either, GrammarError, literal, not, type Regex, repeat } from "#grammar";

const PLAIN = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0x10ffff],
] as const;
const ESCAPED = [...Array.from({ length: 32 }, (_, code) => code), 0x22, 0x5c];

const spell = (text: string): Regex => literal(JSON.stringify(text).slice(1, -1));
const CONTENT = repeat(
  either(charClass(...PLAIN), ...ESCAPED.map((code) => spell(String.fromCharCode(code)))),
);

/** The spellings in JSON of the texts of a language, one for each text. */
export function jsonStringContent(regex: Regex): Regex {
  switch (regex.type) {
    case "literal":
      return spell(regex.text);
    case "class":
      return spellClass(regex.ranges);
    case "concat":
      return concat(...regex.parts.map(jsonStringContent));
    case "either":
      return either(...regex.options.map(jsonStringContent));
    case "and":
      return and(CONTENT, ...regex.parts.map(jsonStringContent));
    case "not":
      return and(CONTENT, not(jsonStringContent(regex.of)));
    case "repeat":
      return repeat(jsonStringContent(regex.of), regex.min, regex.max);
    case "bytes":
      throw new GrammarError("unsupported", "bytes have no spelling in JSON");
  }
}

function spellClass(ranges: readonly (readonly [number, number])[]): Regex {
  const plain = ranges.flatMap(([first, last]) =>
    PLAIN.map(([from, to]) => [Math.max(first, from), Math.min(last, to)] as const).filter(
      ([a, b]) => a <= b,
    ),
  );
  const escaped = ESCAPED.filter((code) => ranges.some(([first, last]) => first <= code && code <= last));
  return either(charClass(...plain), ...escaped.map((code) => spell(String.fromCharCode(code))));
}

/** The language of a pattern, which is not read yet. */
export function parsePattern(pattern: string, _options: { anchored: boolean }): Regex {
  throw new GrammarError("unsupported", `patterns are not read yet: ${pattern}`);
}
