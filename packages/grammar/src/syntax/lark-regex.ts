import type { Regex } from "#grammar";
import { parsePattern } from "./ecma.ts";
import { ignoreCase } from "./ignore-case.ts";
import type { GrammarText } from "./position.ts";

/** A regular expression between slashes. */
export interface RegexToken {
  readonly pattern: string;
  readonly flags: string;
  readonly at: number;
}

/** What a flag of ECMAScript's unicode mode lets a backslash stand before. */
const SYNTAX = new Set("^$\\.*+?()[]{}|/");

/** Turns the dialect of Rust's regular expressions into ECMAScript's. */
class Translation {
  readonly #token: RegexToken;
  readonly #text: GrammarText;
  #isInClass = false;

  constructor(token: RegexToken, text: GrammarText) {
    this.#token = token;
    this.#text = text;
  }

  run(): string {
    const { pattern } = this.#token;
    let result = "";
    for (let i = 0; i < pattern.length; i++) {
      const character = pattern[i] ?? "";
      if (character === "\\") result += this.#escape(pattern[++i] ?? "");
      else result += this.#isInClass ? this.#inClass(character, pattern.slice(i)) : this.#outside(character);
    }
    return result;
  }

  #escape(escaped: string): string {
    const isIdentity = /[^a-zA-Z0-9]/.test(escaped) && !SYNTAX.has(escaped);
    return isIdentity && !(this.#isInClass && escaped === "-") ? escaped : `\\${escaped}`;
  }

  #outside(character: string): string {
    if (character === "[") this.#isInClass = true;
    if (character !== ".") return character;
    return this.#token.flags.includes("s") ? "[\\s\\S]" : "[^\\n]";
  }

  #inClass(character: string, rest: string): string {
    const { at } = this.#token;
    if (rest.startsWith("[:")) throw this.#text.unsupported(at, "a named class such as [:alpha:]");
    if (/^(&&|--|~~)/.test(rest))
      throw this.#text.unsupported(at, `the operation ${rest.slice(0, 2)} of classes`);
    if (character === "[")
      throw this.#text.bad(at, "a class has [ in it; write \\[ for the character itself");
    if (character === "]") this.#isInClass = false;
    return character;
  }
}

/** Classes that say what they leave out, whose letters of other cases would have to be left out as well. */
const NEGATED = /\[\^|\\[DSWP]/;

/** The regular language of an expression between slashes, which matches the whole text. */
export function readRegex(token: RegexToken, text: GrammarText): Regex {
  const { pattern, flags, at } = token;
  const unknown = /[^isu]/.exec(flags)?.[0];
  if (unknown !== undefined) throw text.unsupported(at, `the flag ${unknown} of a regular expression`);
  const isAnyCase = flags.includes("i");
  if (isAnyCase && NEGATED.test(pattern)) throw text.unsupported(at, "a negated class with the flag i");
  const translated = new Translation(token, text).run();
  try {
    const regex = parsePattern(translated, { anchored: true });
    return isAnyCase ? ignoreCase(regex) : regex;
  } catch (error) {
    throw text.within(at, error);
  }
}
