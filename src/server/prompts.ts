import { missingBos } from "#data";
import type { LoadedText } from "#text";
import { Refusal } from "./refusal.ts";

/** A prompt as the engine takes it. */
export interface Prompt {
  readonly ids: readonly number[];
  /** As it was sent; undefined where token ids were. */
  readonly text?: string;
  /** Tokens that were put before the text. */
  readonly before?: number;
}

/** Turns texts into prompts that can fit, without working through those that cannot. */
export interface PromptReader {
  /** As in training: a BOS if the tokenizer begins texts with one and this text does not, and never an EOS at its end. */
  fromText(text: string, field: string): Prompt;
  fromIds(ids: readonly number[], field: string): Prompt;
}

export const tooLong = (maxLength: number, found: string, field: string): Refusal =>
  new Refusal(`this model's maximum context length is ${maxLength} tokens, and ${found}; send less`, {
    status: 400,
    reason: "context_length_exceeded",
    field,
  });

/** Characters that are counted at a time where a text is suspiciously long, and tokens that cutting there may add. */
const CHUNK = 1024;
const CUT = 32;

/** A tokenizer's work grows with the square of a word's length: no word of any language comes near this. */
const LONGEST_WORD = 4096;

/** What tokenizers take as one word: letters, digits, blanks or signs in a row. */
const WORDS = /\p{L}+|\p{N}+|\s+|[^\s\p{L}\p{N}]+/gu;

function refuseLongWord(text: string, field: string): void {
  if (text.length <= LONGEST_WORD) return;
  for (const [word] of text.matchAll(WORDS))
    if (word.length > LONGEST_WORD)
      throw new Refusal(
        `${field} holds ${word.length} letters, digits, blanks or signs in a row; at most ${LONGEST_WORD} are taken`,
        { status: 400, reason: "invalid_value", field },
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
  const longestToken = Math.max(
    1,
    ...Array.from({ length: tokenizer.vocabularySize }, (_, id) => tokenizer.bytesOf(id).length),
  );
  const refuseLongText = (text: string, field: string): void => {
    if (Buffer.byteLength(text) > maxLength * longestToken)
      throw tooLong(maxLength, `a text of ${text.length} characters has more`, field);
    if (text.length < 8 * maxLength) return;
    let tokens = 0;
    for (let start = 0; start < text.length; start += CHUNK) {
      const chunk = text.slice(start, start + CHUNK);
      tokens += Math.max(0, tokenizer.encode(chunk, { addSpecialTokens: false }).length - CUT);
      if (tokens > maxLength) throw tooLong(maxLength, `a text of ${text.length} characters has more`, field);
    }
  };
  const checked = (prompt: Prompt, field: string): Prompt => {
    const { ids } = prompt;
    if (ids.length === 0)
      throw new Refusal(`${field} holds no token; send a text`, {
        status: 400,
        reason: "invalid_value",
        field,
      });
    if (ids.length > maxLength) throw tooLong(maxLength, `the prompt has ${ids.length}`, field);
    return prompt;
  };
  return {
    fromText: (text, field) => {
      refuseLongText(text, field);
      refuseLongWord(text, field);
      const ids = tokenizer.encode(text, { addSpecialTokens: false });
      const bos = missingBos(ids, tokenizer);
      const prompt = bos === undefined ? { ids, text } : { ids: [bos, ...ids], text, before: 1 };
      return checked(prompt, field);
    },
    fromIds: (ids, field) => {
      const wrong = ids.find((id) => id >= vocabularySize);
      if (wrong !== undefined)
        throw new Refusal(`${field} holds token ${wrong}; the vocabulary ends at ${vocabularySize - 1}`, {
          status: 400,
          reason: "invalid_value",
          field,
        });
      return checked({ ids }, field);
    },
  };
}
