// Calls that an answer repeats. Models without training in tools write the same one until their tokens end, so an answer ends there.
import { type AnswerParts, LayoutParser } from "./answer-parser.ts";
import type { CallSyntax } from "./call-syntax.ts";
import { createStopScanner, type StopScanner } from "./stop-scanner.ts";

/** Where the calls of an answer stand. */
export interface CallLayout extends Pick<AnswerParts, "reasoning" | "tags"> {
  readonly syntax: CallSyntax;
}

interface Call {
  readonly name: string;
  arguments: string;
}

/**
 * Stops at a stop string, and before a call with the name and the arguments of an earlier one. What follows a call is held back until
 * it is known to be no repetition.
 *
 * @param calls Undefined where the answer has one call at most.
 */
export function createAnswerScanner(stops: readonly string[], calls: CallLayout | undefined): StopScanner {
  const scanner = createStopScanner(stops);
  if (calls === undefined) return scanner;
  const repeats = new RepeatScanner(calls);
  return {
    push(pushed) {
      const { text, stopped } = scanner.push(pushed);
      const read = repeats.push(text);
      return stopped && !read.stopped ? { text: read.text + repeats.flush(), stopped } : read;
    },
    flush() {
      const { text } = repeats.push(scanner.flush());
      return text + repeats.flush();
    },
  };
}

class RepeatScanner implements StopScanner {
  readonly #parser: LayoutParser;
  /** What follows the last call of an answer. */
  readonly #close: string;
  readonly #calls: Call[] = [];
  #call: Call = { name: "", arguments: "" };
  /** Earlier calls that begin as this one does. */
  #alike: readonly Call[] = [];
  /** Text since the end of the last call; undefined once what follows it is no repetition. */
  #held: string | undefined;
  #stopped = false;

  constructor({ reasoning, tags, syntax }: CallLayout) {
    this.#parser = new LayoutParser({ reasoning, tags, syntax, kinds: new Map(), nextId: undefined });
    this.#close = syntax.close + syntax.end;
  }

  push(text: string): ReturnType<StopScanner["push"]> {
    let released = "";
    for (const char of text) {
      if (this.#stopped) break;
      if (this.#held === undefined) released += char;
      else this.#held += char;
      released += this.#read(char);
    }
    return { text: released, stopped: this.#stopped };
  }

  flush(): string {
    const held = this.#held ?? "";
    this.#held = undefined;
    return this.#stopped ? "" : held;
  }

  /** Reads a character. Returns the text that is not held back any more. */
  #read(char: string): string {
    for (const delta of this.#parser.push(char)) {
      if (delta.type === "call") {
        this.#call = { name: delta.name, arguments: "" };
        this.#alike = this.#calls.filter(({ name }) => name === delta.name);
      } else if (delta.type === "arguments") {
        const at = this.#call.arguments.length;
        this.#alike = this.#alike.filter((one) => one.arguments.startsWith(delta.text, at));
        this.#call.arguments += delta.text;
      } else if (delta.type === "call_end") return this.#endCall();
      if (this.#alike.length === 0) return this.flush();
    }
    return "";
  }

  #endCall(): string {
    if (this.#alike.some((one) => one.arguments === this.#call.arguments)) {
      this.#stopped = true;
      return this.#close;
    }
    const released = this.flush();
    this.#calls.push(this.#call);
    this.#held = "";
    return released;
  }
}
