import { GrammarError } from "#grammar";

/** Characters of a grammar's text. */
const MAX_TEXT = 1_000_000;

/** The text of a grammar, with errors that name a line and a column. */
export class GrammarText {
  readonly text: string;
  readonly #syntax: string;
  /** Offsets at which lines begin, once a place was asked for. */
  #lines: readonly number[] = [];

  constructor(text: string, syntax: string) {
    this.text = text;
    this.#syntax = syntax;
    if (text.length <= MAX_TEXT) return;
    throw new GrammarError(
      "limit",
      `the ${syntax} grammar has ${text.length.toLocaleString("en")} characters, more than ${MAX_TEXT.toLocaleString("en")}`,
    );
  }

  /** The line and column of an offset, from 1. */
  place(at: number): string {
    if (this.#lines.length === 0)
      this.#lines = [0, ...Array.from(this.text.matchAll(/\n/g), ({ index }) => index + 1)];
    let [low, high] = [0, this.#lines.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#lines[middle] ?? 0) <= at) low = middle;
      else high = middle;
    }
    const column = Array.from(this.text.slice(this.#lines[low], at)).length + 1;
    return `line ${low + 1}, column ${column}`;
  }

  /** The error that a grammar is not well formed at an offset. */
  bad(at: number, problem: string): GrammarError {
    return new GrammarError("bad_grammar", `${this.#syntax} grammar, ${this.place(at)}: ${problem}`);
  }

  /** The error that a construct cannot be enforced. */
  unsupported(at: number, keyword: string): GrammarError {
    const message = `${this.#syntax} grammar, ${this.place(at)}: ${keyword} is not supported`;
    return new GrammarError("unsupported", message, { keyword });
  }

  limit(at: number, problem: string): GrammarError {
    return new GrammarError("limit", `${this.#syntax} grammar, ${this.place(at)}: ${problem}`);
  }

  /** What another parser reports of a part at an offset, in this grammar's words. */
  within(at: number, error: unknown): unknown {
    if (!(error instanceof GrammarError)) return error;
    const message = `${this.#syntax} grammar, ${this.place(at)}: ${error.message}`;
    return new GrammarError(error.code, message, {
      pointer: error.pointer,
      keyword: error.keyword,
      cause: error,
    });
  }
}
