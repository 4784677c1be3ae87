// From an example to token ids and labels. Targets of the loss are only what the model has to say: the tokens of
// assistant messages or completions, and the end of turn.
import { setImmediate } from "node:timers/promises";
import { MosError, monotonicNow } from "#core";
import type { Example, Place } from "./example.ts";
import { labelledTokens, type PromptFormatOptions } from "./prompt-formats.ts";

/** Label of a token that is not a target of the loss, as PyTorch has it. */
export const IGNORED = -100;

/**
 * What a target token has besides its id: its weight in the loss, its log-probability by the reference and by the policy
 * that wrote it, the advantage of its answer, and 1 or 0 for whether that answer is desirable, and whether it is a token of
 * the prompt.
 */
export type TokenColumn = "weight" | "reference" | "advantage" | "old" | "desirable" | "prompt";

/** Numbers of target tokens, by column. */
export type TokenColumns = Readonly<Partial<Record<TokenColumn, Float32Array>>>;

/** A training example as token ids. */
export interface EncodedExample extends Place {
  /** Token ids, at most `maxLength`. */
  readonly ids: Int32Array;
  /** Labels of the same length, not shifted: the token's own id if it is a target, −100 otherwise. */
  readonly labels: Int32Array;
  /** Tokens that are targets. The first token of a text is never one, since nothing predicts it. */
  readonly targetTokens: number;
  readonly truncated: boolean;
  /** Targets that truncation cut off. */
  readonly truncatedTargets: number;
  /** Tokens of each of its sequences, where it has several: prompt and chosen answer, prompt and rejected answer. */
  readonly sequences?: readonly number[];
  /** Numbers of its target tokens, in their order. The first token of a sequence is never a target. */
  readonly columns?: TokenColumns;
}

/** Tokens of each of the sequences of an example. */
export const sequenceLengths = ({
  ids,
  sequences,
}: Pick<EncodedExample, "ids" | "sequences">): readonly number[] => sequences ?? [ids.length];

/**
 * Encodes one example.
 *
 * @throws MosError `bad_data`, with the line, when its messages do not fit the prompt format or the template
 * refuses them; `bad_option` for a `maxLength` below 2.
 */
export function encodeExample(example: Example, options: PromptFormatOptions): EncodedExample {
  const { maxLength } = options;
  if (!Number.isSafeInteger(maxLength) || maxLength < 2)
    throw new MosError(
      "bad_option",
      `maxLength is ${maxLength}; give a whole number of at least 2, as one token predicts the next`,
    );
  const { ids, isTarget } = labelledTokens(example, options);
  const length = Math.min(ids.length, maxLength);
  const labels = Int32Array.from({ length }, (_, i) => (isTarget[i] ? (ids[i] ?? IGNORED) : IGNORED));
  const targetTokens = countTargets(isTarget, length);
  const { line, source } = example;
  return {
    line,
    ...(source === undefined ? {} : { source }),
    ids: Int32Array.from(ids.slice(0, length)),
    labels,
    targetTokens,
    truncated: length < ids.length,
    truncatedTargets: countTargets(isTarget, ids.length) - targetTokens,
  };
}

/**
 * Encodes one example as it is trained: in one sequence, or in one for each answer where the chat template lays a
 * conversation out anew for each, as those do that leave out the reasoning of earlier answers. Each answer then stands
 * behind what the model is given when it writes it.
 *
 * @throws MosError as `encodeExample`.
 */
export function encodeAnswers(example: Example, options: PromptFormatOptions): readonly EncodedExample[] {
  try {
    return [encodeExample(example, options)];
  } catch (error) {
    const apart = error instanceof MosError && error.code === "bad_config" ? answersApart(example) : [];
    if (apart.length === 0) throw error;
    return apart.map((one) => encodeExample(one, options));
  }
}

/** The conversation up to each of its answers that is to be learnt, and only that one to be learnt. */
const answersApart = (example: Example): readonly Example[] =>
  example.kind !== "chat"
    ? []
    : example.turns.flatMap((turn, k) =>
        turn.isTarget
          ? [
              {
                ...example,
                turns: example.turns.slice(0, k + 1).map((one, i) => ({ ...one, isTarget: i === k })),
              },
            ]
          : [],
      );

function countTargets(isTarget: readonly boolean[], length: number): number {
  let count = 0;
  for (let i = 1; i < length; i++) if (isTarget[i]) count++;
  return count;
}

/** Report on the encoding of a data set. */
export interface EncodingReport {
  /** Examples that were kept, like all numbers here but `dropped`; one for each answer where these are encoded apart. */
  readonly examples: number;
  readonly tokens: number;
  readonly targetTokens: number;
  /** Examples that were truncated. */
  readonly truncated: number;
  /** Targets that truncation cut off. */
  readonly truncatedTargets: number;
  /** Examples that were left out because no target was left in them. */
  readonly dropped: number;
  /** Tokens of the longest example. */
  readonly longest: number;
}

/** Milliseconds without a look at signals and timers: conversations may be long. */
const MAX_BUSY_MILLISECONDS = 50;

/** The encoded examples of a data set. */
export interface EncodedDataset {
  readonly encoded: readonly EncodedExample[];
  readonly report: EncodingReport;
}

/**
 * Encodes examples in order, and leaves out those in which truncation or the prompt format leaves no target.
 *
 * @throws MosError as `encodeExample` does, `bad_data` when no example is left, and `cancelled`.
 *
 * @example
 * const { encoded, report } = await encodeExamples(train, { tokenizer, template, maxLength: 512 });
 */
export async function encodeExamples(
  examples: readonly Example[],
  options: PromptFormatOptions & { readonly signal?: AbortSignal | undefined },
): Promise<EncodedDataset> {
  const encoded: EncodedExample[] = [];
  let dropped = 0;
  let since = monotonicNow();
  for (const [i, example] of examples.entries()) {
    if (monotonicNow() - since > MAX_BUSY_MILLISECONDS) {
      await setImmediate(); // so that signals and timers are handled
      since = monotonicNow();
    }
    if (options.signal?.aborted === true)
      throw new MosError("cancelled", `cancelled after ${i} of ${examples.length} examples were encoded`);
    const answers = encodeAnswers(example, options);
    const kept = answers.filter(({ targetTokens }) => targetTokens > 0);
    encoded.push(...kept);
    dropped += answers.length - kept.length;
  }
  if (encoded.length === 0)
    throw new MosError(
      "bad_data",
      examples.length === 0
        ? "there are no examples to encode"
        : `none of the ${examples.length} examples has target tokens left after truncation to ${options.maxLength} tokens; raise --max-length`,
    );
  const sum = (of: (one: EncodedExample) => number): number =>
    encoded.reduce((total, one) => total + of(one), 0);
  const report: EncodingReport = {
    examples: encoded.length,
    tokens: sum(({ ids }) => ids.length),
    targetTokens: sum(({ targetTokens }) => targetTokens),
    truncated: sum(({ truncated }) => Number(truncated)),
    truncatedTargets: sum(({ truncatedTargets }) => truncatedTargets),
    dropped,
    longest: encoded.reduce((max, { ids }) => Math.max(max, ids.length), 0),
  };
  return { encoded, report };
}
