// A run's own answers, as the trainer takes them: those that it learns from, and those to held-out prompts.
import type { Adapter } from "#adapters";
import { MosError } from "#core";
import { type EncodedExample, type Example, placeText } from "#data";
import type { SessionOptions } from "#graph";
import { openLiveEngine } from "#inference";
import type { BaseModel } from "#models";
import { formatSource } from "#text";
import { sampling } from "../objectives/settings.ts";
import { encodingOptions } from "../run-data.ts";
import type { RunPlan } from "../run-plan.ts";
import type { BatchMaker, HeldOutAnswers } from "../trainer.ts";
import { evaluateAnswers, heldOutPrompts, heldOutSampling, samplerSize } from "./held-out.ts";
import type { Prompt } from "./judge.ts";
import { parseResponseFormat } from "./response-format.ts";
import { rollouts } from "./stream.ts";

/** The prompts of examples that were encoded. */
function toPrompts(examples: readonly Example[], encoded: readonly EncodedExample[]): readonly Prompt[] {
  const items = new Map(
    examples.flatMap((one) => (one.kind === "prompt" ? [[placeText(one), one.item] as const] : [])),
  );
  return encoded.map((one) => ({ ...one, item: items.get(placeText(one)) ?? {} }));
}

/** A run that may give answers. */
export interface RolloutRun {
  readonly plan: Pick<RunPlan, "settings" | "run" | "text" | "data" | "train" | "judges">;
  readonly base: BaseModel;
  readonly adapter: Adapter;
  readonly session?: SessionOptions | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly now: () => number;
}

/** The answers of a run. Dispose it. */
export interface Rollouts extends AsyncDisposable {
  /** What it learns, where it learns from answers. */
  readonly maker: BatchMaker | undefined;
  /** What it is judged by. */
  readonly answers: HeldOutAnswers | undefined;
}

/** Opens what samples and judges the answers of a run; undefined where it gives none. */
export async function openRollouts(run: RolloutRun): Promise<Rollouts | undefined> {
  const { base, adapter, signal, session } = run;
  const { settings, run: trainer, data, train, judges } = run.plan;
  if (judges.heldOut === undefined) return undefined;
  const learnt = judges.learnt === undefined ? [] : toPrompts(data.train, train.encoded);
  const prompts = findHeldOut(run);
  // before anything is sampled
  for (const one of learnt) judges.learnt?.checkPrompt(one);
  for (const one of prompts) judges.heldOut.checkPrompt(one);
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
  const heldOutJudge = judges.heldOut.open(opening);
  const judge = judges.learnt === judges.heldOut ? heldOutJudge : judges.learnt?.open(opening);
  const maker: BatchMaker | undefined = judge && {
    maxSegment: longest,
    reach: settings.maxLength,
    maxTokens: answers * longest,
    microBatches: (start) => {
      const options = { settings: { ...sampling(settings), ...trainer, beta }, engine, judge };
      return rollouts({ ...options, prompts: learnt, signal }, start);
    },
  };
  const heldOut: HeldOutAnswers = {
    parts: Math.ceil(prompts.length / batchSize),
    evaluate(done) {
      const options = { ...heldOutSampling(settings), engine, judge: heldOutJudge, now: run.now, signal };
      return evaluateAnswers({ ...options, prompts, batchSize, longest, seed: settings.seed }, done);
    },
  };
  return {
    maker,
    answers: prompts.length === 0 ? undefined : heldOut,
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      // both may be one
      for (const one of new Set([judge, heldOutJudge])) await one?.[Symbol.asyncDispose]();
    },
  };
}

/** Prompts that are held out. Throws `bad_data` where a grader judges answers, and there are none. */
function findHeldOut({ plan }: RolloutRun): readonly Prompt[] {
  const { settings, data } = plan;
  const { prompts: limit } = heldOutSampling(settings);
  const prompts = heldOutPrompts(data.validation, { ...encodingOptions(plan), limit });
  if (prompts.length > 0 || settings.evaluateBy === undefined) return prompts;
  throw new MosError(
    "bad_data",
    `none of the ${data.validation.length} held-out examples has a prompt of at most ${settings.maxLength} tokens, so that evaluateBy has no answers to grade; hold out others, or leave evaluateBy out`,
  );
}
