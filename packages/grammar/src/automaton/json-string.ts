import { and, charClass, concat, either, literal, NOTHING, not, only, type Regex, repeat } from "#grammar";
import { mapRegex } from "./map-regex.ts";

/** Letters of the short escapes. */
const SHORT_ESCAPES: ReadonlyMap<number, string> = new Map([
  [0x08, "b"],
  [0x09, "t"],
  [0x0a, "n"],
  [0x0c, "f"],
  [0x0d, "r"],
  [0x5c, "\\"],
]);

/** Code points that a string has only as escapes, beside its quote. */
const ESCAPED = [...Array.from({ length: 0x20 }, (_, point) => point), 0x5c];

function spellClass({ ranges }: Extract<Regex, { type: "class" }>, quote: string): Regex {
  const mark = quote.charCodeAt(0);
  const between = [
    [0x20, mark - 1],
    [mark + 1, 0x5b],
    [0x5d, 0x10ffff],
  ] as const;
  const plain = ranges.flatMap(([first, last]) =>
    between
      .map(([low, high]) => [Math.max(first, low), Math.min(last, high)] as const)
      .filter(([from, to]) => from <= to),
  );
  const escaped = [...ESCAPED, mark].filter((point) =>
    ranges.some(([first, last]) => first <= point && point <= last),
  );
  const letterOf = (point: number): string => (point === mark ? quote : (SHORT_ESCAPES.get(point) ?? ""));
  const letters = escaped.map(letterOf).filter((letter) => letter !== "");
  const options: Regex[] = plain.length > 0 ? [charClass(...plain)] : [];
  // classes rather than literals, as those of one character are shared by all expressions
  if (letters.length > 0) options.push(concat(charClass("\\"), charClass(...letters)));
  for (const high of [0, 1]) {
    const digits = escaped.filter((point) => point >> 4 === high && letterOf(point) === "");
    if (digits.length === 0) continue;
    const prefix = [..."\\u00", String(high)].map((character) => charClass(character));
    options.push(concat(...prefix, charClass(...digits.map((point) => (point & 15).toString(16)))));
  }
  return only(options) ?? either(...options);
}

/** A text as it stands between quotes: as `JSON.stringify` has it, but for the quotes. */
export function spellText(text: string, quote = '"'): string {
  const spelled = JSON.stringify(text).slice(1, -1);
  if (quote === '"') return spelled;
  return spelled.replace(/\\.|'/g, (one) => (one === "'" ? "\\'" : one === '\\"' ? '"' : one));
}

/** Spells bytes one by one, as those of code points that must be escaped are ASCII. */
const spellBytes = (bytes: readonly number[], quote: string): readonly number[] =>
  bytes.flatMap((byte) =>
    byte < 0x80
      ? Array.from(spellText(String.fromCharCode(byte), quote), (one) => one.charCodeAt(0))
      : [byte],
  );

/**
 * The texts of an expression as they stand between the quotes of a JSON string, or between other quotes, each in one spelling: as
 * short as possible, as `JSON.stringify` has it. As no two texts have the same spelling, intersections and complements keep their
 * meaning.
 */
export function jsonStringContent(regex: Regex, quote = '"'): Regex {
  const any = repeat(spellClass(charClass([0, 0x10ffff]), quote));
  return mapRegex(regex, (node) => {
    switch (node.type) {
      case "literal":
        return literal(spellText(node.text, quote));
      case "bytes":
        return { type: "bytes", bytes: spellBytes(node.bytes, quote) };
      case "class":
        return node.ranges.length === 0 ? NOTHING : spellClass(node, quote);
      case "not":
        return and(any, not(node.of));
      case "and":
        return node.parts.length === 0 ? any : node;
      default:
        return node;
    }
  });
}
