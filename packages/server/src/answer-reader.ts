// The events of an answer as what a client sees: pieces of text, of reasoning and of calls, with the text's log-probabilities.
import { type EngineEvent, type TokenLogprob, unpackLogprobs } from "mixture-of-shards-core/inference";
import type { AnswerDelta, AnswerParser } from "mixture-of-shards-core/text";
import { toFinishReason } from "./choices.ts";

/** What an event adds to an answer. */
export interface AnswerStep {
  readonly deltas: readonly AnswerDelta[];
  /** Log-probabilities of tokens of the text; reasoning and calls have none. */
  readonly logprobs: readonly TokenLogprob[];
  /** The end of the answer: by itself or a stop text, or by its length. */
  readonly finish?: "stop" | "length" | undefined;
}

/** Tokens whose text came at once, since a token may end in the middle of a character. */
interface TokenGroup {
  text: string;
  readonly logprobs: TokenLogprob[];
}

export class AnswerReader {
  readonly #parser: AnswerParser;
  /** Tokens that the parser has, and of which it is not known yet whether they are text. */
  #pending: TokenGroup[] = [];
  #endsInText = true;

  constructor(parser: AnswerParser) {
    this.#parser = parser;
  }

  /** @throws ApiError 503 for an answer that the server cut off. */
  read(event: EngineEvent): AnswerStep {
    if (event.type === "token") {
      this.#note(event.text, unpackLogprobs(event));
      return this.#step(this.#parser.push(event.text));
    }
    if (event.type !== "finish") return { deltas: [], logprobs: [] };
    const finish = toFinishReason(event.finishReason);
    this.#note(event.text, []);
    const { deltas, logprobs } = this.#step([...this.#parser.push(event.text), ...this.#parser.finish()]);
    // such as those of an end token
    const rest = this.#endsInText ? this.#pending.flatMap((group) => group.logprobs) : [];
    return { deltas, logprobs: [...logprobs, ...rest], finish };
  }

  #note(text: string, logprobs: readonly TokenLogprob[]): void {
    if (logprobs.length === 0 && this.#pending.length === 0) return; // none were asked for
    const last = this.#pending.at(-1);
    if (last?.text === "") {
      last.text = text;
      last.logprobs.push(...logprobs);
    } else this.#pending.push({ text, logprobs: [...logprobs] });
  }

  #step(deltas: readonly AnswerDelta[]): AnswerStep {
    const last = deltas.at(-1);
    if (last === undefined) return { deltas, logprobs: [] };
    this.#endsInText = last.type === "text";
    if (this.#pending.length === 0) return { deltas, logprobs: [] };
    const logprobs = deltas.flatMap((delta) => (delta.type === "text" ? this.#take(delta.text) : []));
    if (!this.#endsInText) this.#pending = [];
    return { deltas, logprobs };
  }

  /** Takes the tokens of a text, and drops those before it, which are tags. */
  #take(text: string): readonly TokenLogprob[] {
    const raw = this.#pending.map((group) => group.text).join("");
    const begin = Math.max(0, raw.lastIndexOf(text));
    const end = begin + text.length;
    const taken: TokenLogprob[] = [];
    let at = 0;
    let count = 0;
    for (const group of this.#pending) {
      if (at >= end) break;
      at += group.text.length;
      count++;
      if (at > begin) taken.push(...group.logprobs);
    }
    this.#pending = this.#pending.slice(count);
    return taken;
  }
}
