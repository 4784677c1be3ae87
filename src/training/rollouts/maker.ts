// A run's answers to its prompts, as the trainer takes them.
import type { Adapter } from "#adapters";
import { type EncodedExample, type Example, placeText } from "#data";
import { checkItem, type Grader } from "#graders";
import type { SessionOptions } from "#graph";
import { openLiveEngine } from "#inference";
import type { BaseModel } from "#models";
import { formatSource } from "#text";
import type { FinetuneSettings } from "../settings.ts";
import type { BatchMaker, TrainSettings } from "../trainer.ts";
import { type GradeTools, openGrading, type RewardFunction } from "./grader.ts";
import type { Prompt } from "./groups.ts";
import { parseResponseFormat } from "./response-format.ts";
import { evaluateRollouts, type RolloutSettings, rollouts } from "./stream.ts";

/** The prompts of examples that were encoded. */
function toPrompts(examples: readonly Example[], encoded: readonly EncodedExample[]): readonly Prompt[] {
  const items = new Map(
    examples.flatMap((one) => (one.kind === "prompt" ? [[placeText(one), one.item] as const] : [])),
  );
  return encoded.map((one) => ({ ...one, item: items.get(placeText(one)) ?? {} }));
}

/** Options of a run's rollouts. */
export interface RolloutRun extends Pick<GradeTools, "scoreModel"> {
  readonly base: BaseModel;
  readonly adapter: Adapter;
  readonly settings: TrainSettings & RolloutSettings & Pick<FinetuneSettings, "responseFormat">;
  readonly grader: Grader | RewardFunction;
  readonly train: { readonly examples: readonly Example[]; readonly encoded: readonly EncodedExample[] };
  readonly validation: RolloutRun["train"] | undefined;
  readonly session?: SessionOptions | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly now: () => number;
}

/** Answers that are decoded at a time at most: more are hardly faster. */
const MAX_BATCH = 32;

/** Opens what samples and grades the answers of a run. Dispose it. */
export async function openRollouts(run: RolloutRun): Promise<BatchMaker & AsyncDisposable> {
  const { base, adapter, settings, signal, now } = run;
  const { batchSize, gradientAccumulationSteps, groupSize, maxCompletionLength, responseFormat } = settings;
  const train = toPrompts(run.train.examples, run.train.encoded);
  const held = toPrompts(run.validation?.examples ?? [], run.validation?.encoded ?? []);
  // before anything is sampled
  if (typeof run.grader !== "function")
    for (const one of [...train, ...held]) checkItem(run.grader, one.item, placeText(one));
  const longest = [...train, ...held].reduce((most, { ids }) => Math.max(most, ids.length), 0);
  const maxSegment = longest + maxCompletionLength;
  const answers = batchSize * gradientAccumulationSteps * groupSize;
  const engine = await openLiveEngine({
    ...{ model: base, adapter, maxLength: maxSegment, maxBatch: Math.min(MAX_BATCH, answers) },
    session: run.session,
    grammar: formatSource(responseFormat && parseResponseFormat(responseFormat)),
  });
  const grading = openGrading(run.grader, run);
  const options = { settings, engine, reward: grading.reward, now };
  return {
    maxSegment,
    maxTokens: answers * maxSegment,
    microBatches: (start) => rollouts({ ...options, prompts: train, signal }, start),
    evaluate: (done) => evaluateRollouts({ ...options, prompts: held }, done),
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await grading[Symbol.asyncDispose]();
    },
  };
}
