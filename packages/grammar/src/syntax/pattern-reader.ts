import { GrammarError } from "#grammar";
import { complement } from "./pattern-classes.ts";
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

  next(): string {
    return String.fromCodePoint(this.nextPoint());
  }

  /** The next code point. */
  nextPoint(): number {
    const point = this.#pattern.codePointAt(this.#place);
    if (point === undefined) throw this.bad("it ends too early");
    this.#place += point > 0xffff ? 2 : 1;
    return point;
  }

  /** Reads the rest of \p{…} from the p on. */
  readProperty(rangesOf: (name: string) => Ranges): Ranges {
    const [all, letter, name = ""] = /^([pP])\{([^}]*)\}/.exec(this.rest(200)) ?? [];
    if (all === undefined) throw this.bad("a property is written \\p{Name} or \\p{Name=Value}");
    this.take(all);
    return letter === "P" ? complement(rangesOf(name)) : rangesOf(name);
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
