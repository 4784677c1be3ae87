import { z } from "zod";
import { anyNumber, belowOne, expected, oneOf, positiveNumber, wholeNumber, yesOrNo } from "#core";
import type { EncodingRules } from "#data";
import { SCHEDULES } from "#training";

const RULES = ["template", "chatml", "plain", "open-instruct"] as const satisfies readonly EncodingRules[];

/** Settings of a fine-tuning run, with their defaults. Every one has an option of the same name at `mos train`. */
export const finetuneSettings = z.strictObject({
  /** Passes over the training data; fractions are allowed. */
  epochs: positiveNumber(10_000).default(1),
  /** Updates to make, instead of `epochs`. */
  steps: wholeNumber(1).optional(),
  /** Rows of a batch. A packed row holds several examples. */
  batchSize: wholeNumber(1, 4096).default(4),
  /** Batches whose gradients are added up for one update. */
  accumulate: wholeNumber(1, 65_536).default(1),
  /** Tokens kept of an example, and of a row. */
  maxLength: wholeNumber(2).default(512),
  /** Several examples in one row, each attending to itself only. */
  packing: yesOrNo().default(true),
  learningRate: positiveNumber(10).default(2e-4),
  schedule: oneOf(SCHEDULES).default("linear"),
  /** Updates of rising rate: a share of all below 1, else a number. */
  warmup: anyNumber(0).default(0.03),
  weightDecay: anyNumber(0, 10).default(0),
  beta1: belowOne().default(0.9),
  beta2: belowOne().default(0.999),
  /** Limit of the gradient norm; 0 does not clip. */
  maxGradientNorm: anyNumber(0).default(1),
  /** How rows become tokens: the model's chat template, plain text, or open-instruct's rules. */
  rules: oneOf(RULES).default("template"),
  system: z.string(expected("a text")).optional(),
  /** Held out of the training data when no file is given: a share below 1, else a number of examples. */
  heldOut: anyNumber(0).default(0.05),
  /** Train on the first examples of the file only. */
  examples: wholeNumber(1).optional(),
  /** Updates between evaluations; 0 evaluates before and after only. */
  evaluateEvery: wholeNumber(0).default(0),
  /** Updates between checkpoints; 0 saves at the end and when interrupted. */
  saveEvery: wholeNumber(0).default(100),
  seed: wholeNumber(0).default(0),
});

/** Every setting of a run, defaults filled in. */
export type FinetuneSettings = Readonly<z.output<typeof finetuneSettings>>;
/** Settings as they are given; what is left out has its default. */
export type FinetuneSettingsInput = Readonly<z.input<typeof finetuneSettings>>;
