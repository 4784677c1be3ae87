// Answers to held-out prompts, and what their grader says: by that a run is evaluated, whatever it learns from.
import { MosError, omitUndefined } from "#common";
import { answerText, type Example, encodePromptOf, wantedAnswer } from "#data";
import type { UnfinishedEvaluation } from "../checkpoint.ts";
import { addLosses, NO_LOSS } from "../gradients.ts";
import { learnsFromAnswers } from "../objectives/index.ts";
import { sampling } from "../objectives/settings.ts";
import type { FinetuneSettings, ResolvedSettings } from "../settings.ts";
import type { Prompt } from "./grader.ts";
import { type GroupOptions, groupMetrics, sampleGroups } from "./groups.ts";

type EncodingOptions = Parameters<typeof encodePromptOf>[1];

/** The prompts of the first examples that have one, at most so many. */
export function heldOutPrompts(
  examples: readonly Example[],
  { limit, ...encoding }: EncodingOptions & { readonly limit: number },
): readonly Prompt[] {
  const prompts: Prompt[] = [];
  for (const example of examples) {
    if (prompts.length >= limit) break;
    const asked = promptOf(example);
    const ids = asked && encodePromptOf(asked, encoding);
    if (ids === undefined) continue;
    const { line, source } = example;
    prompts.push({ line, source, ids, item: itemOf(example) });
  }
  return prompts;
}

/** What has the prompt of an example; a text has none. */
function promptOf(example: Example): Parameters<typeof encodePromptOf>[0] | undefined {
  switch (example.kind) {
    case "text":
      return undefined;
    case "pair":
      return example.chosen;
    case "rated":
      return example.answer;
    default:
      return example;
  }
}

/** What a grader knows of an example: all of its line, and the answer that is wanted. */
function itemOf(example: Example): Prompt["item"] {
  if (example.kind === "prompt") return example.item;
  const wanted = wantedAnswer(example);
  const reference = wanted && answerText(wanted);
  return { ...omitUndefined({ reference }), ...example.fields };
}

/** Held-out prompts that are answered where a run does not learn from answers. */
const PROMPTS = 64;

/** How held-out prompts are answered: as those that are learnt from, or else once, by the likeliest tokens. */
export function heldOutSampling(settings: FinetuneSettings) {
  const { groupSize, maxCompletionLength, temperature } = sampling(settings);
  const { evaluatePrompts, evaluateSamples } = settings;
  const samples = evaluateSamples ?? 1;
  return learnsFromAnswers(settings)
    ? {
        ...{ prompts: evaluatePrompts ?? Number.MAX_SAFE_INTEGER, groupSize: evaluateSamples ?? groupSize },
        ...{ maxCompletionLength, temperature },
      }
    : {
        ...{ prompts: evaluatePrompts ?? PROMPTS, groupSize: samples, maxCompletionLength },
        temperature: settings.temperature ?? (samples === 1 ? 0 : temperature),
      };
}

/** Answers that are decoded at a time at most: more are hardly faster. */
const MAX_BATCH = 32;
/** Held-out prompts that are answered at a time, where a run has no batches of prompts. */
const HELD_OUT_BATCH = 16;

/** The engine that a run samples with, and how many held-out prompts it is given at a time. */
export function samplerSize(
  settings: ResolvedSettings,
  { longestPrompt, maxPositions }: { readonly longestPrompt: number; readonly maxPositions: number },
) {
  const { batchSize, gradientAccumulationSteps } = settings;
  const { maxCompletionLength, groupSize } = sampling(settings);
  const isLearnt = learnsFromAnswers(settings);
  const heldOutBatch = isLearnt ? batchSize : HELD_OUT_BATCH;
  const answers = isLearnt ? batchSize * gradientAccumulationSteps * groupSize : 0;
  const most = Math.max(answers, heldOutBatch * heldOutSampling(settings).groupSize);
  return {
    /** Answers of an update. */
    answers,
    heldOutBatch,
    maxLength: Math.min(maxPositions, longestPrompt + maxCompletionLength),
    maxBatch: Math.min(MAX_BATCH, most),
  };
}

/** How held-out prompts are answered and graded. */
export interface HeldOutOptions extends Omit<GroupOptions, "label"> {
  readonly prompts: readonly Prompt[];
  /** Prompts that are answered at a time, after which the sums are given. */
  readonly batchSize: number;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

/**
 * Samples and grades answers to the held-out prompts that are left, a few at a time, and gives the sums after each of these
 * parts. Seeds are the same at every evaluation.
 *
 * @throws MosError `bad_option` where none can be graded, `cancelled` by the signal.
 */
export async function* evaluateAnswers(
  { prompts, batchSize, now, ...options }: HeldOutOptions,
  done: UnfinishedEvaluation,
): AsyncGenerator<UnfinishedEvaluation, void> {
  const { grader } = options;
  let sums = done;
  let problem: string | undefined;
  for (let from = sums.batches * batchSize; from < prompts.length; from += batchSize) {
    const started = now();
    const some = prompts.slice(from, from + batchSize);
    const groups = await sampleGroups(some, { ...options, label: `evaluation ${from}` });
    problem ??= grader.findProblem?.(groups);
    const { sum: loss, count } = grader.loss?.(groups) ?? { sum: 0, count: 0 };
    sums = {
      batches: sums.batches + 1,
      ...addLosses(sums, { ...NO_LOSS, loss, count, metrics: groupMetrics(groups, grader) }),
      seconds: sums.seconds + (now() - started) / 1000,
    };
    if (from + batchSize >= prompts.length && sums.metrics["reward"]?.count === 0)
      throw new MosError(
        "bad_option",
        `none of the answers to ${prompts.length} held-out prompts could be graded${problem === undefined ? "" : `: ${problem}`}; check the grader. Earlier checkpoints are kept`,
      );
    yield sums;
  }
}
