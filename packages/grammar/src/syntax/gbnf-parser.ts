import { ANY, charClass, literal, type Regex } from "#grammar";
import { type Expression, joined } from "./expression.ts";
import { complement } from "./pattern-classes.ts";
import type { GrammarText } from "./position.ts";
import { type Definition, Scanner } from "./scanner.ts";
import { readEscape } from "./string-escapes.ts";

const BLANK = /(?:[ \t\r]|#[^\n]*)*/y;
const BLANK_LINES = /(?:[ \t\r\n]|#[^\n]*)*/y;
const NAME = /[a-zA-Z0-9_-]+/y;

/** Reads the rules of a GBNF grammar. */
export class GbnfParser extends Scanner {
  constructor(source: GrammarText) {
    super(source, { blank: BLANK, blankLines: BLANK_LINES });
  }

  parse(): ReadonlyMap<string, Definition> {
    for (this.match(BLANK_LINES); this.at < this.text.length; this.match(BLANK_LINES)) this.#rule();
    return this.definitions;
  }

  #rule(): void {
    const at = this.at;
    const name = this.match(NAME)?.[0];
    if (name === undefined) throw this.unexpected("the name of a rule");
    this.match(BLANK_LINES);
    if (this.match(/::=/y) === undefined) throw this.unexpected(`::= after ${name}`);
    this.match(BLANK_LINES);
    this.define(name, { at, body: this.#either() });
    this.endLine("an element");
  }

  #either(): Expression {
    const at = this.at;
    const options = [this.#sequence()];
    for (this.skip(); this.text[this.at] === "|"; this.skip()) {
      const end = ++this.at;
      this.match(BLANK_LINES);
      // after an alternative that is empty
      if (this.#isRule()) this.at = end;
      options.push(this.#sequence());
    }
    return joined("either", options, at);
  }

  #sequence(): Expression {
    const at = this.at;
    const parts: Expression[] = [];
    for (this.skip(); /["[(.<!a-zA-Z0-9_-]/.test(this.text[this.at] ?? ""); this.skip())
      parts.push(this.#counted());
    return joined("sequence", parts, at);
  }

  #isRule(): boolean {
    return /^[a-zA-Z0-9_-]+\s*::=/.test(this.text.slice(this.at, this.at + 200));
  }

  #counted(): Expression {
    const { at } = this;
    return this.repeated(this.#element(), at);
  }

  #element(): Expression {
    const at = this.at;
    const character = this.text[at];
    if (character === '"') return { type: "regex", regex: this.#string(), at };
    if (character === "[") return { type: "regex", regex: this.#class(), at };
    if (character === "<") return { type: "regex", regex: this.special("a token is written as <name>"), at };
    if (character === "!") throw this.source.unsupported(at, "any token but one (!)");
    if (character === "(") return this.#group();
    if (character === ".") {
      this.at++;
      return { type: "regex", regex: ANY, at };
    }
    return { type: "name", name: this.match(NAME)?.[0] ?? "", at };
  }

  #group(): Expression {
    this.at++;
    return this.nested(() => {
      const group = this.#either();
      this.skip();
      if (this.text[this.at] !== ")") throw this.unexpected(") at the end of the group");
      this.at++;
      return group;
    });
  }

  #string(): Regex {
    const at = this.at++;
    let text = "";
    while (this.text[this.at] !== '"') text += String.fromCodePoint(this.#character(at, "string"));
    this.at++;
    if (/\p{Surrogate}/u.test(text)) throw this.source.bad(at, "the string has half of a surrogate pair");
    return literal(text);
  }

  #class(): Regex {
    const at = this.at++;
    const isNegated = this.match(/\^/y) !== undefined;
    const ranges: [number, number][] = [];
    while (this.text[this.at] !== "]") {
      const first = this.#character(at, "class");
      const isRange = this.text[this.at] === "-" && this.text[this.at + 1] !== "]";
      if (isRange) this.at++;
      const last = isRange ? this.#character(at, "class") : first;
      if (last < first) throw this.source.bad(at, "a range of the class is upside down");
      ranges.push([first, last]);
    }
    this.at++;
    return charClass(...(isNegated ? complement(ranges) : ranges));
  }

  /** A character of a string or a class that began at an offset. */
  #character(begin: number, kind: string): number {
    const codePoint = this.text.codePointAt(this.at);
    if (codePoint === undefined || codePoint === 0x0a)
      throw this.source.bad(begin, `the ${kind} does not end in its line`);
    if (codePoint !== 0x5c) {
      this.at += codePoint > 0xffff ? 2 : 1;
      return codePoint;
    }
    const escaped = readEscape(this.text, this.at);
    if (escaped === undefined)
      throw this.source.bad(this.at, `${this.text.slice(this.at, this.at + 2)} is not an escape sequence`);
    this.at += escaped.length;
    return escaped.codePoint;
  }
}
