import type { TokenLogprob } from "#inference";
import { tokenPlaces } from "./token-places.ts";
import { type TokenWriter, tokenText } from "./token-text.ts";

/** `logprobs` of a completion: one entry for each token in each list. */
export interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  /** null at a first token, which nothing predicts. */
  readonly top_logprobs: (Record<string, number> | null)[];
  /** Characters of the text before the token's own. */
  readonly text_offset: number[];
}

/** Collects the lists of one answer. */
export interface LogprobsCollector {
  /** All of a prompt's tokens, the first of which were put `before` its text. */
  prompt(logprobs: readonly TokenLogprob[], before: number): void;
  /** A token of the answer. */
  token(logprob: TokenLogprob): void;
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

/** @param echoed Characters of the prompt that the text begins with. */
export function collectLogprobs(tokenizer: TokenWriter, echoed: number): LogprobsCollector {
  let held = empty();
  const placeOf = tokenPlaces(tokenizer, { start: echoed, continues: true });
  const add = (entry: TokenLogprob, place: number): void => {
    held.tokens.push(tokenText(tokenizer, entry.id));
    held.token_logprobs.push(entry.logprob);
    held.top_logprobs.push(topOf(tokenizer, entry));
    held.text_offset.push(place);
  };
  return {
    prompt(logprobs, before) {
      const placeInPrompt = tokenPlaces(tokenizer, { start: 0, continues: false });
      for (const [i, entry] of logprobs.entries()) add(entry, i < before ? 0 : placeInPrompt(entry.id));
    },
    token: (entry) => add(entry, placeOf(entry.id)),
    take() {
      if (held.tokens.length === 0) return undefined;
      const taken = held;
      held = empty();
      return taken;
    },
  };
}
