import { ANY_POINT, CLASS_ESCAPES, complement, propertyRanges, unite } from "./pattern-classes.ts";
import type { Ranges } from "./pattern-nodes.ts";
import type { PatternReader } from "./pattern-reader.ts";

const CONTROLS: ReadonlyMap<string, number> = new Map([
  ["t", 0x09],
  ["n", 0x0a],
  ["v", 0x0b],
  ["f", 0x0c],
  ["r", 0x0d],
]);

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;

/** Reads an escape that stands for one code point, after its backslash. */
export function readEscapedPoint(reader: PatternReader): number {
  const letter = reader.rest(1);
  const control = CONTROLS.get(letter);
  if (control !== undefined) {
    reader.take(letter);
    return control;
  }
  if (letter === "x") return readHex(reader, /^x([0-9a-fA-F]{2})/, "\\x has two hexadecimal digits after it");
  if (letter === "u") return readUnicode(reader);
  if (letter === "c") {
    const name = /^c([A-Za-z])/.exec(reader.rest(2));
    if (name === null) throw reader.bad("\\c has a letter after it");
    reader.take(name[0]);
    return name[0].charCodeAt(1) % 32;
  }
  if (/^0(?!\d)/.test(reader.rest(2))) {
    reader.take("0");
    return 0;
  }
  if (/[A-Za-z0-9]/.test(letter)) throw reader.bad(`\\${letter} has no meaning`);
  return reader.nextPoint();
}

function readHex(reader: PatternReader, form: RegExp, advice: string): number {
  const found = form.exec(reader.rest(12));
  if (found === null) throw reader.bad(advice);
  reader.take(found[0]);
  return Number.parseInt(found[1] ?? "", 16);
}

const UNICODE_ADVICE = "\\u has four hexadecimal digits after it, or a code point in braces";

function readUnicode(reader: PatternReader): number {
  if (/^u\{/.test(reader.rest(2))) {
    const point = readHex(reader, /^u\{0*([0-9a-fA-F]{1,6})\}/, UNICODE_ADVICE);
    if (point > 0x10ffff) throw reader.bad("code points end with 10FFFF");
    return point;
  }
  const unit = readHex(reader, /^u([0-9a-fA-F]{4})/, UNICODE_ADVICE);
  const pair = /^\\u([dD][c-fC-F][0-9a-fA-F]{2})/.exec(reader.rest(6));
  if (!isHighSurrogate(unit) || pair === null) return unit;
  reader.take(pair[0]);
  return 0x10000 + (unit - 0xd800) * 0x400 + (Number.parseInt(pair[1] ?? "", 16) - 0xdc00);
}

/** Reads a class after its bracket. */
export function readClassBody(reader: PatternReader): Ranges {
  const isNegative = reader.take("^");
  const ranges: (readonly [number, number])[] = [];
  while (!reader.take("]")) {
    if (reader.isAtEnd) throw reader.bad("a class has no ]");
    const first = readMember(reader);
    if (!reader.isAt("-") || reader.isAt("-]")) {
      ranges.push(...first);
      continue;
    }
    reader.take("-");
    ranges.push(...joinRange(reader, first, readMember(reader)));
  }
  const united = unite(ranges);
  if (!isNegative) return united;
  return united.length === 0 ? ANY_POINT : complement(united);
}

const pointOf = (ranges: Ranges): number | undefined => {
  const [only, second] = ranges;
  return only !== undefined && second === undefined && only[0] === only[1] ? only[0] : undefined;
};

/** The range between two members; where one of them is a class such as \w, both and the hyphen. */
function joinRange(reader: PatternReader, one: Ranges, other: Ranges): Ranges {
  const [first, last] = [pointOf(one), pointOf(other)];
  if (first === undefined || last === undefined) return [...one, [0x2d, 0x2d], ...other];
  if (first > last) throw reader.bad("a range of a class has its ends out of order");
  return [[first, last]];
}

function readMember(reader: PatternReader): Ranges {
  if (!reader.take("\\")) {
    const point = reader.nextPoint();
    return [[point, point]];
  }
  const letter = reader.rest(1);
  const ranges = CLASS_ESCAPES.get(letter);
  if (ranges !== undefined) {
    reader.take(letter);
    return ranges;
  }
  if (letter === "p" || letter === "P") return reader.readProperty(propertyRanges);
  const point = reader.take("b") ? 0x08 : readEscapedPoint(reader);
  return [[point, point]];
}
