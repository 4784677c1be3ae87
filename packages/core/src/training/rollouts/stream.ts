// A run's own answers, as the trainer takes them: those that it learns from, and those to held-out prompts. Each update samples
// with the adapter as it is then. Seeds have names, so that a run that goes on in the middle of an update samples the same
// answers again.

import type { SessionOptions } from "mixture-of-shards-graph";
import { MosError } from "#common";
import {
  type EncodedExample,
  type Example,
  joinSequences,
  makeBatch,
  packExamples,
  placeText,
  planEpoch,
} from "#data";
import { type LiveEngine, openLiveEngine } from "#inference";
import { canSharePrompts } from "#models";
import { formatSource, parseResponseFormat } from "#text";
import type { MicroBatch, MicroBatchSettings, Position } from "../micro-batches.ts";
import { totalsOf } from "../objectives/objective.ts";
import { sampling } from "../objectives/settings.ts";
import type { LoadedRun } from "../run/finetune.ts";
import { encodingOptions } from "../run/plan.ts";
import type { BatchMaker, HeldOutAnswers, TrainOptions } from "../trainer.ts";
import type { AnswerGrader, Group, Prompt } from "./grader.ts";
import { groupMetrics, sampleGroups, toExample } from "./groups.ts";
import { evaluateAnswers, heldOutPrompts, heldOutSampling, samplerSize } from "./held-out.ts";

/** The prompts of examples that were encoded. */
function toPrompts(examples: readonly Example[], encoded: readonly EncodedExample[]): readonly Prompt[] {
  const items = new Map(
    examples.flatMap((one) => (one.kind === "prompt" ? [[placeText(one), one.item] as const] : [])),
  );
  return encoded.map((one) => ({ ...one, item: items.get(placeText(one)) ?? {} }));
}

/** Opens what samples and grades the answers of a run: those that it learns, and by which it is evaluated. Undefined where it gives none. */
export async function openRollouts(
  { plan, base, adapter }: Pick<LoadedRun, "plan" | "base" | "adapter">,
  {
    signal,
    session,
    now,
  }: Pick<TrainOptions, "signal" | "now"> & { readonly session: SessionOptions | undefined },
) {
  const { settings, run: trainer, data, train, graders, memory } = plan;
  if (graders.heldOut === undefined) return undefined;
  const learnt = graders.learnt === undefined ? [] : toPrompts(data.train, train.encoded);
  const prompts = findHeldOut(plan);
  // before anything is sampled
  for (const one of learnt) graders.learnt?.checkPrompt(one);
  for (const one of prompts) graders.heldOut.checkPrompt(one);
  const longestPrompt = [...learnt, ...prompts].reduce((most, { ids }) => Math.max(most, ids.length), 0);
  const { maxPositions } = base.model.config;
  const repeatsPrompts = !canSharePrompts(base.model.config);
  const size = samplerSize(settings, { longestPrompt, maxPositions });
  const { answers, heldOutBatch: batchSize, maxLength: longest, maxBatch } = size;
  const { responseFormat, beta } = settings;
  const engine = await openLiveEngine({
    ...{ model: base, adapter, maxLength: longest, maxBatch, session, prepack: memory.prepacksSampler },
    grammar: formatSource(responseFormat && parseResponseFormat(responseFormat)),
  });
  const opening = { tokenizer: base.text.tokenizer, signal };
  const heldOutGrader = graders.heldOut.open(opening);
  const grader = graders.learnt === graders.heldOut ? heldOutGrader : graders.learnt?.open(opening);
  const maker: BatchMaker | undefined = grader && {
    maxSegment: longest,
    ...(repeatsPrompts ? {} : { reach: settings.maxLength }),
    maxTokens: answers * longest,
    microBatches: (start) => {
      const options = {
        settings: { ...sampling(settings), ...trainer, beta, repeatsPrompts },
        engine,
        grader,
      };
      return rollouts({ ...options, prompts: learnt, signal }, start);
    },
  };
  const heldOut: HeldOutAnswers = {
    parts: Math.ceil(prompts.length / batchSize),
    evaluate(done) {
      const options = { ...heldOutSampling(settings), engine, grader: heldOutGrader, now, signal };
      return evaluateAnswers({ ...options, prompts, batchSize, longest, seed: settings.seed }, done);
    },
  };
  return {
    maker,
    answers: prompts.length === 0 ? undefined : heldOut,
    async [Symbol.asyncDispose](): Promise<void> {
      await engine[Symbol.asyncDispose]();
      // both may be one
      for (const one of new Set([grader, heldOutGrader])) await one?.[Symbol.asyncDispose]();
    },
  };
}

/** Prompts that are held out. Throws `bad_data` where evaluateBy grades answers, and there are none. */
function findHeldOut(plan: LoadedRun["plan"]): readonly Prompt[] {
  const { settings, data } = plan;
  const { prompts: limit } = heldOutSampling(settings);
  const prompts = heldOutPrompts(data.validation, { ...encodingOptions(plan), limit });
  if (prompts.length > 0 || settings.evaluateBy === undefined) return prompts;
  throw new MosError(
    "bad_data",
    `none of the ${data.validation.length} held-out examples has a prompt of at most ${settings.maxLength} tokens, so that evaluateBy has no answers to grade; hold out others, or leave evaluateBy out`,
  );
}

// Micro-batches of answers

/** Settings of sampling. */
export interface RolloutSettings extends MicroBatchSettings {
  /** Updates of the whole run. */
  readonly steps: number;
  readonly groupSize: number;
  readonly maxCompletionLength: number;
  readonly temperature: number;
  /** With a weight of the divergence from the reference, answers have a gradient whatever their advantages. */
  readonly beta?: number | undefined;
  /** Each answer has a prompt of its own. */
  readonly repeatsPrompts?: boolean | undefined;
}

/** Options of a stream of rollouts. */
export interface RolloutOptions {
  readonly prompts: readonly Prompt[];
  readonly settings: RolloutSettings;
  readonly engine: Pick<LiveEngine, "sample">;
  readonly grader: AnswerGrader;
  readonly signal?: AbortSignal | undefined;
}

/** Updates from the start after which a run without any advantage ends. */
const PATIENCE = 8;

/**
 * Samples and grades the answers of each update, from a position on, without end.
 *
 * @throws MosError `no_signal` where no answer of the first updates has an advantage; `cancelled` by the signal.
 */
export async function* rollouts(options: RolloutOptions, start: Position): AsyncGenerator<MicroBatch, never> {
  const { settings, grader } = options;
  let skipped = start.microBatches;
  let isSilent = start.updates === 0;
  for (const { update, epoch, prompts } of planUpdates(options, start.updates)) {
    // the settings of a run have a grader, too, which is data
    const groups = await sampleGroups(prompts, { ...settings, ...options, label: `answer ${update}` });
    const examples = toExamples(groups, grader);
    isSilent &&= examples.every(isSettled);
    if (isSilent && update + 1 >= Math.min(PATIENCE, settings.steps))
      throw new MosError(
        "no_signal",
        `no signal: ${grader.explainSilence(groups, `in the first ${update + 1} updates`)}`,
      );
    const parts = layOut(examples, settings);
    for (const [i, part] of parts.entries()) {
      if (skipped-- > 0) continue;
      const metrics = i === 0 ? { metrics: groupMetrics(groups, grader) } : {};
      yield { ...part, ...metrics, epoch, index: update * MAX_PARTS + i, isLast: i === parts.length - 1 };
    }
    skipped = 0;
  }
  throw new Error("there is always a next update");
}

/** Numbers of micro-batches, which name their random numbers, are apart by this from update to update. */
const MAX_PARTS = 2 ** 16;

/** The prompts of each update, epoch after epoch, in an order that the seed decides. */
function* planUpdates({ prompts, settings }: RolloutOptions, from: number) {
  const { seed, batchSize, gradientAccumulationSteps } = settings;
  const plan = { seed, batchSize: batchSize * gradientAccumulationSteps, maxLength: 1, packing: false };
  const ones = prompts.map(() => 1);
  for (let epoch = 0, update = 0; ; epoch++)
    for (const rows of planEpoch(ones, { ...plan, epoch })) {
      if (update >= from) yield { update, epoch, prompts: rows.flat().map((i) => prompts[i] as Prompt) };
      update += 1;
    }
}

type Part = Pick<MicroBatch, "batch" | "isSkipped" | "update">;
/** Examples of the answers to one prompt. */
type Examples = readonly EncodedExample[];

function toExamples(groups: readonly Group<unknown>[], grader: AnswerGrader): readonly Examples[] {
  const advantages = grader.advantages(groups);
  return groups.map(({ prompt, answers }, g) =>
    answers.map((answer, k) => {
      const given = advantages[g]?.[k] ?? 0;
      const own = typeof given === "number" ? new Float32Array(answer.tokens.length).fill(given) : given;
      return toExample(prompt, answer, own);
    }),
  );
}

/** True where nothing can be learnt from any of the answers. */
const isSettled = (examples: Examples): boolean =>
  examples.every(({ columns }) => columns?.advantage?.every((x) => x === 0) === true);

/** Tokens that all answers to a prompt have first. The last one of the prompt predicts the first of each answer, and stands before each. */
const sharedTokens = ([first]: Examples): number =>
  Math.max(0, (first?.labels.findIndex((label) => label >= 0) ?? 0) - 1);

/** Rows of answers, each behind its prompt. */
function packApart(answers: readonly EncodedExample[], maxLength: number): readonly EncodedExample[][] {
  const lengths = answers.map(({ ids }) => ids.length);
  return packExamples(lengths, { maxLength }).map((row) => row.flatMap((i) => answers[i] ?? []));
}

/** Rows of answers, those to a prompt in turn, so that it stands once in each row that has some of them. */
function packTogether(groups: readonly Examples[], maxLength: number): readonly EncodedExample[][] {
  const rows: EncodedExample[][] = [];
  let room = 0;
  for (const answers of groups) {
    const shared = sharedTokens(answers);
    let behind: EncodedExample[] = []; // the answers to this prompt in the last row
    const close = (): void => {
      if (behind.length > 0) rows.at(-1)?.push(joinSequences(behind, shared));
      behind = [];
    };
    for (const answer of answers) {
      if (answer.ids.length - (behind.length > 0 ? shared : 0) > room) {
        close();
        rows.push([]);
        room = maxLength;
      }
      room -= answer.ids.length - (behind.length > 0 ? shared : 0);
      behind.push(answer);
    }
    close();
  }
  return rows;
}

/**
 * Rows of answers: one row is a micro-batch, so that one program serves them all. Answers to a prompt share it where that makes
 * fewer rows. Answers of groups without an advantage come last, in micro-batches that are counted and not computed, as their
 * gradient is 0.
 */
function layOut(
  examples: readonly Examples[],
  { maxLength, padToken, beta = 0, repeatsPrompts = false }: RolloutSettings,
): readonly Part[] {
  const update = totalsOf(examples.flat());
  return [false, true].flatMap((isSkipped) => {
    const chosen = examples.filter((own) => (beta === 0 && isSettled(own)) === isSkipped);
    const [apart, together] = [packApart(chosen.flat(), maxLength), packTogether(chosen, maxLength)];
    const isShared = !repeatsPrompts && together.length < apart.length;
    return (isShared ? together : apart).map((row) => {
      const batch = makeBatch([row], { length: maxLength, padToken });
      return { batch: { ...batch, examples: batch.sequences }, isSkipped, update };
    });
  });
}
