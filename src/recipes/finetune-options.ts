import { z } from "zod";
import { MosError } from "#core";
import type { EncodingRules } from "#data";
import { SCHEDULES } from "#training";

const whole = (least: number) => z.int().min(least);
const RULES = ["template", "chatml", "plain", "open-instruct"] as const satisfies readonly EncodingRules[];

/** Settings of a fine-tuning run, with their defaults. Every one has an option of the same name at `mos train`. */
export const finetuneSettings = z.strictObject({
  /** Passes over the training data; fractions are allowed. */
  epochs: z.number().positive().max(10_000).default(1),
  /** Updates to make, instead of `epochs`. */
  steps: whole(1).optional(),
  /** Rows of a batch. A packed row holds several examples. */
  batchSize: whole(1).max(4096).default(4),
  /** Batches whose gradients are added up for one update. */
  accumulate: whole(1).max(65_536).default(1),
  /** Tokens kept of an example, and of a row. */
  maxLength: whole(2).default(512),
  /** Several examples in one row, each attending to itself only. */
  packing: z.boolean().default(true),
  learningRate: z.number().positive().max(10).default(5e-4),
  schedule: z.enum(SCHEDULES as ["linear", "cosine", "constant"]).default("linear"),
  /** Updates of rising rate: a share of all below 1, else a number. */
  warmup: z.number().min(0).default(0.03),
  weightDecay: z.number().min(0).max(10).default(0),
  beta1: z.number().min(0).lt(1).default(0.9),
  beta2: z.number().min(0).lt(1).default(0.999),
  /** Limit of the gradient norm; 0 does not clip. */
  maxGradientNorm: z.number().min(0).default(1),
  /** How rows become tokens: the model's chat template, plain text, or open-instruct's rules. */
  rules: z.enum(RULES).default("template"),
  system: z.string().optional(),
  /** Held out of the training data when no file is given: a share below 1, else a number of examples. */
  heldOut: z.number().min(0).default(0.05),
  /** Train on the first examples of the file only. */
  examples: whole(1).optional(),
  /** Updates between evaluations; 0 evaluates before and after only. */
  evaluateEvery: whole(0).default(0),
  /** Updates between checkpoints; 0 saves at the end and when interrupted. */
  saveEvery: whole(0).default(100),
  seed: whole(0).default(0),
});

export type FinetuneSettings = Readonly<z.output<typeof finetuneSettings>>;
export type FinetuneSettingsInput = Readonly<z.input<typeof finetuneSettings>>;

/** Throws `bad_option` with the name of the setting, what was given, and what is accepted. */
export function parseFinetuneSettings(input: FinetuneSettingsInput): FinetuneSettings {
  const parsed = finetuneSettings.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const name = issue?.path.join(".") ?? "settings";
  const given = (input as Readonly<Record<string, unknown>>)[name];
  throw new MosError(
    "bad_option",
    `${name}: ${JSON.stringify(given) ?? "nothing"} is not usable (${issue?.message})`,
  );
}
