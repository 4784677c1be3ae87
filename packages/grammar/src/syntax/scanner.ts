import { type GrammarError, type Regex, specialTokenBytes } from "#grammar";
import { type Expression, MAX_COUNT, MAX_NESTING } from "./expression.ts";
import type { GrammarText } from "./position.ts";

const COUNTS = /\{\s*(?:(\d+)\s*)?(?:(,)\s*(?:(\d+)\s*)?)?\}/y;
const SPECIAL = /<([^<>\s]+)>/y;

/** A rule or a terminal. */
export interface Definition {
  readonly at: number;
  readonly body: Expression;
  /** Ends at its first match, or that of this suffix, which belongs to it. */
  readonly lazy?: { readonly suffix?: Expression };
}

interface Counts {
  readonly min: number;
  readonly max: number | null;
}

const SIGNS: ReadonlyMap<string | undefined, Counts> = new Map([
  ["?", { min: 0, max: 1 }],
  ["*", { min: 0, max: null }],
  ["+", { min: 1, max: null }],
]);

/** Sticky patterns of a syntax. */
interface Syntax {
  /** Blanks and comments, without ends of lines and with them. */
  readonly blank: RegExp;
  readonly blankLines: RegExp;
  /** Another form of `{1,2}`. It could begin an item as well, so counts stay in the line of their item. */
  readonly otherCounts?: RegExp;
}

/** A place in the text of a grammar, and what all syntaxes read alike. */
export class Scanner {
  protected readonly source: GrammarText;
  protected readonly text: string;
  protected at = 0;
  protected nesting = 0;
  protected readonly definitions = new Map<string, Definition>();
  readonly #syntax: Syntax;

  constructor(source: GrammarText, syntax: Syntax) {
    this.source = source;
    this.text = source.text;
    this.#syntax = syntax;
  }

  /** What a pattern matches here, which is then behind. */
  protected match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text) ?? undefined;
    if (match !== undefined) this.at = pattern.lastIndex;
    return match;
  }

  /** Skips blanks and comments: over the ends of lines in groups, and where the next line begins with an alternative. */
  protected skip(): void {
    const { blank, blankLines } = this.#syntax;
    this.match(this.nesting > 0 ? blankLines : blank);
    const before = this.at;
    this.match(blankLines);
    if (this.text[this.at] !== "|") this.at = before;
  }

  protected define(name: string, definition: Definition): void {
    const before = this.definitions.get(name);
    if (before !== undefined)
      throw this.source.bad(
        definition.at,
        `${name} is defined twice, first in ${this.source.place(before.at)}`,
      );
    this.definitions.set(name, definition);
  }

  protected endLine(expected: string): void {
    this.match(this.#syntax.blank);
    if (this.at < this.text.length && this.text[this.at] !== "\n")
      throw this.unexpected(`${expected} or the end of the line`);
  }

  protected unexpected(expected: string): GrammarError {
    const rest = this.text.slice(this.at).split("\n", 1)[0] ?? "";
    const found = rest === "" ? "the end of the line" : JSON.stringify(rest.slice(0, 20));
    return this.source.bad(this.at, `${expected} is expected, but there is ${found}`);
  }

  protected nested<T>(read: () => T): T {
    this.nesting++;
    if (this.nesting > MAX_NESTING)
      throw this.source.limit(this.at, `groups are nested more than ${MAX_NESTING} levels deep`);
    const result = read();
    this.nesting--;
    return result;
  }

  /** An item with the counts behind it. */
  protected repeated(item: Expression, at: number): Expression {
    let repeated = item;
    for (let counts = this.#counts(); counts !== undefined; counts = this.#counts())
      repeated = { type: "repeat", of: repeated, ...counts, at };
    return repeated;
  }

  #counts(): Counts | undefined {
    const { blank, blankLines, otherCounts } = this.#syntax;
    this.match(this.nesting > 0 && otherCounts === undefined ? blankLines : blank);
    const at = this.at;
    const sign = SIGNS.get(this.text[at]);
    if (sign !== undefined) {
      this.at++;
      return sign;
    }
    const found = this.match(COUNTS) ?? (otherCounts && this.match(otherCounts));
    const [whole, first = "", separator, last = ""] = found ?? [];
    if (whole === undefined) return undefined;
    if (first === "" && last === "")
      throw this.source.bad(at, "a repetition has neither a minimum nor a maximum");
    const min = Number(first);
    const open = separator === "," ? null : min;
    const max = last === "" ? open : Number(last);
    if (max !== null && max < min)
      throw this.source.bad(at, `the maximum ${max} is below the minimum ${min}`);
    if (Math.max(min, max ?? 0) > MAX_COUNT)
      throw this.source.limit(at, `at most ${MAX_COUNT} repetitions can be counted`);
    return { min, max };
  }

  /** @param form - how a token is written, for the error */
  protected special(form: string): Regex {
    const at = this.at;
    const [whole = "", name = ""] = this.match(SPECIAL) ?? [];
    if (whole === "") throw this.source.bad(at, form);
    if (name.startsWith("[")) throw this.source.unsupported(at, "a token by its number");
    return { type: "bytes", bytes: [...specialTokenBytes(whole)] };
  }
}
