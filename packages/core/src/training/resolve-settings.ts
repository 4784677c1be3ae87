// Settings that a run's data decide where they are left out, so that few examples get as many updates as they need, and many no
// more than one pass. A resumed run has those that it began with.
import { MosError, omitUndefined, pick } from "#common";
import { countSteps, paddedTokens } from "./micro-batches.ts";
import { OBJECTIVES } from "./objectives/index.ts";
import { type ObjectiveSettings, sampling } from "./objectives/settings.ts";
import type { RunRecord } from "./run-record.ts";
import {
  type ChosenSettings,
  checkpointSettings,
  dataSettings,
  type FinetuneSettings,
  pickChosen,
  type ResolvedSettings,
  trainingSettings,
} from "./settings.ts";
import type { TrainSettings } from "./trainer.ts";

/** The batch of a run with many examples: more tokens at once are hardly faster. */
const FULL_BATCH = { batchSize: 4, maxLength: 512 } as const;

/**
 * Tokens of an update at most where rows are as long as the data need: with that the updates of a run are a measure of its work.
 * Batches of 256 rows of 4,096 tokens have as many.
 */
const MAX_UPDATE_TOKENS = 2 ** 20;

type BatchInput = Partial<Pick<FinetuneSettings, "batchSize" | "maxLength">>;

/** Examples to see in all, repeated ones counted: 1,000 examples three times. */
const SEEN_EXAMPLES = 3000;
/** Tokens to see in all: those of as many examples that fill a usual row. */
const SEEN_TOKENS = SEEN_EXAMPLES * FULL_BATCH.maxLength;
/** Passes after which few examples are learnt by heart (see docs/how-to/train.md). */
const MAX_EPOCHS = 30;
/** Updates that a run needs, even of a handful of examples. */
const MIN_UPDATES = 100;
/** Updates that batches are made small for, as long as rows hold the longest example. */
const MANY_UPDATES = 300;
/** Row lengths are multiples of it, so that similar data share compiled programs. */
const LENGTH_MULTIPLE = 16;
/** Passes without a lower validation loss after which a run stops: one may be chance. */
const PATIENCE = 2;

/** The loss of a pass, in nats per token, below which nothing is left to learn: a right token has a probability of 98 % then. */
const LEARNT_LOSS = 0.02;

/** Examples from which a part is held out without being asked for: fewer are all needed, and a part of them says little. */
const ENOUGH_TO_SPLIT = 500;
const SPLIT = 0.05;

/** The part of `examples` examples that is held out, as a fraction or a number. */
export function chooseValidationSplit(
  examples: number,
  { validationSplit, earlyStoppingPatience = 0, evaluateEvery = 0, evaluateBy }: FinetuneSettings,
): number {
  const isAsked = earlyStoppingPatience > 0 || evaluateEvery > 0 || evaluateBy !== undefined;
  const isWanted = isAsked || examples >= ENOUGH_TO_SPLIT;
  return validationSplit ?? (isWanted ? SPLIT : 0);
}

/** Passes over a number of examples with so many tokens. */
export function chooseEpochs(examples: number, tokens: number): number {
  const seen = Math.round(Math.min(MAX_EPOCHS, SEEN_EXAMPLES / examples, SEEN_TOKENS / tokens));
  return Math.max(1, seen, Math.ceil(MIN_UPDATES / examples));
}

const countTokens = (lengths: readonly number[]): number => lengths.reduce((sum, length) => sum + length, 0);

/** Lengths of examples in tokens, and settings that are given. */
export interface BatchFacts
  extends BatchInput,
    Pick<FinetuneSettings, "packing" | "gradientAccumulationSteps"> {
  readonly lengths: readonly number[];
  readonly epochs: number;
  /** Length of the longest example, those of the validation part included. */
  readonly longest: number;
  /** The longest row that model and memory allow. */
  readonly limit: number;
}

/** Rows as long as the data need, and as few of them in an update as make many updates. */
export function chooseBatch({
  lengths,
  epochs,
  packing,
  longest,
  limit,
  gradientAccumulationSteps,
  ...given
}: BatchFacts): Pick<ChosenSettings, "batchSize" | "maxLength"> {
  const tokens = countTokens(lengths);
  const updates = MANY_UPDATES * gradientAccumulationSteps;
  const roundUp = (length: number): number => Math.ceil(length / LENGTH_MULTIPLE) * LENGTH_MULTIPLE;
  const packed = packing ? Math.min(FULL_BATCH.maxLength, tokens, (tokens * epochs) / updates) : 0;
  const maxLength = given.maxLength ?? Math.min(limit, roundUp(Math.max(longest, packed)));
  const rows = packing ? tokens / maxLength : lengths.length;
  const room = MAX_UPDATE_TOKENS / (gradientAccumulationSteps * maxLength);
  const batchSize = Math.floor(Math.min(FULL_BATCH.batchSize, (rows * epochs) / updates, room));
  return { batchSize: given.batchSize ?? Math.max(1, batchSize), maxLength };
}

/** The largest update to expect of settings whose data are not known, and how large one should be at most. */
export const expectedUpdate = ({
  batchSize = FULL_BATCH.batchSize,
  maxLength = FULL_BATCH.maxLength,
  gradientAccumulationSteps,
}: FinetuneSettings) => ({
  batchSize,
  maxLength,
  tokens: batchSize * gradientAccumulationSteps * maxLength,
  maxTokens: MAX_UPDATE_TOKENS,
});

/** The longest row for a model with so many positions. */
export function longestRow(
  { maxLength, batchSize = 1, gradientAccumulationSteps }: FinetuneSettings,
  maxPositions: number,
): number {
  const rows = batchSize * gradientAccumulationSteps;
  return (
    maxLength ?? Math.min(maxPositions, Math.max(FULL_BATCH.maxLength, Math.floor(MAX_UPDATE_TOKENS / rows)))
  );
}

/** Settings of a run of which the base is known. @inline */
export type OpenSettings = FinetuneSettings & Pick<ChosenSettings, "learningRate">;

/** A resumed run has those that it began with where they are left out. */
export function continueSettings(
  settings: FinetuneSettings,
  recorded: Pick<RunRecord, "computeDtype" | "settings"> | undefined,
): FinetuneSettings {
  if (recorded === undefined) return settings;
  const { computeDtype = recorded.computeDtype } = settings;
  const isLengthOpen = settings.epochs === undefined && settings.steps === undefined;
  const { epochs, steps } = isLengthOpen ? recorded.settings : settings;
  // who asks for more passes than were planned wants them made
  const isLonger = (steps ?? 0) > recorded.settings.steps || (epochs ?? 0) > (recorded.settings.epochs ?? 0);
  const { targetLoss = isLonger ? 0 : recorded.settings.targetLoss } = settings;
  return {
    ...settings,
    ...pickChosen({ ...recorded.settings, ...omitUndefined(settings) }),
    targetLoss,
    epochs,
    steps,
    computeDtype,
  };
}

/** Facts about a run that decide its settings. */
export interface RunDataFacts
  extends Pick<BatchFacts, "lengths" | "longest" | "limit">,
    Pick<TrainSettings, "dropout" | "padToken"> {
  /** Passes over the data that the examples are; 1. */
  readonly copies?: number;
  /** True if there are validation examples. */
  readonly evaluates: boolean;
}

/** What an objective has, its trainer does not know. */
type TrainerSettings = Omit<ResolvedSettings, keyof ObjectiveSettings>;

/** Settings that the trainer takes over. */
const trainerSettings = {
  ...trainingSettings,
  ...checkpointSettings,
  maxLength: dataSettings.maxLength,
  packing: dataSettings.packing,
};

/** All settings of a run, and those of its trainer. Throws `bad_option` for a warm-up or a patience that does not fit. */
export function resolveSettings(
  settings: OpenSettings,
  { lengths, longest, limit, evaluates, copies = 1, ...facts }: RunDataFacts,
): { readonly settings: ResolvedSettings; readonly run: TrainSettings } {
  const { data } = OBJECTIVES[settings.objective];
  if (data === "prompts") return resolvePrompts(settings, { lengths, longest, limit, evaluates, ...facts });
  // batches are those of a run whose length is left to the data, so that half of its passes is half of its updates
  const usual = chooseEpochs(lengths.length / copies, countTokens(lengths) / copies);
  const planned = settings.epochs ?? usual;
  const batch = chooseBatch({ ...settings, lengths, longest, limit, epochs: usual / copies });
  const layout = { ...settings, ...batch, ...facts };
  const steps = settings.steps ?? countSteps(lengths, planned / copies, layout);
  const isGiven = settings.steps !== undefined && settings.epochs === undefined;
  const epochs = isGiven
    ? (copies * steps * settings.gradientAccumulationSteps) / paddedTokens(lengths, layout).batches
    : planned;
  const isOpen =
    settings.objective === "sft" && settings.steps === undefined && settings.epochs === undefined;
  const { targetLoss = isOpen ? LEARNT_LOSS : 0 } = settings;
  const resolved = {
    ...layout,
    ...chooseStopping(settings, { evaluates, steps, epochs }),
    epochs,
    targetLoss,
  };
  return withTrainer(resolved, { ...facts, steps });
}

/** These settings, and those of the trainer. Throws `bad_option` for a warm-up that does not fit. */
function withTrainer(
  settings: ResolvedSettings,
  facts: Pick<TrainSettings, "dropout" | "padToken" | "steps">,
): ReturnType<typeof resolveSettings> {
  const { steps } = facts;
  const warmup = settings.warmup < 1 ? Math.round(settings.warmup * steps) : settings.warmup;
  assertWarmup(warmup, steps);
  const trainer = pick(trainerSettings, settings) as TrainerSettings;
  return { settings, run: { ...trainer, ...facts, warmup } };
}

/** Prompts of an update, and updates, where nothing else is asked for. */
const PROMPTS = { batchSize: 4, updates: 100, between: 10 } as const;

/** The same of a run that learns from its own answers: rows hold answers, batches are of prompts. */
function resolvePrompts(
  settings: OpenSettings,
  { lengths, longest, limit, evaluates, ...facts }: RunDataFacts,
): ReturnType<typeof resolveSettings> {
  const { groupSize, maxCompletionLength } = sampling(settings);
  const batchSize = settings.batchSize ?? Math.min(PROMPTS.batchSize, lengths.length);
  const prompts = batchSize * settings.gradientAccumulationSteps;
  const answer = longest + maxCompletionLength;
  if (answer > limit)
    throw new MosError(
      "bad_option",
      `prompts have up to ${longest} tokens and answers up to ${maxCompletionLength}, but a row holds ${limit}; lower maxCompletionLength`,
    );
  const room = Math.min(
    limit,
    Math.max(answer, Math.min(FULL_BATCH.maxLength, prompts * groupSize * answer)),
  );
  const maxLength =
    settings.maxLength ?? Math.min(limit, Math.ceil(room / LENGTH_MULTIPLE) * LENGTH_MULTIPLE);
  const pass = Math.ceil(lengths.length / prompts);
  const epochs = settings.epochs ?? (settings.steps ?? Math.max(PROMPTS.updates, pass)) / pass;
  const steps = settings.steps ?? Math.max(1, Math.round(epochs * pass));
  const evaluateEvery = settings.evaluateEvery ?? (evaluates ? Math.max(pass, PROMPTS.between) : 0);
  const usual = evaluates ? unendingPatience(steps, evaluateEvery) : 0;
  const { earlyStoppingPatience = usual } = settings;
  if ((settings.targetLoss ?? 0) > 0)
    throw new MosError("bad_option", `targetLoss is no measure of ${settings.objective}; leave it out`);
  const chosen = {
    ...{ batchSize, maxLength, epochs, packing: true },
    ...{ evaluateEvery, earlyStoppingPatience, targetLoss: 0 },
  };
  return withTrainer({ ...settings, ...facts, ...chosen }, { ...facts, steps });
}

/** Rewards of answers go up and down: a run does not end by them, but keeps its best adapter. */
const unendingPatience = (steps: number, evaluateEvery: number): number =>
  evaluateEvery > 0 ? Math.ceil(steps / evaluateEvery) + 1 : 0;

/** Evaluations by rewards in a run of one pass, or of a given number of updates. */
const REWARDS = 10;

/** After each of several passes; a run of a given number of updates makes them, and is evaluated before and after. */
function chooseStopping(
  { steps: given, evaluateEvery, earlyStoppingPatience, evaluateBy }: FinetuneSettings,
  {
    evaluates,
    steps,
    epochs,
  }: Pick<RunDataFacts, "evaluates"> & Pick<ChosenSettings, "epochs"> & { steps: number },
): Pick<ChosenSettings, "evaluateEvery" | "earlyStoppingPatience"> {
  const patience = earlyStoppingPatience ?? 0;
  const pass = Math.ceil(steps / epochs);
  const isOpen = evaluates && epochs > 1 && (given === undefined || patience > 0);
  const closed = evaluateBy === undefined ? 0 : Math.ceil(steps / REWARDS);
  const every = evaluateEvery ?? (isOpen ? pass : closed);
  if (patience > 0 && (!evaluates || every === 0))
    throw new MosError(
      "bad_option",
      "earlyStoppingPatience needs validation examples, and evaluateEvery above 0 to measure the loss on them",
    );
  const usual = evaluates && every > 0 && given === undefined ? Math.ceil((PATIENCE * pass) / every) : 0;
  const chosen = evaluateBy === undefined ? usual : unendingPatience(steps, every);
  return { evaluateEvery: every, earlyStoppingPatience: earlyStoppingPatience ?? chosen };
}

export function assertWarmup(warmup: number, steps: number): void {
  if (warmup > steps)
    throw new MosError(
      "bad_option",
      `warmup of ${warmup} updates is more than the ${steps} updates of the run`,
    );
}
