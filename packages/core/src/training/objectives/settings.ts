// Settings of objectives. None has a default here: each objective has its own, so that a setting that is given to an
// objective without it is noticed.
import { z } from "zod";
import { omitUndefined, pick, type SettingValues, setting } from "#common";
import { REWARD_SCALES } from "../rollouts/advantages.ts";

/** Settings of objectives that learn from given answers. */
export const preferenceSettings = {
  beta: setting(z.number().min(0), {
    defaultText: "0.1; simpo 2, grpo 0",
    help: "strength of the KL penalty; for simpo and orpo, the scale of the preference loss",
  }),
  dpoLoss: setting(z.enum(["sigmoid", "robust", "ipo", "hinge", "apo_zero", "sigmoid_norm"]), {
    defaultText: "sigmoid",
    help: "loss of dpo; robust allows for mislabelled pairs, ipo and sigmoid_norm average over tokens",
  }),
  labelSmoothing: setting(z.number().min(0).lt(0.5), {
    defaultText: "0.1",
    placeholder: "share",
    help: "expected fraction of mislabelled pairs, for the loss robust",
  }),
  sftWeight: setting(z.number().min(0), {
    defaultText: "dpo 1, simpo 0",
    help: "weight of the SFT loss on chosen answers; at 0 their likelihood may fall",
  }),
  gamma: setting(z.number().min(0), {
    defaultText: "0.5",
    help: "target reward margin between chosen and rejected answers",
  }),
  desirableWeight: setting(z.number().gt(0), {
    defaultText: "1",
    help: "weight of desirable answers",
  }),
  undesirableWeight: setting(z.number().gt(0), {
    defaultText: "1",
    help: "weight of undesirable answers",
  }),
};

/** Settings of sampling answers. */
export const rolloutSettings = {
  grpoLoss: setting(z.enum(["dapo", "grpo", "dr_grpo", "bnpo"]), {
    defaultText: "dapo",
    help: "how the loss is averaged: over the tokens of an update (dapo), answers (grpo), answers by a constant length (dr_grpo), or the tokens of a batch (bnpo)",
  }),
  importanceLevel: setting(z.enum(["token", "sequence"]), {
    defaultText: "token",
    help: "level of the importance ratio: each token, or the mean over each sequence",
  }),
  epsilon: setting(z.number().gt(0).lt(1), {
    defaultText: "0.2",
    help: "lower clip range of the probability ratio",
  }),
  epsilonHigh: setting(z.number().gt(0), {
    defaultText: "0.2",
    help: "upper clip range of the probability ratio",
  }),
  groupSize: setting(z.int().min(2).max(256), {
    defaultText: "8",
    help: "answers sampled per prompt",
  }),
  evaluatePrompts: setting(z.int().min(1), {
    defaultText: "64; grpo and distill all",
    help: "maximum number of held-out prompts per evaluation",
  }),
  evaluateSamples: setting(z.int().min(1).max(256), {
    defaultText: "1; grpo and distill --group-size",
    help: "answers sampled per held-out prompt; a single one is greedy unless --temperature is set",
  }),
  temperature: setting(z.number().gt(0), {
    defaultText: "1",
    placeholder: "t",
    help: "sampling temperature; values other than 1 make training off-policy",
  }),
  scaleRewards: setting(z.enum(REWARD_SCALES), {
    defaultText: "group",
    help: "how advantages are scaled: by the standard deviation of the group, that of the batch, or not",
  }),
  grader: setting(
    z.record(z.string(), z.unknown()).describe('a grader, such as {"type": "string_check", …}'),
    {
      file: true,
      placeholder: "file",
      help: "JSON file with the grader that rewards answers",
    },
  ),
  responseFormat: setting(
    z.record(z.string(), z.unknown()).describe('a response_format, such as {"type": "json_schema", …}'),
    {
      file: true,
      placeholder: "file",
      help: "JSON file with an OpenAI response_format that sampled answers follow, and prompts ask for",
    },
  ),
  maxCompletionLength: setting(z.int().min(1), {
    defaultText: "256",
    placeholder: "tokens",
    help: "maximum length of a sampled answer, in tokens",
  }),
};

/** Settings of a teacher that grades sampled answers. */
export const teacherSettings = {
  teacher: setting(z.string(), {
    placeholder: "url",
    help: "base URL of the teacher's OpenAI-compatible API, such as http://127.0.0.1:8080/v1",
  }),
  teacherModel: setting(z.string(), { placeholder: "name", help: "name of the teacher model in that API" }),
  advantageLimit: setting(z.number().gt(0), {
    defaultText: "none",
    placeholder: "nats",
    help: "difference between the log-probabilities of teacher and student beyond which it is clipped",
  }),
};

/** Settings of learning a teacher's distributions, with TRL's names and meaning but for the teacher's. */
export const distillationSettings = {
  teacherKind: setting(z.enum(["frozen", "live"]), {
    defaultText: "frozen",
    help: "adapter of the teacher that reads the hints: as the run starts (frozen), or as it is now (live)",
  }),
  distillationAlpha: setting(z.number().min(0).max(1), {
    defaultText: "0.5",
    help: "divergence from the teacher: forward KL (0), reverse KL (1), or Jensen-Shannon between them",
  }),
  distillationTopk: setting(z.int().min(1), {
    defaultText: "all",
    placeholder: "tokens",
    help: "number of the student's likeliest tokens whose probabilities are compared",
  }),
  distillationAddTail: setting(z.boolean(), {
    defaultText: "false",
    help: "compare the probability of all other tokens, too, as that of one",
  }),
};

/** Settings of all objectives; `objective` chooses which of them there are. */
export const objectiveSettings = {
  ...preferenceSettings,
  ...rolloutSettings,
  ...teacherSettings,
  ...distillationSettings,
};
/** Their values; undefined where they are left out. */
export type ObjectiveSettings = SettingValues<typeof objectiveSettings>;

/** The settings of answers to held-out prompts, which every objective has with `evaluateBy`. */
export const ANSWER_SETTINGS = [
  "evaluatePrompts",
  "evaluateSamples",
  "temperature",
  "maxCompletionLength",
] as const satisfies readonly (keyof ObjectiveSettings)[];

/** Defaults of sampling answers. */
export const SAMPLING_DEFAULTS = {
  maxCompletionLength: 256,
  groupSize: 8,
  evaluatePrompts: undefined,
  evaluateSamples: undefined,
  temperature: 1,
} as const;

/** How the answers of a run are sampled. */
export const sampling = (settings: Partial<ObjectiveSettings>) => ({
  ...SAMPLING_DEFAULTS,
  ...omitUndefined(pick(rolloutSettings, settings)),
});

/** Names of the objectives that a run may have. */
export const OBJECTIVE_NAMES = ["sft", "dpo", "kto", "orpo", "simpo", "grpo", "distill", "sdft"] as const;
