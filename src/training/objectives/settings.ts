// Settings of objectives. None has a default here: each objective has its own, so that a setting that is given to an
// objective without it is noticed.
import { z } from "zod";
import { omitUndefined, pick, type SettingValues, setting } from "#core";
import { REWARD_SCALES } from "../rollouts/advantages.ts";

/** Settings of objectives that learn from given answers. */
export const preferenceSettings = {
  beta: setting(z.number().min(0), {
    defaultText: "0.1; simpo 2, grpo 0",
    help: "how strongly answers are held to the reference; without one, how sharply they are told apart",
  }),
  dpoLoss: setting(z.enum(["sigmoid", "robust", "ipo", "hinge", "apo_zero", "sigmoid_norm"]), {
    defaultText: "sigmoid",
    help: "loss of a pair of dpo; robust allows for pairs the wrong way round, ipo and sigmoid_norm go by means over tokens",
  }),
  labelSmoothing: setting(z.number().min(0).lt(0.5), {
    defaultText: "0.1",
    placeholder: "share",
    help: "share of the pairs that are the wrong way round, for the loss robust",
  }),
  sftWeight: setting(z.number().min(0), {
    defaultText: "dpo 1, simpo 0",
    help: "weight of the loss of plain training on the chosen answers; with 0 they may become unlikely",
  }),
  gamma: setting(z.number().min(0), {
    defaultText: "0.5",
    help: "by how much the mean log-probability of the chosen answer, times beta, is to exceed the other's",
  }),
  desirableWeight: setting(z.number().gt(0), {
    defaultText: "1",
    help: "weight of answers that are rated good",
  }),
  undesirableWeight: setting(z.number().gt(0), {
    defaultText: "1",
    help: "weight of answers that are rated bad",
  }),
};

/** Settings of answers that are sampled. */
export const samplingSettings = {
  grpoLoss: setting(z.enum(["dapo", "grpo", "dr_grpo", "bnpo"]), {
    defaultText: "dapo",
    help: "what the loss is a mean of: the tokens of an update, answers, answers by their sums, the tokens of a batch",
  }),
  importanceLevel: setting(z.enum(["token", "sequence"]), {
    defaultText: "token",
    help: "whether each token has a ratio of probabilities, or each answer the mean of its tokens'",
  }),
  epsilon: setting(z.number().gt(0).lt(1), {
    defaultText: "0.2",
    help: "by how much a ratio of probabilities may fall below 1 before its gradient ends",
  }),
  epsilonHigh: setting(z.number().gt(0), {
    defaultText: "0.2",
    help: "by how much a ratio of probabilities may rise above 1 before its gradient ends",
  }),
  groupSize: setting(z.int().min(2).max(256), {
    defaultText: "8",
    help: "answers that are sampled for each prompt of an update",
  }),
  evaluatePrompts: setting(z.int().min(1), {
    defaultText: "64; grpo and distill all",
    help: "held-out prompts that are answered at each evaluation, at most",
  }),
  evaluateSamples: setting(z.int().min(1).max(256), {
    defaultText: "1; grpo and distill as many as for a prompt of an update",
    help: "answers that are sampled for each held-out prompt; one is the likeliest, unless there is a temperature",
  }),
  temperature: setting(z.number().gt(0), {
    defaultText: "1",
    placeholder: "t",
    help: "sampling temperature of answers; at another than 1 they are not the policy's own",
  }),
  scaleRewards: setting(z.enum(REWARD_SCALES), {
    defaultText: "group",
    help: "standard deviation that rewards, less the mean of their group, are divided by: the group's, the batch's, or none",
  }),
  grader: setting(
    z.record(z.string(), z.unknown()).describe('a grader, such as {"type": "string_check", …}'),
    {
      file: true,
      placeholder: "file",
      help: "JSON file with the grader whose reward answers are to earn",
    },
  ),
  responseFormat: setting(
    z.record(z.string(), z.unknown()).describe('a response_format, such as {"type": "json_schema", …}'),
    {
      file: true,
      placeholder: "file",
      help: "JSON file with the response_format of OpenAI's API that sampled answers have, and prompts ask for",
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
    help: "base URL of an OpenAI-compatible API with the model that answers are to come close to, such as http://127.0.0.1:8080/v1",
  }),
  teacherModel: setting(z.string(), { placeholder: "name", help: "the model's name there" }),
  advantageLimit: setting(z.number().gt(0), {
    defaultText: "none",
    placeholder: "nats",
    help: "by how much the teacher's log-probability of a token may differ from the student's before it counts no more",
  }),
};

/** Settings of all objectives; `objective` chooses which of them there are. */
export const objectiveSettings = { ...preferenceSettings, ...samplingSettings, ...teacherSettings };
/** Their values; undefined where they are left out. */
export type ObjectiveSettings = SettingValues<typeof objectiveSettings>;

/** The settings of answers to held-out prompts, which every objective has with `evaluateBy`. */
export const ANSWER_SETTINGS = [
  "evaluatePrompts",
  "evaluateSamples",
  "temperature",
  "maxCompletionLength",
] as const satisfies readonly (keyof ObjectiveSettings)[];

/** How answers are sampled where nothing else is asked for. */
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
  ...omitUndefined(pick(samplingSettings, settings)),
});

/** Names of the objectives that a run may have. */
export const OBJECTIVE_NAMES = ["sft", "dpo", "kto", "orpo", "simpo", "grpo", "distill"] as const;
