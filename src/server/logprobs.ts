// Log-probabilities in the form of OpenAI's completions: tokens as text, and where in the answer's text each begins.
import type { TokenLogprob } from "#inference";
import { createDetokenizer, incompleteTail, type LoadedText } from "#text";

/** The part of a tokenizer that turns tokens into text. */
export type TokenWriter = Pick<LoadedText["tokenizer"], "bytesOf" | "isSpecial" | "strippedBlanks">;

/** A token as OpenAI's API writes it: its text, or its bytes where they are only part of a character. */
export function tokenText(tokenizer: TokenWriter, id: number): string {
  const bytes = tokenizer.bytesOf(id);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return `bytes:${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
  }
}

/** Characters as Python counts them: code points. */
export function characters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

export interface TextOffsetOptions {
  /** Characters before the first token. */
  readonly start: number;
  /** The tokens continue a text, as a completion's do, rather than begin one. */
  readonly continues: boolean;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Whether bytes are valid UTF-8 as far as they go: a character may be incomplete at the end. */
function isValidPrefix(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}

/**
 * Gives for each token in turn the offset of its own text, in characters, also where the engine still holds that text
 * back as the possible start of a stop text. A token that continues a character begins where the character does.
 */
export function textOffsets(
  tokenizer: TokenWriter,
  { start, continues }: TextOffsetOptions,
): (id: number) => number {
  const detokenizer = createDetokenizer(tokenizer, { continues });
  let at = start;
  let held = new Uint8Array(0);
  return (id) => {
    const bytes = tokenizer.bytesOf(id);
    const continuesCharacter = isValidPrefix(Uint8Array.of(...held, ...bytes.subarray(0, 1)));
    // otherwise the bytes before were a broken character, which the text shows as such
    const offset = continuesCharacter ? at : at + characters(decoder.decode(held));
    at += characters(detokenizer.push(id));
    const all = Uint8Array.of(...held, ...bytes);
    held = all.subarray(all.length - incompleteTail(all));
    return offset;
  };
}

/** `logprobs` of a completion: one entry for each token in each list. */
export interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  /** null at a first token, which nothing predicts. */
  readonly top_logprobs: (Record<string, number> | null)[];
  /** Characters of the text before the token's own. */
  readonly text_offset: number[];
}

/** Collects the lists of one choice. */
export interface LogprobsCollector {
  /** All tokens of a prompt, the first `added` of which are not part of its text. */
  prompt(logprobs: readonly TokenLogprob[], added: number): void;
  /** A token of the answer. */
  token(logprob: TokenLogprob): void;
  /** What was collected since the last call, or undefined for nothing. */
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

/** @param echoed Characters of the prompt at the start of the choice's text. */
export function collectLogprobs(tokenizer: TokenWriter, echoed: number): LogprobsCollector {
  let held = empty();
  const offsetOf = textOffsets(tokenizer, { start: echoed, continues: true });
  const add = (entry: TokenLogprob, offset: number): void => {
    held.tokens.push(tokenText(tokenizer, entry.id));
    held.token_logprobs.push(entry.logprob);
    held.top_logprobs.push(topOf(tokenizer, entry));
    held.text_offset.push(offset);
  };
  return {
    prompt(logprobs, added) {
      const offsetInPrompt = textOffsets(tokenizer, { start: 0, continues: false });
      for (const [i, entry] of logprobs.entries()) add(entry, i < added ? 0 : offsetInPrompt(entry.id));
    },
    token: (entry) => add(entry, offsetOf(entry.id)),
    take() {
      if (held.tokens.length === 0) return undefined;
      const taken = held;
      held = empty();
      return taken;
    },
  };
}
