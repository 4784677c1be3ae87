// A run's own answers, as the trainer takes them: those that it learns from, and those to held-out prompts.

import type { SessionOptions } from "mixture-of-shards-graph";
import { MosError } from "#common";
import { type EncodedExample, type Example, placeText } from "#data";
import { openLiveEngine } from "#inference";
import { formatSource, parseResponseFormat } from "#text";
import { sampling } from "../objectives/settings.ts";
import { encodingOptions } from "../run/data.ts";
import type { LoadedRun } from "../run/load.ts";
import type { BatchMaker, HeldOutAnswers, TrainOptions } from "../trainer.ts";
import type { Prompt } from "./grader.ts";
import { evaluateAnswers, heldOutPrompts, heldOutSampling, samplerSize } from "./held-out.ts";
import { rollouts } from "./stream.ts";

/** The prompts of examples that were encoded. */
function toPrompts(examples: readonly Example[], encoded: readonly EncodedExample[]): readonly Prompt[] {
  const items = new Map(
    examples.flatMap((one) => (one.kind === "prompt" ? [[placeText(one), one.item] as const] : [])),
  );
  return encoded.map((one) => ({ ...one, item: items.get(placeText(one)) ?? {} }));
}

/** The answers of a run. Dispose it. */
export interface Rollouts extends AsyncDisposable {
  /** What it learns, where it learns from answers. */
  readonly maker: BatchMaker | undefined;
  /** What it is evaluated by. */
  readonly answers: HeldOutAnswers | undefined;
}

/** Opens what samples and grades the answers of a run; undefined where it gives none. */
export async function openRollouts(
  { plan, base, adapter }: Pick<LoadedRun, "plan" | "base" | "adapter">,
  {
    signal,
    session,
    now,
  }: Pick<TrainOptions, "signal" | "now"> & { readonly session: SessionOptions | undefined },
): Promise<Rollouts | undefined> {
  const { settings, run: trainer, data, train, graders } = plan;
  if (graders.heldOut === undefined) return undefined;
  const learnt = graders.learnt === undefined ? [] : toPrompts(data.train, train.encoded);
  const prompts = findHeldOut(plan);
  // before anything is sampled
  for (const one of learnt) graders.learnt?.checkPrompt(one);
  for (const one of prompts) graders.heldOut.checkPrompt(one);
  const longestPrompt = [...learnt, ...prompts].reduce((most, { ids }) => Math.max(most, ids.length), 0);
  const { maxPositions } = base.model.config;
  const size = samplerSize(settings, { longestPrompt, maxPositions });
  const { answers, heldOutBatch: batchSize, maxLength: longest, maxBatch } = size;
  const { responseFormat, beta } = settings;
  const engine = await openLiveEngine({
    ...{ model: base, adapter, maxLength: longest, maxBatch, session },
    grammar: formatSource(responseFormat && parseResponseFormat(responseFormat)),
  });
  const opening = { tokenizer: base.text.tokenizer, signal };
  const heldOutGrader = graders.heldOut.open(opening);
  const grader = graders.learnt === graders.heldOut ? heldOutGrader : graders.learnt?.open(opening);
  const maker: BatchMaker | undefined = grader && {
    maxSegment: longest,
    reach: settings.maxLength,
    maxTokens: answers * longest,
    microBatches: (start) => {
      const options = { settings: { ...sampling(settings), ...trainer, beta }, engine, grader };
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
    async [Symbol.asyncDispose]() {
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
