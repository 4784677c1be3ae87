import { charClass, type GrammarError, literal, type Regex, specialTokenBytes } from "#grammar";
import { type Expression, MAX_COUNT, MAX_NESTING } from "./expression.ts";
import type { GrammarText } from "./position.ts";
import { readEscape } from "./string-escapes.ts";

/** A rule as it was written. */
export interface GbnfRule {
  readonly at: number;
  readonly body: Expression;
}

const BLANK = /(?:[ \t\r]|#[^\n]*)*/y;
const BLANK_LINES = /(?:[ \t\r\n]|#[^\n]*)*/y;
const NAME = /[a-zA-Z0-9_-]+/y;
const COUNTS = /\{\s*(?:(\d+)\s*)?(?:(,)\s*(?:(\d+)\s*)?)?\}/y;
const SPECIAL = /<([^<>\s]+)>/y;

const LAST = 0x10ffff;

type Ranges = readonly (readonly [number, number])[];

/** All characters but those of the ranges. */
function complement(ranges: Ranges): Ranges {
  const gaps: [number, number][] = [];
  let next = 0;
  for (const [first, last] of ranges.toSorted(([a], [b]) => a - b)) {
    if (first > next) gaps.push([next, first - 1]);
    next = Math.max(next, last + 1);
  }
  return next > LAST ? gaps : [...gaps, [next, LAST]];
}

/** Reads the rules of a GBNF grammar. */
export class GbnfParser {
  readonly #source: GrammarText;
  readonly #text: string;
  readonly #rules = new Map<string, GbnfRule>();
  #at = 0;
  #nesting = 0;

  constructor(source: GrammarText) {
    this.#source = source;
    this.#text = source.text;
  }

  parse(): ReadonlyMap<string, GbnfRule> {
    for (this.#match(BLANK_LINES); this.#at < this.#text.length; this.#match(BLANK_LINES)) this.#rule();
    return this.#rules;
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text) ?? undefined;
    if (match !== undefined) this.#at = pattern.lastIndex;
    return match;
  }

  #rule(): void {
    const at = this.#at;
    const name = this.#match(NAME)?.[0];
    if (name === undefined) throw this.#unexpected("the name of a rule");
    this.#match(BLANK_LINES);
    if (this.#match(/::=/y) === undefined) throw this.#unexpected(`::= after ${name}`);
    this.#match(BLANK_LINES);
    const before = this.#rules.get(name);
    if (before !== undefined)
      throw this.#source.bad(at, `${name} is defined twice, first in ${this.#source.place(before.at)}`);
    this.#rules.set(name, { at, body: this.#either() });
    this.#match(BLANK);
    if (this.#at < this.#text.length && this.#text[this.#at] !== "\n")
      throw this.#unexpected("an element or the end of the line");
  }

  #unexpected(expected: string): GrammarError {
    const rest = this.#text.slice(this.#at).split("\n", 1)[0] ?? "";
    const found = rest === "" ? "the end of the line" : JSON.stringify(rest.slice(0, 20));
    return this.#source.bad(this.#at, `${expected} is expected, but there is ${found}`);
  }

  /** Skips blanks and comments: over the ends of lines in groups, and where the next line begins with an alternative. */
  #skip(): void {
    this.#match(this.#nesting > 0 ? BLANK_LINES : BLANK);
    const before = this.#at;
    this.#match(BLANK_LINES);
    if (this.#text[this.#at] !== "|") this.#at = before;
  }

  #either(): Expression {
    const at = this.#at;
    const options = [this.#sequence()];
    for (this.#skip(); this.#text[this.#at] === "|"; this.#skip()) {
      const end = ++this.#at;
      this.#match(BLANK_LINES);
      // after an alternative that is empty
      if (this.#isRule()) this.#at = end;
      options.push(this.#sequence());
    }
    const [only] = options;
    return options.length === 1 && only !== undefined ? only : { type: "either", options, at };
  }

  #sequence(): Expression {
    const at = this.#at;
    const parts: Expression[] = [];
    for (this.#skip(); /["[(.<!a-zA-Z0-9_-]/.test(this.#text[this.#at] ?? ""); this.#skip())
      parts.push(this.#counted());
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : { type: "sequence", parts, at };
  }

  #isRule(): boolean {
    return /^[a-zA-Z0-9_-]+\s*::=/.test(this.#text.slice(this.#at, this.#at + 200));
  }

  #counted(): Expression {
    const at = this.#at;
    let item = this.#element();
    for (let counts = this.#counts(); counts !== undefined; counts = this.#counts())
      item = { type: "repeat", of: item, ...counts, at };
    return item;
  }

  #counts(): { readonly min: number; readonly max: number | null } | undefined {
    this.#match(this.#nesting > 0 ? BLANK_LINES : BLANK);
    const at = this.#at;
    if (this.#match(/\?/y) !== undefined) return { min: 0, max: 1 };
    if (this.#match(/\*/y) !== undefined) return { min: 0, max: null };
    if (this.#match(/\+/y) !== undefined) return { min: 1, max: null };
    const [whole, first = "", comma, last = ""] = this.#match(COUNTS) ?? [];
    if (whole === undefined) return undefined;
    if (first === "" && last === "")
      throw this.#source.bad(at, "a repetition has neither a minimum nor a maximum");
    const min = Number(first);
    const open = comma === "," ? null : min;
    const max = last === "" ? open : Number(last);
    if (max !== null && max < min)
      throw this.#source.bad(at, `the maximum ${max} is below the minimum ${min}`);
    if (Math.max(min, max ?? 0) > MAX_COUNT)
      throw this.#source.limit(at, `at most ${MAX_COUNT} repetitions can be counted`);
    return { min, max };
  }

  #element(): Expression {
    const at = this.#at;
    const character = this.#text[at];
    if (character === '"') return { type: "regex", regex: this.#string(), at };
    if (character === "[") return { type: "regex", regex: this.#class(), at };
    if (character === "<") return { type: "regex", regex: this.#special(), at };
    if (character === "!") throw this.#source.unsupported(at, "any token but one (!)");
    if (character === "(") return this.#group();
    if (character === ".") {
      this.#at++;
      return { type: "regex", regex: charClass([0, LAST]), at };
    }
    return { type: "name", name: this.#match(NAME)?.[0] ?? "", at };
  }

  #group(): Expression {
    this.#at++;
    this.#nesting++;
    if (this.#nesting > MAX_NESTING)
      throw this.#source.limit(this.#at, `groups are nested more than ${MAX_NESTING} levels deep`);
    const group = this.#either();
    this.#skip();
    if (this.#text[this.#at] !== ")") throw this.#unexpected(") at the end of the group");
    this.#at++;
    this.#nesting--;
    return group;
  }

  #string(): Regex {
    const at = this.#at++;
    let text = "";
    while (this.#text[this.#at] !== '"') text += String.fromCodePoint(this.#character(at, "string"));
    this.#at++;
    if (/\p{Surrogate}/u.test(text)) throw this.#source.bad(at, "the string has half of a surrogate pair");
    return literal(text);
  }

  #class(): Regex {
    const at = this.#at++;
    const isNegated = this.#match(/\^/y) !== undefined;
    const ranges: [number, number][] = [];
    while (this.#text[this.#at] !== "]") {
      const first = this.#character(at, "class");
      const isRange = this.#text[this.#at] === "-" && this.#text[this.#at + 1] !== "]";
      if (isRange) this.#at++;
      const last = isRange ? this.#character(at, "class") : first;
      if (last < first) throw this.#source.bad(at, "a range of the class is upside down");
      ranges.push([first, last]);
    }
    this.#at++;
    return charClass(...(isNegated ? complement(ranges) : ranges));
  }

  /** A character of a string or a class that began at an offset. */
  #character(begin: number, kind: string): number {
    const codePoint = this.#text.codePointAt(this.#at);
    if (codePoint === undefined || codePoint === 0x0a)
      throw this.#source.bad(begin, `the ${kind} does not end in its line`);
    if (codePoint !== 0x5c) {
      this.#at += codePoint > 0xffff ? 2 : 1;
      return codePoint;
    }
    const escaped = readEscape(this.#text, this.#at);
    if (escaped === undefined)
      throw this.#source.bad(
        this.#at,
        `${this.#text.slice(this.#at, this.#at + 2)} is not an escape sequence`,
      );
    this.#at += escaped.length;
    return escaped.codePoint;
  }

  #special(): Regex {
    const at = this.#at;
    const [whole = "", name = ""] = this.#match(SPECIAL) ?? [];
    if (whole === "") throw this.#source.bad(at, "a token is written as <name>");
    if (name.startsWith("[")) throw this.#source.unsupported(at, "a token by its number");
    return { type: "bytes", bytes: [...specialTokenBytes(whole)] };
  }
}
