// Every setting of a training run. Each is an option of `mos train` and a row of docs/5-training.md.
import { bytes, choice, flag, integer, number, type SettingInput, type SettingValues, text } from "#core";
import { dataColumns, PROMPT_FORMATS } from "#data";
import { baseDtype, compute } from "#models";
import { templateSettings } from "#text";
import { SCHEDULES } from "./optimizer.ts";

/** What becomes of the data. */
export const dataSettings = {
  dataColumns,
  promptFormat: choice(PROMPT_FORMATS, {
    default: "template",
    formerly: "rules",
    help: "how an example becomes tokens; template is the model's chat template",
  }),
  ...templateSettings,
  system: text({ help: "system message for conversations that have none" }),
  maxLength: integer({
    min: 2,
    default: 512,
    placeholder: "tokens",
    help: "tokens kept of an example, and tokens in a row of a batch",
  }),
  packing: flag({
    default: true,
    help: "put one example in a row, instead of several that attend only to themselves",
  }),
  examples: integer({ min: 1, defaultText: "all", help: "use only the first examples of the data" }),
  heldOut: number({
    min: 0,
    default: 0.05,
    placeholder: "n",
    help: "examples held out to measure the loss on: a share below 1, or a number of them",
  }),
};

/** How long and how fast is trained. */
export const trainingSettings = {
  epochs: number({
    above: 0,
    max: 10_000,
    default: 1,
    placeholder: "n",
    help: "passes over the data; fractions are allowed",
  }),
  steps: integer({ min: 1, help: "updates to make, instead of epochs" }),
  batchSize: integer({ min: 1, max: 4096, default: 4, placeholder: "rows", help: "rows of a batch" }),
  accumulate: integer({
    min: 1,
    max: 65_536,
    default: 1,
    help: "batches whose gradients are summed for one update",
  }),
  learningRate: number({
    above: 0,
    max: 10,
    defaultText: "0.002, less where the base is wider than 640",
    placeholder: "rate",
    help: "peak learning rate",
  }),
  schedule: choice(SCHEDULES, { default: "linear", help: "how the learning rate decays" }),
  warmup: number({
    min: 0,
    default: 0.03,
    placeholder: "n",
    help: "updates of warm-up: a share of all below 1, or a number of them",
  }),
  weightDecay: number({ min: 0, max: 10, default: 0, help: "AdamW's weight decay" }),
  beta1: number({ min: 0, below: 1, default: 0.9, help: "AdamW's decay of the mean" }),
  beta2: number({ min: 0, below: 1, default: 0.999, help: "AdamW's decay of the mean square" }),
  maxGradientNorm: number({
    min: 0,
    default: 1,
    help: "gradients with a larger norm are scaled down to it; 0 switches this off",
  }),
  seed: integer({
    min: 0,
    default: 0,
    help: "decides routing, initial values, the held-out part, order and dropout",
  }),
};

/** When the loss is measured and the state saved. */
export const checkpointSettings = {
  evaluateEvery: integer({
    min: 0,
    default: 0,
    help: "updates between measurements; 0 measures only before and after",
  }),
  earlyStoppingPatience: integer({
    min: 1,
    defaultText: "never",
    help: "end after this many measurements in a row without a lower loss, and keep the best adapter",
  }),
  saveEvery: integer({
    min: 0,
    default: 100,
    help: "updates between checkpoints; 0 saves only at the end and when stopped",
  }),
};

/** How the base is kept and computed, and what the run may take. */
export const memorySettings = {
  baseDtype,
  compute,
  memoryLimit: bytes({
    min: 1,
    defaultText: "what is free",
    help: "memory that the run may take; one that needs more is refused",
  }),
};

/** All settings of a run. */
export const finetuneSettings = {
  ...dataSettings,
  ...trainingSettings,
  ...checkpointSettings,
  ...memorySettings,
};
/** Every setting of a run, defaults filled in. */
export type FinetuneSettings = SettingValues<typeof finetuneSettings>;
/** Settings as given; missing ones have their defaults. */
export type FinetuneSettingsInput = SettingInput<typeof finetuneSettings>;

/**
 * The peak learning rate of a run that is given none. Up to a width of 640 docs/3-adapters.md says why. The best rate is known
 * to fall with the width; none wider was measured here. At 4,096 this is 0.00031, where the code of MoS's authors has 2e-4.
 */
export const usualLearningRate = (hiddenSize: number): number =>
  Number((0.002 * Math.min(1, 640 / hiddenSize)).toPrecision(2));
