// Log-probabilities while an answer is made, and in the format of OpenAI's completions: tokens as text, and where in the
// answer's text each begins.
import type { TokenLogprob } from "mixture-of-shards-core/inference";
import { createDetokenizer, incompleteTail, type LoadedText } from "mixture-of-shards-core/text";
import { type JsonPieces, jsonList, jsonObject } from "./answer.ts";

/** The part of a tokenizer that turns tokens into text. */
export type TokenWriter = Pick<LoadedText["tokenizer"], "idToBytes" | "isSpecial" | "strippedBlanks">;

/** A token as OpenAI's API writes it: its text, or its bytes where they are only part of a character. */
export function tokenText(tokenizer: TokenWriter, id: number): string {
  const bytes = tokenizer.idToBytes(id);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return `bytes:${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
  }
}

/** A token with its alternatives as chats and responses write it. */
export function writeLogprob(tokenizer: TokenWriter, { id, logprob, top }: TokenLogprob) {
  const entry = (token: number, value: number | null) => ({
    token: tokenText(tokenizer, token),
    logprob: value,
    bytes: [...tokenizer.idToBytes(token)],
  });
  return { ...entry(id, logprob), top_logprobs: top.map((other) => entry(other.id, other.logprob)) };
}

/** Characters as Python counts them: code points. */
export function characters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Tests whether bytes are a prefix of valid UTF-8: the last character may be incomplete. */
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
 *
 * @param options `start`: characters before the first token; `continues`: the tokens continue a text, as a completion's do,
 * rather than begin one.
 */
export function textOffsets(
  tokenizer: TokenWriter,
  { start, continues }: { readonly start: number; readonly continues: boolean },
): (id: number) => number {
  const detokenizer = createDetokenizer(tokenizer, { continues });
  let at = start;
  let held = new Uint8Array(0);
  return (id) => {
    const bytes = tokenizer.idToBytes(id);
    const continuesCharacter = isValidPrefix(Uint8Array.of(...held, ...bytes.subarray(0, 1)));
    // otherwise the bytes before were a broken character, which the text shows as such
    const offset = continuesCharacter ? at : at + characters(decoder.decode(held));
    at += characters(detokenizer.push(id));
    const all = Uint8Array.of(...held, ...bytes);
    held = all.subarray(all.length - incompleteTail(all));
    return offset;
  };
}

/** Log-probabilities of many tokens, in arrays that grow: as objects they take twenty times the memory. */
export class LogprobBuffer implements Iterable<TokenLogprob> {
  #ids = new Int32Array(32);
  /** NaN for null. */
  #values = new Float32Array(32);
  /** For each token where its entries end: its own, then its alternatives. */
  readonly #ends: number[] = [];

  push(entry: TokenLogprob): void {
    let at = this.#ends.at(-1) ?? 0;
    for (const { id, logprob } of [entry, ...entry.top]) {
      if (at === this.#ids.length) this.#grow();
      this.#ids[at] = id;
      this.#values[at++] = logprob ?? Number.NaN;
    }
    this.#ends.push(at);
  }

  *map<T>(of: (entry: TokenLogprob) => T): Generator<T, void> {
    for (const entry of this) yield of(entry);
  }

  *[Symbol.iterator](): Generator<TokenLogprob, void> {
    let start = 0;
    for (const end of this.#ends) {
      const values = this.#values.subarray(start, end);
      const entries = Array.from(values, (logprob, i) => ({ id: this.#ids[start + i] as number, logprob }));
      const [own = { id: 0, logprob: Number.NaN }, ...top] = entries;
      yield { id: own.id, logprob: Number.isNaN(own.logprob) ? null : own.logprob, top };
      start = end;
    }
  }

  #grow(): void {
    const [ids, values] = [this.#ids, this.#values];
    this.#ids = new Int32Array(2 * ids.length);
    this.#ids.set(ids);
    this.#values = new Float32Array(2 * values.length);
    this.#values.set(values);
  }
}

/** The likeliest tokens and the one that stands here. Of two ids with the same text the likelier counts. */
function toTopLogprobs(
  tokenizer: TokenWriter,
  { id, logprob, top }: TokenLogprob,
): Record<string, number> | null {
  if (logprob === null) return null;
  const likely = new Map<string, number>();
  for (const entry of [...top, { id, logprob }]) {
    const text = tokenText(tokenizer, entry.id);
    if (!likely.has(text)) likely.set(text, entry.logprob);
  }
  return Object.fromEntries(likely);
}

/**
 * Collects `logprobs` of one choice of a completion: one entry for each token in each list.
 *
 * @param echoed Characters of the prompt at the start of the choice's text.
 */
export function collectLogprobs(tokenizer: TokenWriter, echoed: number) {
  let held = new LogprobBuffer();
  let offsets: number[] = [];
  const nextOffset = textOffsets(tokenizer, { start: echoed, continues: true });
  const add = (entry: TokenLogprob, offset: number): void => {
    held.push(entry);
    offsets.push(offset);
  };
  const tokens = () => held.map(({ id }) => tokenText(tokenizer, id));
  const values = () => held.map(({ logprob }) => logprob);
  const tops = () => held.map((entry) => toTopLogprobs(tokenizer, entry));
  return {
    /** All tokens of a prompt, the first `added` of which are not part of its text. */
    prompt(logprobs: readonly TokenLogprob[], added: number): void {
      const offsetInPrompt = textOffsets(tokenizer, { start: 0, continues: false });
      for (const [i, entry] of logprobs.entries()) add(entry, i < added ? 0 : offsetInPrompt(entry.id));
    },
    /** A token of the answer. */
    token: (entry: TokenLogprob): void => add(entry, nextOffset(entry.id)),
    get isEmpty(): boolean {
      return offsets.length === 0;
    },
    /** Log-probabilities collected since the last call. */
    take() {
      const taken = {
        tokens: [...tokens()],
        token_logprobs: [...values()],
        top_logprobs: [...tops()],
        text_offset: offsets,
      };
      held = new LogprobBuffer();
      offsets = [];
      return taken;
    },
    /** The same as JSON, made token by token. */
    json: (): JsonPieces =>
      jsonObject({
        tokens: jsonList(tokens),
        token_logprobs: jsonList(values),
        top_logprobs: jsonList(tops),
        text_offset: offsets,
      }),
  };
}
