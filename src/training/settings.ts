// Every setting of a training run. Each is an option of `mos train` and an entry of docs/reference/options.md.
import {
  bytes,
  choice,
  flag,
  integer,
  jsonFile,
  number,
  type SettingInput,
  type SettingValues,
  text,
} from "#core";
import { dataColumns, PROMPT_FORMATS } from "#data";
import { baseDtype, computeDtype } from "#models";
import { templateSettings } from "#text";
import { OBJECTIVE_NAMES, objectiveSettings } from "./objectives/settings.ts";

/** Settings of the data. */
export const dataSettings = {
  /** Columns that hold the fields, such as prompt=article,completion=summary. Different pairs field=column, with fields of a format such as prompt, completion, messages or text. */
  dataColumns,
  /** Prompt format; template is the model's chat template. One of template, chatml, plain, open-instruct; default "template". */
  promptFormat: choice(PROMPT_FORMATS, {
    default: "template",
    help: "prompt format; template is the model's chat template",
  }),
  ...templateSettings,
  /** System message for conversations without one. A string. */
  system: text({ help: "system message for conversations without one" }),
  /** Train on the last answer of a conversation alone. True or false; default false. */
  lastAnswerOnly: flag({ help: "train on the last answer of a conversation alone" }),
  /** Maximum length of an example and of a packed row, in tokens. A whole number, 2 or more; default what the data need. */
  maxLength: integer({
    min: 2,
    defaultText: "what the data need",
    placeholder: "tokens",
    help: "maximum length of an example and of a packed row, in tokens",
  }),
  /** False: do not pack several examples into one sequence. True or false; default true. */
  packing: flag({
    default: true,
    help: "do not pack several examples into one sequence",
  }),
  /** Train on only the first n examples. A whole number, 1 or more; default all. */
  maxExamples: integer({ min: 1, defaultText: "all", help: "train on only the first n examples" }),
  /** Examples to keep for validation: a fraction below 1, or a number. A number, 0 or more; default 0.05 of 500 examples or more. */
  validationSplit: number({
    min: 0,
    defaultText: "0.05 of 500 examples or more",
    placeholder: "n",
    help: "examples to keep for validation: a fraction below 1, or a number",
  }),
};

/** The choice of what is minimised. */
export const objectiveChoice = {
  /** What is learnt from: the answers of examples (sft), pairs of answers (dpo, orpo, simpo), rated ones (kto), or those that are sampled, by a grader (grpo) or a teacher (distill). One of sft, dpo, kto, orpo, simpo, grpo, distill; default "sft". */
  objective: choice(OBJECTIVE_NAMES, {
    default: "sft",
    common: true,
    help: "what is learnt from: the answers of examples (sft), pairs of answers (dpo, orpo, simpo), rated ones (kto), or those that are sampled, by a grader (grpo) or a teacher (distill)",
  }),
};

/** Courses of the learning rate after its warm-up. */
const SCHEDULES = ["linear", "cosine", "constant"] as const;
/** One of these. */
export type ScheduleName = (typeof SCHEDULES)[number];

/** Settings of the duration and the learning rate. */
export const trainingSettings = {
  /** Passes over the data; may be fractional. A number above 0 and up to 10000; default by the data: 30 for 40 examples, 3 for 1,000, 1 from 2,000 on; fewer for long ones. */
  epochs: number({
    common: true,
    above: 0,
    max: 10_000,
    defaultText: "by the data: 30 for 40 examples, 3 for 1,000, 1 from 2,000 on; fewer for long ones",
    placeholder: "n",
    help: "passes over the data; may be fractional",
  }),
  /** Number of updates, instead of --epochs. A whole number from 1 to 10000000. */
  steps: integer({ min: 1, max: 10_000_000, help: "number of updates, instead of --epochs" }),
  /** Rows per batch; a packed row holds several examples. A whole number from 1 to 4096; default 1 to 4, by the data. */
  batchSize: integer({
    common: true,
    min: 1,
    max: 4096,
    defaultText: "1 to 4, by the data",
    placeholder: "rows",
    help: "rows per batch; a packed row holds several examples",
  }),
  /** Batches whose gradients are summed for each update. A whole number from 1 to 65536; default 1. */
  gradientAccumulationSteps: integer({
    min: 1,
    max: 65_536,
    default: 1,
    help: "batches whose gradients are summed for each update",
  }),
  /** Peak learning rate. A number above 0 and up to 10; default 0.002, half of it for dpo; less for bases wider than 640. */
  learningRate: number({
    common: true,
    above: 0,
    max: 10,
    defaultText: "0.002, half of it for dpo; less for bases wider than 640",
    placeholder: "rate",
    help: "peak learning rate",
  }),
  /** Learning rate schedule. One of linear, cosine, constant; default "linear". */
  schedule: choice(SCHEDULES, { default: "linear", help: "learning rate schedule" }),
  /** Warm-up updates: a fraction below 1, or a number. A number, 0 or more; default 0.03. */
  warmup: number({
    min: 0,
    default: 0.03,
    placeholder: "n",
    help: "warm-up updates: a fraction below 1, or a number",
  }),
  /** AdamW weight decay. A number from 0 to 10; default 0. */
  weightDecay: number({ min: 0, max: 10, default: 0, help: "AdamW weight decay" }),
  /** AdamW beta1. A number from 0 to below 1; default 0.9. */
  beta1: number({ min: 0, below: 1, default: 0.9, help: "AdamW beta1" }),
  /** AdamW beta2. A number from 0 to below 1; default 0.999. */
  beta2: number({ min: 0, below: 1, default: 0.999, help: "AdamW beta2" }),
  /** Clip gradients to this norm; 0 disables. A number, 0 or more; default 1. */
  maxGradientNorm: number({
    min: 0,
    default: 1,
    help: "clip gradients to this norm; 0 disables",
  }),
  /** Random seed of routing, initialisation, validation split, data order and dropout. A whole number, 0 or more; default 0. */
  seed: integer({
    min: 0,
    default: 0,
    help: "random seed of routing, initialisation, validation split, data order and dropout",
  }),
};

/** Intervals of evaluations and checkpoints. */
export const checkpointSettings = {
  /** Updates between evaluations; 0 evaluates only before and after training. A whole number, 0 or more; default a pass over the data; 0 for one pass, and with --steps. */
  evaluateEvery: integer({
    min: 0,
    defaultText: "a pass over the data; 0 for one pass, and with --steps",
    help: "updates between evaluations; 0 evaluates only before and after training",
  }),
  /** Stop after this many evaluations without a better one, and keep the best adapter; 0 keeps the last. A whole number, 0 or more; default two passes over the data; 0 with --steps; none with rewards. */
  earlyStoppingPatience: integer({
    min: 0,
    defaultText: "two passes over the data; 0 with --steps; none with rewards",
    help: "stop after this many evaluations without a better one, and keep the best adapter; 0 keeps the last",
  }),
  /** JSON file with a grader whose mean reward of answers to held-out prompts chooses the best adapter; item has the fields of their lines, and item.reference. An object: a grader, such as {"type": "string_check", …}. */
  evaluateBy: jsonFile({
    placeholder: "file",
    what: 'a grader, such as {"type": "string_check", …}',
    help: "JSON file with a grader whose mean reward of answers to held-out prompts chooses the best adapter; item has the fields of their lines, and item.reference",
  }),
  /** Updates between checkpoints; 0 saves only at the end or when interrupted. A whole number, 0 or more; default 100. */
  saveEvery: integer({
    min: 0,
    default: 100,
    help: "updates between checkpoints; 0 saves only at the end or when interrupted",
  }),
};

/** Settings of the base's format and of the run's memory. */
export const memorySettings = {
  /** Data type of the base weights in memory; stored keeps the types of the file. One of stored, float32, int8, int4, nf4; default "stored". */
  baseDtype,
  /** Data type of matrix products with the base weights; int8 is faster but rounds. One of float32, int8; default int8 for a base of at most 8 bits on a CPU, else float32. */
  computeDtype,
  /** Memory limit of the run; a run that needs more is refused. A whole number of bytes, 1 or more; default the free memory. */
  memoryLimit: bytes({
    min: 1,
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
