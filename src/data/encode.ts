// From an example to token ids and labels. What an example looks like to the model depends on the
// prompt format:
//
//   template       the model's own chat template; an instruction, a question or a prompt becomes a user message
//   chatml         the bare ChatML layout, without the system message that some templates add by themselves
//   plain          prompt and completion as they stand, then the end-of-text token
//   open-instruct  the layout and the masking of open-instruct's training script (file open-instruct.ts)
//
// Loss counts only where the model has to speak: assistant or completion tokens and the end of turn.
import { setImmediate } from "node:timers/promises";
import { MosError } from "#core";
import type { ChatTemplate, Tokenizer } from "#text";
import type { Example } from "./example.ts";
import { openInstruct } from "./open-instruct.ts";
import { chatmlPieces, plainPieces, templatePieces } from "./pieces.ts";
import { type Labelled, tokenizePieces } from "./tokenize-pieces.ts";

/** Label of a token that does not count in the loss. */
export const IGNORED = -100;

/** Ways to lay an example out for the model. */
export const PROMPT_FORMATS = ["template", "chatml", "plain", "open-instruct"] as const;
/** One of `PROMPT_FORMATS`. */
export type PromptFormat = (typeof PROMPT_FORMATS)[number];

export interface EncodeOptions {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  /** Tokens kept of an example; the rest is cut off at its end. */
  readonly maxLength: number;
  readonly promptFormat?: PromptFormat;
  /** Put before conversations that have no system message of their own. */
  readonly system?: string | undefined;
}

export interface EncodedExample {
  readonly line: number;
  readonly ids: Int32Array;
  /** Of the same length, not shifted: the token itself where it counts in the loss, else −100. */
  readonly labels: Int32Array;
  /** Tokens in the loss. The very first token of a text never counts: nothing predicts it. */
  readonly trainedTokens: number;
  readonly truncated: boolean;
  /** Tokens in the loss that truncation cut off. */
  readonly lostTokens: number;
}

/**
 * Encodes one example.
 *
 * @throws MosError `bad_data`, with the line, when its turns do not fit the prompt format or the template refuses them.
 */
export function encodeExample(example: Example, options: EncodeOptions): EncodedExample {
  const { maxLength } = options;
  if (!Number.isSafeInteger(maxLength) || maxLength < 2)
    throw new MosError(
      "bad_option",
      `maxLength is ${maxLength}; give a whole number from 2 up, as one token predicts the next`,
    );
  const { ids, trained } = labelledTokens(example, options);
  const length = Math.min(ids.length, maxLength);
  const labels = Int32Array.from({ length }, (_, i) => (trained[i] ? (ids[i] ?? IGNORED) : IGNORED));
  const trainedTokens = countTrained(trained, length);
  return {
    line: example.line,
    ids: Int32Array.from(ids.slice(0, length)),
    labels,
    trainedTokens,
    truncated: length < ids.length,
    lostTokens: countTrained(trained, ids.length) - trainedTokens,
  };
}

function countTrained(trained: readonly boolean[], length: number): number {
  let count = 0;
  for (let i = 1; i < length; i++) if (trained[i]) count++;
  return count;
}

function labelledTokens(example: Example, options: EncodeOptions): Labelled {
  const { tokenizer, template, promptFormat = "template", system } = options;
  switch (promptFormat) {
    case "template":
      return tokenizePieces(templatePieces(example, { template, system }), tokenizer);
    case "chatml":
      return tokenizePieces(chatmlPieces(example, { system }), tokenizer);
    case "plain":
      return endText(tokenizePieces(plainPieces(example), tokenizer), tokenizer);
    case "open-instruct":
      return openInstruct(example, options);
  }
}

/** The end-of-text token counts too: a model that does not learn to stop goes on for ever. */
function endText({ ids, trained }: Labelled, { eosTokens }: Tokenizer): Labelled {
  const eos = eosTokens[0];
  return eos === undefined ? { ids, trained } : { ids: [...ids, eos], trained: [...trained, true] };
}

/** What became of a data set. Numbers of examples and tokens are of those kept. */
export interface EncodingReport {
  readonly examples: number;
  readonly tokens: number;
  readonly trainedTokens: number;
  /** Examples that were cut, and kept. */
  readonly truncated: number;
  /** Tokens in the loss that these lost. */
  readonly lostTokens: number;
  /** Examples with nothing left to learn, left out. */
  readonly dropped: number;
  /** Tokens of the longest example. */
  readonly longest: number;
}

export interface EncodedDataset {
  readonly encoded: readonly EncodedExample[];
  readonly report: EncodingReport;
}

/**
 * Encodes examples in their order; leaves out those in which truncation, or the prompt format, left nothing to learn.
 *
 * @throws MosError as `encodeExample` does, and `bad_data` when no example is left.
 *
 * @example
 * const { encoded, report } = await encodeExamples(train, { tokenizer, template, maxLength: 512 });
 */
export async function encodeExamples(
  examples: readonly Example[],
  options: EncodeOptions & { readonly signal?: AbortSignal | undefined },
): Promise<EncodedDataset> {
  const encoded: EncodedExample[] = [];
  for (const [i, example] of examples.entries()) {
    if (i % 128 === 127) await setImmediate(); // lets a signal and a progress line through
    if (options.signal?.aborted === true)
      throw new MosError("cancelled", `cancelled after ${i} of ${examples.length} examples were encoded`);
    const one = encodeExample(example, options);
    if (one.trainedTokens > 0) encoded.push(one);
  }
  if (encoded.length === 0)
    throw new MosError(
      "bad_data",
      examples.length === 0
        ? "there are no examples to encode"
        : `all ${examples.length} examples have nothing left to learn after the cut to ${options.maxLength} tokens; use a longer --max-length`,
    );
  const sum = (of: (one: EncodedExample) => number): number =>
    encoded.reduce((total, one) => total + of(one), 0);
  const report: EncodingReport = {
    examples: encoded.length,
    tokens: sum(({ ids }) => ids.length),
    trainedTokens: sum(({ trainedTokens }) => trainedTokens),
    truncated: sum(({ truncated }) => Number(truncated)),
    lostTokens: sum(({ lostTokens }) => lostTokens),
    dropped: examples.length - encoded.length,
    longest: encoded.reduce((most, { ids }) => Math.max(most, ids.length), 0),
  };
  return { encoded, report };
}
