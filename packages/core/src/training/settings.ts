// Every setting of a training run. Each is an option of `mos train` and an entry of docs/reference/options.md.
import { z } from "zod";
import { bytes, flag, type SettingInput, type SettingValues, setting } from "#common";
import { dataColumns, PROMPT_FORMATS } from "#data";
import { baseDtype, computeDtype } from "#models";
import { templateSettings } from "#text";
import { OBJECTIVE_NAMES, objectiveSettings } from "./objectives/settings.ts";

/** Settings of the data. */
export const dataSettings = {
  dataColumns,
  promptFormat: setting(z.enum(PROMPT_FORMATS), {
    default: "template",
    help: "prompt format; template is the model's chat template",
  }),
  ...templateSettings,
  system: setting(z.string(), { help: "system message for conversations without one" }),
  lastAnswerOnly: flag({ help: "train on the last answer of a conversation alone" }),
  maxLength: setting(z.int().min(2), {
    defaultText: "what the data need",
    placeholder: "tokens",
    label: "Maximum length",
    help: "maximum length of an example and of a packed row, in tokens",
  }),
  reword: setting(z.int().min(0).max(100), {
    defaultText: "20 for up to 500 short questions to a base of 50 million parameters or more",
    placeholder: "n",
    help: "other wordings of each question, made by rule, to learn its answer by; 0 for none",
  }),
  keep: setting(z.number().min(0).max(10), {
    common: true,
    defaultText: "0.5 for several passes over conversations, with a base of 50 million parameters or more",
    placeholder: "share",
    help: "answers of the base to general prompts that are kept as likely as they were, for each example; 0 for none",
  }),
  packing: flag({
    default: true,
    help: "do not pack several examples into one sequence",
  }),
  maxExamples: setting(z.int().min(1), { defaultText: "all", help: "train on only the first n examples" }),
  validationSplit: setting(z.number().min(0), {
    defaultText: "0.05 of 500 examples or more",
    placeholder: "n",
    help: "examples to keep for validation: a fraction below 1, or a number",
  }),
};

/** The objective of training. */
export const objectiveChoice = {
  objective: setting(z.enum(OBJECTIVE_NAMES), {
    default: "sft",
    common: true,
    help: "training objective: sft; dpo, orpo or simpo for preference pairs; kto for rated answers; grpo for sampled answers with a grader; distill for sampled answers with a teacher; sdft for answers with hints",
  }),
};

/** Courses of the learning rate after its warm-up. */
const SCHEDULES = ["linear", "cosine", "constant"] as const;
/** One of these. */
export type ScheduleName = (typeof SCHEDULES)[number];

/** Settings of the duration and the learning rate. */
export const trainingSettings = {
  epochs: setting(z.number().gt(0).max(10_000), {
    common: true,
    defaultText: "by the data: 30 for 40 examples, 3 for 1,000, 1 from 2,000 on; fewer for long ones",
    placeholder: "n",
    help: "passes over the data; may be fractional",
  }),
  steps: setting(z.int().min(1).max(10_000_000), { help: "number of updates, instead of --epochs" }),
  batchSize: setting(z.int().min(1).max(4096), {
    common: true,
    defaultText: "1 to 4, by the data",
    placeholder: "rows",
    help: "rows per batch; a packed row holds several examples",
  }),
  gradientAccumulationSteps: setting(z.int().min(1).max(65_536), {
    default: 1,
    help: "batches whose gradients are summed for each update",
  }),
  learningRate: setting(z.number().gt(0).max(10), {
    common: true,
    defaultText: "0.002, half of it for dpo; less for bases wider than 640",
    placeholder: "rate",
    help: "peak learning rate",
  }),
  schedule: setting(z.enum(SCHEDULES), { default: "linear", help: "learning rate schedule" }),
  warmup: setting(z.number().min(0), {
    default: 0.03,
    placeholder: "n",
    help: "warm-up updates: a fraction below 1, or a number",
  }),
  weightDecay: setting(z.number().min(0).max(10), { default: 0, help: "AdamW weight decay" }),
  beta1: setting(z.number().min(0).lt(1), { default: 0.9, help: "AdamW beta1" }),
  beta2: setting(z.number().min(0).lt(1), { default: 0.999, help: "AdamW beta2" }),
  maxGradientNorm: setting(z.number().min(0), {
    default: 1,
    help: "clip gradients to this norm; 0 disables",
  }),
  seed: setting(z.int().min(0), {
    default: 0,
    help: "random seed of routing, initialisation, validation split, data order and dropout",
  }),
};

/** Intervals of evaluations and checkpoints. */
export const checkpointSettings = {
  evaluateEvery: setting(z.int().min(0), {
    defaultText: "a pass over the data; 0 for one pass, and with --steps",
    help: "updates between evaluations; 0 evaluates only before and after training",
  }),
  earlyStoppingPatience: setting(z.int().min(0), {
    defaultText: "two passes over the data; 0 with --steps; none with rewards",
    help: "stop after this many evaluations without a better one, and keep the best adapter; 0 keeps the last",
  }),
  targetLoss: setting(z.number().min(0), {
    defaultText: "0.02 where the data decide the passes; 0 otherwise",
    placeholder: "loss",
    help: "end the run early once the training loss of a whole pass is lower, with a learning rate that falls to 0; 0 makes all updates",
  }),
  evaluateBy: setting(
    z.record(z.string(), z.unknown()).describe('a grader, such as {"type": "string_check", …}'),
    {
      file: true,
      placeholder: "file",
      help: "JSON file with a grader, whose mean reward on held-out prompts selects the best adapter; item holds the fields of a line, and item.reference",
    },
  ),
  saveEvery: setting(z.int().min(0), {
    default: 100,
    help: "updates between checkpoints; 0 saves only at the end or when interrupted",
  }),
};

/** Settings of the base's format and of the run's memory. */
export const memorySettings = {
  baseDtype,
  computeDtype,
  memoryLimit: setting(bytes(1), {
    defaultText: "the free memory",
    help: "memory limit of the run; a run that needs more is refused",
  }),
};

/** All settings of a run. */
export const finetuneSettings = {
  ...dataSettings,
  ...objectiveChoice,
  ...objectiveSettings,
  ...trainingSettings,
  ...checkpointSettings,
  ...memorySettings,
};
/** Every setting of a run, defaults filled in. */
export type FinetuneSettings = SettingValues<typeof finetuneSettings>;
/** Settings as given; missing ones have their defaults. */
export type FinetuneSettingsInput = SettingInput<typeof finetuneSettings & typeof templateSettings>;
/** Settings that base and data decide where they are left out. */
const CHOSEN_SETTINGS = [
  "epochs",
  "batchSize",
  "maxLength",
  "learningRate",
  "evaluateEvery",
  "earlyStoppingPatience",
  "targetLoss",
] as const;
/** Their values; for a run of a given number of updates, `epochs` are the passes that it makes. @inline */
export type ChosenSettings = Readonly<Record<(typeof CHOSEN_SETTINGS)[number], number>>;
/** Every setting of a run whose base and data are known. */
export type ResolvedSettings = FinetuneSettings & ChosenSettings;

/** These among other values. */
export const pickChosen = (settings: ChosenSettings): ChosenSettings =>
  Object.fromEntries(CHOSEN_SETTINGS.map((name) => [name, settings[name]])) as ChosenSettings;

/**
 * The peak learning rate of a run that is given none. Up to a width of 640 docs/explanation/mos.md says why. The best rate is known
 * to fall with the width; none wider was measured here. At 4,096 this is 0.00031, where the code of MoS's authors has 2e-4.
 */
export const usualLearningRate = (hiddenSize: number): number =>
  Number((0.002 * Math.min(1, 640 / hiddenSize)).toPrecision(2));
