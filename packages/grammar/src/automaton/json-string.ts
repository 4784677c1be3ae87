import { and, charClass, concat, either, literal, NOTHING, not, only, type Regex, repeat } from "#grammar";
import { mapRegex } from "./map-regex.ts";

/** Letters of the short escapes. */
const SHORT_ESCAPES: ReadonlyMap<number, string> = new Map([
  [0x08, "b"],
  [0x09, "t"],
  [0x0a, "n"],
  [0x0c, "f"],
  [0x0d, "r"],
  [0x22, '"'],
  [0x5c, "\\"],
]);

/** Code points that a JSON string has only as escapes. */
const ESCAPED = [...Array.from({ length: 0x20 }, (_, point) => point), 0x22, 0x5c];

/** The ranges between the code points that are escaped. */
const PLAIN = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0x10ffff],
] as const;

function spellClass({ ranges }: Extract<Regex, { type: "class" }>): Regex {
  const plain = ranges.flatMap(([first, last]) =>
    PLAIN.map(([low, high]) => [Math.max(first, low), Math.min(last, high)] as const).filter(
      ([from, to]) => from <= to,
    ),
  );
  const escaped = ESCAPED.filter((point) => ranges.some(([first, last]) => first <= point && point <= last));
  const letters = escaped.map((point) => SHORT_ESCAPES.get(point) ?? "").filter((letter) => letter !== "");
  const options: Regex[] = plain.length > 0 ? [charClass(...plain)] : [];
  // classes rather than literals, as those of one character are shared by all expressions
  if (letters.length > 0) options.push(concat(charClass("\\"), charClass(...letters)));
  for (const high of [0, 1]) {
    const digits = escaped.filter((point) => point >> 4 === high && !SHORT_ESCAPES.has(point));
    if (digits.length === 0) continue;
    const prefix = [..."\\u00", String(high)].map((character) => charClass(character));
    options.push(concat(...prefix, charClass(...digits.map((point) => (point & 15).toString(16)))));
  }
  return only(options) ?? either(...options);
}

const spellText = (text: string): string => JSON.stringify(text).slice(1, -1);

/** Spells bytes one by one, as those of code points that must be escaped are ASCII. */
const spellBytes = (bytes: readonly number[]): readonly number[] =>
  bytes.flatMap((byte) =>
    byte < 0x80 ? Array.from(spellText(String.fromCharCode(byte)), (one) => one.charCodeAt(0)) : [byte],
  );

/** The content of a JSON string of any text. */
export const ANY_JSON_STRING_CONTENT: Regex = repeat(spellClass({ type: "class", ranges: [[0, 0x10ffff]] }));

/**
 * The texts of an expression as they stand between the quotes of a JSON string, each in one spelling: as short as possible, as
 * `JSON.stringify` has it. As no two texts have the same spelling, intersections and complements keep their meaning.
 */
export const jsonStringContent = (regex: Regex): Regex =>
  mapRegex(regex, (node) => {
    switch (node.type) {
      case "literal":
        return literal(spellText(node.text));
      case "bytes":
        return { type: "bytes", bytes: spellBytes(node.bytes) };
      case "class":
        return node.ranges.length === 0 ? NOTHING : spellClass(node);
      case "not":
        return and(ANY_JSON_STRING_CONTENT, not(node.of));
      case "and":
        return node.parts.length === 0 ? ANY_JSON_STRING_CONTENT : node;
      default:
        return node;
    }
  });
