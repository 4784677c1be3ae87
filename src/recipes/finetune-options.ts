import { z } from "zod";
import { MosError } from "#core";
import type { EncodingRules } from "#data";
import { SCHEDULES } from "#training";

/** The message of a setting that cannot be used ends with what would do. */
const expected = (what: string) => ({ error: `give ${what}` });

const whole = (least: number, most = Number.MAX_SAFE_INTEGER) => {
  const range = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `from ${least} to ${most}`;
  const message = expected(`a whole number, ${range}`);
  return z.int(message).min(least, message).max(most, message);
};
const positive = (most: number) => {
  const message = expected(`a number above 0 and up to ${most}`);
  return z.number(message).positive(message).max(most, message);
};
const notNegative = (most = Number.MAX_VALUE) => {
  const message = expected(most === Number.MAX_VALUE ? "a number, 0 or more" : `a number from 0 to ${most}`);
  return z.number(message).min(0, message).max(most, message);
};
const decay = () => {
  const message = expected("a number from 0 to below 1");
  return z.number(message).min(0, message).lt(1, message);
};
const yesOrNo = () => z.boolean(expected("true or false"));
const oneOf = <const T extends readonly [string, ...string[]]>(names: T) =>
  z.enum(names, expected(`one of ${names.join(", ")}`));

const RULES = ["template", "chatml", "plain", "open-instruct"] as const satisfies readonly EncodingRules[];

/** Settings of a fine-tuning run, with their defaults. Every one has an option of the same name at `mos train`. */
export const finetuneSettings = z.strictObject({
  /** Passes over the training data; fractions are allowed. */
  epochs: positive(10_000).default(1),
  /** Updates to make, instead of `epochs`. */
  steps: whole(1).optional(),
  /** Rows of a batch. A packed row holds several examples. */
  batchSize: whole(1, 4096).default(4),
  /** Batches whose gradients are added up for one update. */
  accumulate: whole(1, 65_536).default(1),
  /** Tokens kept of an example, and of a row. */
  maxLength: whole(2).default(512),
  /** Several examples in one row, each attending to itself only. */
  packing: yesOrNo().default(true),
  learningRate: positive(10).default(2e-4),
  schedule: oneOf(SCHEDULES as ["linear", "cosine", "constant"]).default("linear"),
  /** Updates of rising rate: a share of all below 1, else a number. */
  warmup: notNegative().default(0.03),
  weightDecay: notNegative(10).default(0),
  beta1: decay().default(0.9),
  beta2: decay().default(0.999),
  /** Limit of the gradient norm; 0 does not clip. */
  maxGradientNorm: notNegative().default(1),
  /** How rows become tokens: the model's chat template, plain text, or open-instruct's rules. */
  rules: oneOf(RULES).default("template"),
  system: z.string(expected("a text")).optional(),
  /** Held out of the training data when no file is given: a share below 1, else a number of examples. */
  heldOut: notNegative().default(0.05),
  /** Train on the first examples of the file only. */
  examples: whole(1).optional(),
  /** Updates between evaluations; 0 evaluates before and after only. */
  evaluateEvery: whole(0).default(0),
  /** Updates between checkpoints; 0 saves at the end and when interrupted. */
  saveEvery: whole(0).default(100),
  seed: whole(0).default(0),
});

/** Every setting of a run, defaults filled in. */
export type FinetuneSettings = Readonly<z.output<typeof finetuneSettings>>;
/** Settings as they are given; what is left out has its default. */
export type FinetuneSettingsInput = Readonly<z.input<typeof finetuneSettings>>;

/** Throws `bad_option` with the name of the setting, what was given, and what is accepted. */
export function parseFinetuneSettings(input: FinetuneSettingsInput): FinetuneSettings {
  const parsed = finetuneSettings.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue?.code === "unrecognized_keys")
    throw new MosError(
      "bad_option",
      `${issue.keys.join(", ")}: there is no such setting; there are ${Object.keys(finetuneSettings.shape).join(", ")}`,
    );
  const name = issue?.path.join(".") ?? "settings";
  const given = Object.entries(input).find(([key]) => key === name)?.[1];
  const written = typeof given === "number" ? String(given) : (JSON.stringify(given) ?? "nothing");
  throw new MosError("bad_option", `${name}: ${written} is not usable; ${issue?.message}`);
}
