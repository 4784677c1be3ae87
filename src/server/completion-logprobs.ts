import type { TokenLogprob } from "#serving";
import { createDetokenizer } from "#text";
import { characters, type TokenWriter, tokenText } from "./token-text.ts";

/** `logprobs` of a completion: one entry for each token in each list. */
export interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  /** null at a first token, which nothing predicts. */
  readonly top_logprobs: (Record<string, number> | null)[];
  /** Characters of the answer's text before the token. */
  readonly text_offset: number[];
}

/** Collects the lists of one answer. */
export interface LogprobsCollector {
  /** All of a prompt's tokens. `isGiven` says that a tokenizer has put special tokens before the text. */
  prompt(logprobs: readonly TokenLogprob[], options: { readonly isGiven: boolean }): void;
  /** A token of the answer, with the text that it added. */
  token(logprob: TokenLogprob, text: string): void;
  /** What was collected since the last time, or undefined for nothing. */
  take(): CompletionLogprobs | undefined;
}

const empty = (): CompletionLogprobs => ({
  tokens: [],
  token_logprobs: [],
  top_logprobs: [],
  text_offset: [],
});

/** The likeliest tokens and the one that stands here. Of two ids with the same text the likelier counts. */
function topOf(tokenizer: TokenWriter, { id, logprob, top }: TokenLogprob): Record<string, number> | null {
  if (logprob === null) return null;
  const likely = new Map<string, number>();
  for (const entry of [...top, { id, logprob }]) {
    const text = tokenText(tokenizer, entry.id);
    if (!likely.has(text)) likely.set(text, entry.logprob);
  }
  return Object.fromEntries(likely);
}

/** @param offset Characters of the answer's text before its first token. */
export function collectLogprobs(tokenizer: TokenWriter, offset = 0): LogprobsCollector {
  let held = empty();
  let at = offset;
  const add = (entry: TokenLogprob, text: string): void => {
    held.tokens.push(tokenText(tokenizer, entry.id));
    held.token_logprobs.push(entry.logprob);
    held.top_logprobs.push(topOf(tokenizer, entry));
    held.text_offset.push(at);
    at += characters(text);
  };
  return {
    prompt(logprobs, { isGiven }) {
      const detokenizer = createDetokenizer(tokenizer);
      let isText = !isGiven;
      for (const entry of logprobs) {
        isText ||= !tokenizer.isSpecial(entry.id);
        add(entry, isText ? detokenizer.push(entry.id) : "");
      }
    },
    token: add,
    take() {
      if (held.tokens.length === 0) return undefined;
      const taken = held;
      held = empty();
      return taken;
    },
  };
}
