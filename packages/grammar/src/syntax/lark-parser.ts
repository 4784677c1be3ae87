import { charClass, type Grammar, literal, type Regex } from "#grammar";
import { COMMON_TERMINALS } from "./common-terminals.ts";
import { type Expression, joined } from "./expression.ts";
import { ignoreCase } from "./ignore-case.ts";
import { readRegex } from "./lark-regex.ts";
import type { GrammarText } from "./position.ts";
import { type Definition, Scanner } from "./scanner.ts";
import { readEscape } from "./string-escapes.ts";

/** A grammar as it was written. */
export interface LarkFile {
  readonly definitions: ReadonlyMap<string, Definition>;
  readonly ignored: readonly Expression[];
}

/** The grammar of a schema, for `%json`. */
export type SchemaGrammar = (schema: unknown) => Grammar;

const BLANK = /(?:[ \t\r]|\/\/[^\n]*|#[^\n]*)*/y;
const BLANK_LINES = /(?:[ \t\r\n]|\/\/[^\n]*|#[^\n]*)*/y;
const NAME = /_?[a-z][a-z0-9_]*|_?[A-Z][A-Z0-9_]*/y;
const STRING = /"((?:[^"\\\n]|\\[^\n])*)"(i?)/y;
const REGEX = /\/((?:[^/\\\n]|\\[^\n])+)\/([a-zA-Z]*)/y;
const TILDE = /~\s*(\d+)(?:\s*(\.\.)\s*(\d+))?/y;

export const isTerminal = (name: string): boolean => name !== name.toLowerCase();

/** Reads a grammar of Lark's syntax, with llguidance's additions. */
export class LarkParser extends Scanner {
  readonly #jsonSchema: SchemaGrammar;
  readonly #ignored: Expression[] = [];

  constructor(source: GrammarText, jsonSchema: SchemaGrammar) {
    super(source, { blank: BLANK, blankLines: BLANK_LINES, otherCounts: TILDE });
    this.#jsonSchema = jsonSchema;
  }

  parse(): LarkFile {
    for (this.match(BLANK_LINES); this.at < this.text.length; this.match(BLANK_LINES)) {
      if (this.text[this.at] === "%") this.#directive();
      else this.#definition();
      this.endLine("an operator");
    }
    return { definitions: this.definitions, ignored: this.#ignored };
  }

  #take(token: string): boolean {
    this.skip();
    if (!this.text.startsWith(token, this.at)) return false;
    this.at += token.length;
    return true;
  }

  #expect(token: string, where: string): void {
    if (!this.#take(token)) throw this.unexpected(`${token} ${where}`);
  }

  #directive(): void {
    const at = this.at;
    const name = this.match(/%[a-z_]*/y)?.[0];
    this.match(BLANK);
    if (name === "%ignore") this.#ignored.push(this.#either());
    else if (name === "%import") this.#import();
    else throw this.source.unsupported(at, name ?? "%");
  }

  #import(): void {
    const at = this.at;
    if (this.match(/common\b/y) === undefined)
      throw this.source.unsupported(at, "an import of anything but common");
    this.match(BLANK);
    if (this.#take(".")) {
      this.#importName();
      return;
    }
    this.#expect("(", "or . after common");
    this.nested(() => {
      do this.#importName();
      while (this.#take(","));
      this.#expect(")", "after the names");
    });
  }

  #importName(): void {
    this.skip();
    const at = this.at;
    const name = this.match(NAME)?.[0] ?? "";
    const regex = Object.hasOwn(COMMON_TERMINALS, name) ? COMMON_TERMINALS[name] : undefined;
    if (regex === undefined)
      throw this.source.bad(
        at,
        `common has no ${name === "" ? "such name" : name}, but ${Object.keys(COMMON_TERMINALS).join(", ")}`,
      );
    const alias = this.#take("->") ? this.#name("a name after ->") : name;
    this.define(alias, { at, body: { type: "regex", regex, at } });
  }

  #name(expected: string): string {
    this.skip();
    const name = this.match(NAME)?.[0];
    if (name === undefined) throw this.unexpected(expected);
    return name;
  }

  #definition(): void {
    const at = this.at;
    this.match(/[!?]*/y);
    const name = this.#name("a rule, a terminal or a directive");
    if (this.match(/\.-?\d+/y) !== undefined) throw this.source.unsupported(at, "a priority");
    if (this.match(/\{/y) !== undefined) throw this.source.unsupported(at, "a template");
    if (this.match(/::/y) !== undefined) throw this.source.unsupported(at, "a parameter of a rule");
    const lazy = this.match(/\[/y) === undefined ? undefined : this.#attributes();
    this.#expect(":", `after ${name}`);
    const body = this.#either();
    if (lazy !== undefined && isTerminal(name)) throw this.source.bad(at, "only rules have attributes");
    this.define(name, { at, body, ...(lazy && { lazy }) });
  }

  /** Attributes of a rule, of which captures change nothing about what is allowed. */
  #attributes(): Definition["lazy"] {
    let lazy: Definition["lazy"];
    this.nested(() => {
      do lazy = this.#attribute() ?? lazy;
      while (this.#take(","));
      this.#expect("]", "after the attributes");
    });
    return lazy;
  }

  #attribute(): Definition["lazy"] {
    this.skip();
    const at = this.at;
    const name = this.match(/[a-z_]+/y)?.[0] ?? "";
    if (!["capture", "lazy", "suffix"].includes(name))
      throw this.source.unsupported(at, `the attribute ${name}`);
    const suffix = this.#take("=") ? this.#item() : undefined;
    if (name === "capture") return undefined;
    if (name === "lazy" && suffix === undefined) return {};
    if (name === "suffix" && suffix !== undefined) return { suffix };
    throw this.source.bad(at, name === "lazy" ? "lazy has no value" : "suffix needs a value");
  }

  #either(): Expression {
    this.skip();
    const { options, at } = { options: [this.#and()], at: this.at };
    while (this.#take("|")) options.push(this.#and());
    return joined("either", options, at);
  }

  #and(): Expression {
    const at = this.at;
    const parts = [this.#sequence()];
    while (this.#take("&")) parts.push(this.#sequence());
    // a name for the tree of a parser
    if (this.#take("->")) this.#name("a name after ->");
    return joined("and", parts, at);
  }

  #sequence(): Expression {
    this.skip();
    const at = this.at;
    const parts: Expression[] = [];
    for (let part = this.#optionalItem(); part !== undefined; part = this.#optionalItem()) parts.push(part);
    return joined("sequence", parts, at);
  }

  #optionalItem(): Expression | undefined {
    this.skip();
    const character = this.text[this.at] ?? "";
    return /["/(<[~%@a-zA-Z_]/.test(character) ? this.#item() : undefined;
  }

  /** An atom with what counts it. */
  #item(): Expression {
    this.skip();
    const at = this.at;
    if (this.#take("~")) return { type: "not", of: this.nested(() => this.#item()), at };
    return this.repeated(this.#atom(at), at);
  }

  #atom(at: number): Expression {
    const character = this.text[at] ?? "";
    if (character === "(") return this.#group(")");
    if (character === "[") return { type: "repeat", of: this.#group("]"), min: 0, max: 1, at };
    if (character === '"') return { type: "regex", regex: this.#stringOrRange(), at };
    if (character === "/") return { type: "regex", regex: this.#regex(), at };
    if (character === "<")
      return { type: "regex", regex: this.special("a special token is written as <name>"), at };
    if (character === "%") return this.#inline();
    if (character === "@") throw this.source.unsupported(at, "a reference to another grammar (@)");
    const name = this.match(NAME)?.[0];
    if (name === undefined) throw this.unexpected("a string, a regular expression, a name or a group");
    if (this.match(/\{/y) !== undefined) {
      this.at--;
      if (!/^\{\s*[\d,]/.test(this.text.slice(this.at))) throw this.source.unsupported(at, "a template");
    }
    if (this.match(/::/y) !== undefined) throw this.source.unsupported(at, "a parameter of a rule");
    return { type: "name", name, at };
  }

  #group(end: string): Expression {
    this.at++;
    return this.nested(() => {
      const group = this.#either();
      this.#expect(end, "at the end of the group");
      return group;
    });
  }

  #string(): { readonly text: string; readonly isAnyCase: boolean } {
    const at = this.at;
    const match = this.match(STRING);
    if (match === undefined) throw this.source.bad(at, "the string does not end in its line");
    const [, content = "", flag] = match;
    let text = "";
    for (let i = 0; i < content.length; i++) {
      if (content[i] !== "\\") {
        text += content[i];
        continue;
      }
      const escaped = readEscape(content, i);
      if (escaped === undefined)
        throw this.source.bad(at + 1 + i, `${content.slice(i, i + 2)} is not an escape sequence`);
      text += String.fromCodePoint(escaped.codePoint);
      i += escaped.length - 1;
    }
    if (/\p{Surrogate}/u.test(text)) throw this.source.bad(at, "the string has half of a surrogate pair");
    return { text, isAnyCase: flag === "i" };
  }

  #stringOrRange(): Regex {
    const at = this.at;
    const { text, isAnyCase } = this.#string();
    if (this.match(/[ \t]*\.\.[ \t]*/y) === undefined)
      return isAnyCase ? ignoreCase(literal(text)) : literal(text);
    if (this.text[this.at] !== '"') throw this.unexpected("a string after ..");
    const last = this.#string();
    const [from = "", ...more] = Array.from(text);
    const [to = "", ...moreLast] = Array.from(last.text);
    if (from === "" || to === "" || more.length + moreLast.length > 0)
      throw this.source.bad(at, "a range goes from one character to another");
    const range = [from.codePointAt(0) ?? 0, to.codePointAt(0) ?? 0] as const;
    if (range[0] > range[1]) throw this.source.bad(at, `the range "${from}".."${to}" is upside down`);
    return isAnyCase || last.isAnyCase ? ignoreCase(charClass(range)) : charClass(range);
  }

  #regex(): Regex {
    const at = this.at;
    const match = this.match(REGEX);
    if (match === undefined) throw this.source.bad(at, "the regular expression does not end in its line");
    const [, pattern = "", flags = ""] = match;
    return readRegex({ pattern, flags, at }, this.source);
  }

  /** A schema within the grammar. */
  #inline(): Expression {
    const at = this.at;
    const name = this.match(/%[a-z_]*/y)?.[0] ?? "%";
    if (name !== "%json") throw this.source.unsupported(at, name);
    this.match(BLANK_LINES);
    const begin = this.at;
    this.at = endOfJson(this.text, begin);
    try {
      const schema: unknown = JSON.parse(this.text.slice(begin, this.at));
      return { type: "grammar", grammar: this.#jsonSchema(schema), at };
    } catch (error) {
      if (error instanceof SyntaxError)
        throw this.source.bad(begin, `the schema after %json is not JSON: ${error.message}`);
      throw this.source.within(begin, error);
    }
  }
}

/** The offset behind a JSON object, or that of the end where it does not end. */
function endOfJson(text: string, begin: number): number {
  const token = /"(?:[^"\\]|\\.)*"?|[{}]/gs;
  token.lastIndex = begin;
  let depth = 0;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    if (match[0] === "{") depth++;
    if (match[0] === "}") depth--;
    if (depth <= 0) return token.lastIndex;
  }
  return text.length;
}
