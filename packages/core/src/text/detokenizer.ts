// The text of an answer from its tokens, and where it ends: at a stop text, or at a call that was made before.
import { concatBytes, MosError } from "#common";
import { type AnswerParts, LayoutParser } from "./answer-parser.ts";
import type { CallSyntax } from "./call-syntax.ts";
import type { Tool } from "./messages.ts";
import { decodeBytes, incompleteTail } from "./token-bytes.ts";
import { leadingBlanks, type Tokenizer } from "./tokenizer.ts";
import { typesIn } from "./tool-schemas.ts";

/** Turns ids into text one by one. */
export interface Detokenizer {
  /** The text that this id completes; "" while a character is incomplete. */
  push(id: number): string;
  /** The end of the text: U+FFFD for an incomplete character, else "". Resets the detokenizer. */
  flush(): string;
}

/**
 * An incremental detokenizer that never splits a code point. The results of all calls of `push` and one of `flush`,
 * joined, are `tokenizer.decode` of all ids. Where they continue a text, a leading blank, which SentencePiece prepends to a text,
 * is part of it.
 */
export function createDetokenizer(
  tokenizer: Pick<Tokenizer, "idToBytes" | "isSpecial" | "strippedBlanks">,
  { skipSpecialTokens = false, continues = false } = {},
): Detokenizer {
  let held: Uint8Array = new Uint8Array(0);
  let blanksToStrip = continues ? 0 : tokenizer.strippedBlanks;
  const emit = (text: string): string => {
    const stripped = leadingBlanks(text, blanksToStrip);
    // only leading blanks are stripped
    blanksToStrip = stripped < text.length ? 0 : blanksToStrip - stripped;
    return text.slice(stripped);
  };
  return {
    push(id) {
      if (skipSpecialTokens && tokenizer.isSpecial(id)) return "";
      const bytes = concatBytes([held, tokenizer.idToBytes(id)]);
      const complete = bytes.length - incompleteTail(bytes);
      held = bytes.subarray(complete);
      return emit(decodeBytes([bytes.subarray(0, complete)]));
    },
    flush() {
      const text = emit(decodeBytes([held]));
      held = new Uint8Array(0);
      blanksToStrip = tokenizer.strippedBlanks;
      return text;
    },
  };
}

/** Finds stop strings in streamed text. */
export interface StopScanner {
  /** Text that is no part of a stop string, and whether one, `stop`, was found: it and all that follows is dropped. */
  push(text: string): { readonly text: string; readonly stopped: boolean; readonly stop?: string };
  /** The rest of the text, which was held back as the possible start of a stop string. */
  flush(): string;
}

/**
 * Stops at the stop string that is complete first, wherever the text is split. Text that could begin a stop string is
 * held back until that is decided.
 *
 * @throws MosError `bad_option` for an empty stop string.
 */
export function createStopScanner(stops: readonly string[]): StopScanner {
  if (stops.includes("")) throw new MosError("bad_option", "a stop sequence is empty; omit it");
  let held = "";
  let stopped = false;
  return {
    push(text) {
      if (stopped) return { text: "", stopped };
      held += text;
      const found = firstStop(held, stops);
      const end = found?.start ?? held.length - possibleStart(held, stops);
      const certain = held.slice(0, end);
      stopped = found !== undefined;
      held = stopped ? "" : held.slice(end);
      return { text: certain, stopped, ...(found && { stop: found.stop }) };
    },
    flush() {
      const rest = held;
      held = "";
      return rest;
    },
  };
}

/** The stop string that ends first, and where it starts; the longest of those that end together. */
function firstStop(text: string, stops: readonly string[]) {
  let best: { readonly start: number; readonly end: number; readonly stop: string } | undefined;
  for (const stop of stops) {
    const start = text.indexOf(stop);
    if (start < 0) continue;
    const end = start + stop.length;
    if (best === undefined || end < best.end || (end === best.end && start < best.start))
      best = { start, end, stop };
  }
  return best;
}

/** The length of the longest suffix of the text that is a prefix of a stop string. */
function possibleStart(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops)
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--)
      if (text.endsWith(stop.slice(0, length))) {
        longest = length;
        break;
      }
  return longest;
}

/** Where the calls of an answer stand. */
export interface CallLayout extends Pick<AnswerParts, "reasoning" | "tags"> {
  readonly syntax: CallSyntax;
  /** By their schemas values without quotes are told apart (none: each by its text). */
  readonly tools?: readonly Tool[];
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
      const { text, ...found } = scanner.push(pushed);
      const read = repeats.push(text);
      return found.stopped && !read.stopped ? { text: read.text + repeats.flush(), ...found } : read;
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

  constructor({ tools = [], ...layout }: CallLayout) {
    const parts = { ...layout, typesOf: typesIn(tools), kinds: new Map() };
    this.#parser = new LayoutParser({ ...parts, nextId: undefined });
    this.#close = layout.syntax.close + layout.syntax.end;
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
    let released = "";
    for (const delta of this.#parser.push(char)) {
      if (delta.type === "call") {
        this.#call = { name: delta.name, arguments: "" };
        this.#alike = this.#calls.filter(({ name }) => name === delta.name);
      } else if (delta.type === "arguments") {
        const at = this.#call.arguments.length;
        this.#alike = this.#alike.filter((one) => one.arguments.startsWith(delta.text, at));
        this.#call.arguments += delta.text;
      } else if (delta.type === "call_end") {
        released += this.#endCall();
        continue;
      }
      if (this.#alike.length === 0) released += this.flush();
    }
    return released;
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
