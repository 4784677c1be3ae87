import { GrammarError, normalizeRanges } from "#grammar";
import { ANY_POINT, CLASS_ESCAPES, complement, propertyRanges } from "./pattern-classes.ts";
import type { Ranges } from "./pattern-nodes.ts";

/** Characters of a pattern that a message quotes. */
const QUOTED = 80;

/** A pattern and the place in it. */
export class PatternReader {
  readonly #pattern: string;
  #place = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  get isAtEnd(): boolean {
    return this.#place >= this.#pattern.length;
  }

  isAt(text: string): boolean {
    return this.#pattern.startsWith(text, this.#place);
  }

  /** Goes beyond a text if it comes next. */
  take(text: string): boolean {
    if (!this.isAt(text)) return false;
    this.#place += text.length;
    return true;
  }

  /** What comes next, at most `length` characters. */
  rest(length: number): string {
    return this.#pattern.slice(this.#place, this.#place + length);
  }

  /** Goes beyond what a sticky expression matches here. */
  match(form: RegExp): RegExpExecArray | undefined {
    form.lastIndex = this.#place;
    const found = form.exec(this.#pattern) ?? undefined;
    if (found !== undefined) this.#place = form.lastIndex;
    return found;
  }

  /** The next code point. */
  nextPoint(): number {
    const point = this.#pattern.codePointAt(this.#place);
    if (point === undefined) throw this.bad("it ends too early");
    this.#place += point > 0xffff ? 2 : 1;
    return point;
  }

  bad(reason: string): GrammarError {
    return new GrammarError("bad_grammar", `${this.#where()}: ${reason}`);
  }

  unsupported(keyword: string, reason: string): GrammarError {
    return new GrammarError("unsupported", `${this.#where()}: ${keyword} is not supported: ${reason}`, {
      keyword,
    });
  }

  #where(): string {
    const { length } = this.#pattern;
    const quoted = length > QUOTED ? `${this.#pattern.slice(0, QUOTED)}…` : this.#pattern;
    return `pattern ${JSON.stringify(quoted)}, character ${Math.min(this.#place + 1, length)}`;
  }
}

const CONTROLS: Readonly<Record<string, number>> = { t: 0x09, n: 0x0a, v: 0x0b, f: 0x0c, r: 0x0d };

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;

/** Reads an escape that stands for one code point, after its backslash. */
export function readEscapedPoint(reader: PatternReader): number {
  const letter = reader.rest(1);
  const control = CONTROLS[letter];
  if (control !== undefined) {
    reader.take(letter);
    return control;
  }
  if (letter === "x") return readHex(reader, /x([0-9a-fA-F]{2})/y, "\\x has two hexadecimal digits after it");
  if (letter === "u") return readUnicode(reader);
  if (letter === "c") {
    const [, name] = reader.match(/c([A-Za-z])/y) ?? [];
    if (name === undefined) throw reader.bad("\\c has a letter after it");
    return name.charCodeAt(0) % 32;
  }
  if (reader.match(/0(?!\d)/y) !== undefined) return 0;
  if (/[A-Za-z0-9]/.test(letter)) throw reader.bad(`\\${letter} has no meaning`);
  return reader.nextPoint();
}

function readHex(reader: PatternReader, form: RegExp, advice: string): number {
  const [, digits] = reader.match(form) ?? [];
  if (digits === undefined) throw reader.bad(advice);
  return Number.parseInt(digits, 16);
}

const UNICODE_ADVICE = "\\u has four hexadecimal digits after it, or a code point in braces";

function readUnicode(reader: PatternReader): number {
  if (reader.isAt("u{")) {
    const point = readHex(reader, /u\{0*([0-9a-fA-F]{1,6})\}/y, UNICODE_ADVICE);
    if (point > 0x10ffff) throw reader.bad("code points end with 10FFFF");
    return point;
  }
  const unit = readHex(reader, /u([0-9a-fA-F]{4})/y, UNICODE_ADVICE);
  const low = isHighSurrogate(unit) ? reader.match(/\\u([dD][c-fC-F][0-9a-fA-F]{2})/y)?.[1] : undefined;
  if (low === undefined) return unit;
  return 0x10000 + (unit - 0xd800) * 0x400 + (Number.parseInt(low, 16) - 0xdc00);
}

/** Reads an escape that stands for a class, after its backslash. */
export function readClassEscape(reader: PatternReader): Ranges | undefined {
  const letter = reader.rest(1);
  if (letter === "p" || letter === "P") {
    const [, name] = reader.match(/[pP]\{([^}]*)\}/y) ?? [];
    if (name === undefined) throw reader.bad("a property is written \\p{Name} or \\p{Name=Value}");
    return letter === "P" ? complement(propertyRanges(name)) : propertyRanges(name);
  }
  const ranges = CLASS_ESCAPES.get(letter);
  if (ranges !== undefined) reader.take(letter);
  return ranges;
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
  const united = normalizeRanges(ranges);
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
  const isEscape = reader.take("\\");
  const ranges = isEscape ? readClassEscape(reader) : undefined;
  if (ranges !== undefined) return ranges;
  const readPoint = (): number => (reader.take("b") ? 0x08 : readEscapedPoint(reader));
  const point = isEscape ? readPoint() : reader.nextPoint();
  return [[point, point]];
}
