// Prompts as token ids. A text that cannot fit is refused before the tokenizer has worked through it.
import { setImmediate as nextTurn } from "node:timers/promises";
import { monotonicNow } from "#core";
import { missingBos } from "#data";
import type { LoadedText } from "#text";
import { ApiError } from "./errors.ts";

/** A prompt as the engine takes it. */
export interface EncodedPrompt {
  readonly ids: readonly number[];
  /** As it was sent; undefined where token ids were. */
  readonly text?: string;
  /** Tokens that were added before the text, such as a BOS. */
  readonly added?: number;
}

/** Encodes prompts. Its methods throw ApiError 400, naming the field. */
export interface PromptReader {
  /**
   * As in training: with a BOS if the tokenizer begins texts with one and this text does not, and never with an EOS. Other
   * requests are answered while the tokens of a long text are counted.
   */
  fromText(text: string, field: string): Promise<EncodedPrompt>;
  fromIds(ids: readonly number[], field: string): EncodedPrompt;
}

const invalid = (message: string, field: string): ApiError =>
  new ApiError(message, { status: 400, code: "invalid_value", param: field });

/** @returns ApiError 400 for a prompt and an answer that do not fit into the model's context. */
export const tooLong = (maxLength: number, found: string, field: string): ApiError =>
  new ApiError(`this model's maximum context length is ${maxLength} tokens, and ${found}; send less`, {
    status: 400,
    code: "context_length_exceeded",
    param: field,
  });

/** A text of more characters than this for each token of the context is counted before it is encoded as a whole. */
const COUNTED_FROM = 2;
/** It is counted in chunks of this many characters; each cut may add this many tokens. */
const CHUNK = 1024;
const CUT = 32;
/** Milliseconds of counting after which other requests have their turn. */
const MAX_BUSY_MILLISECONDS = 10;

/** A tokenizer's work grows with the square of a word's length. No word of any language comes near this. */
const MAX_WORD = 4096;

/** What tokenizers take as one word: letters, digits, blanks or signs in a row. */
const WORDS = /\p{L}+|\p{N}+|\s+|[^\s\p{L}\p{N}]+/gu;

function checkWords(text: string, field: string): void {
  if (text.length <= MAX_WORD) return;
  for (const [word] of text.matchAll(WORDS))
    if (word.length > MAX_WORD)
      throw invalid(
        `${field} has ${word.length} letters, digits, blanks or symbols in a row; at most ${MAX_WORD} are allowed`,
        field,
      );
}

interface Lengths {
  readonly vocabularySize: number;
  readonly maxLength: number;
}

export function createPromptReader(
  { tokenizer }: Pick<LoadedText, "tokenizer">,
  { vocabularySize, maxLength }: Lengths,
): PromptReader {
  let maxTokenBytes = 1;
  for (let id = 0; id < tokenizer.vocabularySize; id++)
    // no token stands for more bytes than its spelling has; bytesOf would keep those of a quarter million tokens
    maxTokenBytes = Math.max(maxTokenBytes, Buffer.byteLength(tokenizer.idToToken(id) ?? ""));
  const checkLength = async (text: string, field: string): Promise<void> => {
    if (Buffer.byteLength(text) > maxLength * maxTokenBytes)
      throw tooLong(maxLength, `a text of ${text.length} characters has more`, field);
    if (text.length < COUNTED_FROM * maxLength) return;
    let tokens = 0;
    let since = monotonicNow();
    for (let start = 0; start < text.length; start += CHUNK) {
      const chunk = text.slice(start, start + CHUNK);
      tokens += Math.max(0, tokenizer.encode(chunk, { addSpecialTokens: false }).length - CUT);
      if (tokens > maxLength) throw tooLong(maxLength, `a text of ${text.length} characters has more`, field);
      if (monotonicNow() - since < MAX_BUSY_MILLISECONDS) continue;
      await nextTurn();
      since = monotonicNow();
    }
  };
  const checked = (prompt: EncodedPrompt, field: string): EncodedPrompt => {
    const { ids } = prompt;
    if (ids.length === 0) throw invalid(`${field} is empty`, field);
    if (ids.length > maxLength) throw tooLong(maxLength, `the prompt has ${ids.length}`, field);
    return prompt;
  };
  return {
    fromText: async (text, field) => {
      await checkLength(text, field);
      checkWords(text, field);
      const ids = tokenizer.encode(text, { addSpecialTokens: false });
      const bos = missingBos(ids, tokenizer);
      const prompt = bos === undefined ? { ids, text } : { ids: [bos, ...ids], text, added: 1 };
      return checked(prompt, field);
    },
    fromIds: (ids, field) => {
      const wrong = ids.find((id) => id >= vocabularySize);
      if (wrong !== undefined)
        throw invalid(`${field} has token ${wrong}; the vocabulary ends at ${vocabularySize - 1}`, field);
      return checked({ ids }, field);
    },
  };
}
