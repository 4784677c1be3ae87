// Settings of objectives. None has a default here: each objective has its own, so that a setting that is given to an
// objective without it is noticed.
import { choice, integer, jsonFile, number, omitUndefined, pick, type SettingValues, text } from "#core";
import { REWARD_SCALES } from "../rollouts/advantages.ts";

/** Settings of objectives that learn from given answers. */
export const preferenceSettings = {
  /** How strongly answers are held to the reference; without one, how sharply they are told apart. A number, 0 or more; default 0.1; simpo 2, grpo 0. */
  beta: number({
    min: 0,
    defaultText: "0.1; simpo 2, grpo 0",
    help: "how strongly answers are held to the reference; without one, how sharply they are told apart",
  }),
  /** Loss of a pair of dpo; robust allows for pairs the wrong way round, ipo and sigmoid_norm go by means over tokens. One of sigmoid, robust, ipo, hinge, apo_zero, sigmoid_norm; default sigmoid. */
  dpoLoss: choice(["sigmoid", "robust", "ipo", "hinge", "apo_zero", "sigmoid_norm"], {
    defaultText: "sigmoid",
    help: "loss of a pair of dpo; robust allows for pairs the wrong way round, ipo and sigmoid_norm go by means over tokens",
  }),
  /** Share of the pairs that are the wrong way round, for the loss robust. A number from 0 to below 0.5; default 0.1. */
  labelSmoothing: number({
    min: 0,
    below: 0.5,
    defaultText: "0.1",
    placeholder: "share",
    help: "share of the pairs that are the wrong way round, for the loss robust",
  }),
  /** Weight of the loss of plain training on the chosen answers; with 0 they may become unlikely. A number, 0 or more; default dpo 1, simpo 0. */
  sftWeight: number({
    min: 0,
    defaultText: "dpo 1, simpo 0",
    help: "weight of the loss of plain training on the chosen answers; with 0 they may become unlikely",
  }),
  /** By how much the mean log-probability of the chosen answer, times beta, is to exceed the other's. A number, 0 or more; default 0.5. */
  gamma: number({
    min: 0,
    defaultText: "0.5",
    help: "by how much the mean log-probability of the chosen answer, times beta, is to exceed the other's",
  }),
  /** Weight of answers that are rated good. A number above 0; default 1. */
  desirableWeight: number({ above: 0, defaultText: "1", help: "weight of answers that are rated good" }),
  /** Weight of answers that are rated bad. A number above 0; default 1. */
  undesirableWeight: number({ above: 0, defaultText: "1", help: "weight of answers that are rated bad" }),
};

/** Settings of answers that are sampled. */
export const samplingSettings = {
  /** What the loss is a mean of: the tokens of an update, answers, answers by their sums, the tokens of a batch. One of dapo, grpo, dr_grpo, bnpo; default dapo. */
  grpoLoss: choice(["dapo", "grpo", "dr_grpo", "bnpo"], {
    defaultText: "dapo",
    help: "what the loss is a mean of: the tokens of an update, answers, answers by their sums, the tokens of a batch",
  }),
  /** Whether each token has a ratio of probabilities, or each answer the mean of its tokens'. One of token, sequence; default token. */
  importanceLevel: choice(["token", "sequence"], {
    defaultText: "token",
    help: "whether each token has a ratio of probabilities, or each answer the mean of its tokens'",
  }),
  /** By how much a ratio of probabilities may fall below 1 before its gradient ends. A number above 0; default 0.2. */
  epsilon: number({
    above: 0,
    below: 1,
    defaultText: "0.2",
    help: "by how much a ratio of probabilities may fall below 1 before its gradient ends",
  }),
  /** By how much a ratio of probabilities may rise above 1 before its gradient ends. A number above 0; default 0.2. */
  epsilonHigh: number({
    above: 0,
    defaultText: "0.2",
    help: "by how much a ratio of probabilities may rise above 1 before its gradient ends",
  }),
  /** Answers that are sampled for each prompt of an update. A whole number from 2 to 256; default 8. */
  groupSize: integer({
    min: 2,
    max: 256,
    defaultText: "8",
    help: "answers that are sampled for each prompt of an update",
  }),
  /** Held-out prompts that are answered at each evaluation, at most. A whole number, 1 or more; default 64; grpo and distill all. */
  evaluatePrompts: integer({
    min: 1,
    defaultText: "64; grpo and distill all",
    help: "held-out prompts that are answered at each evaluation, at most",
  }),
  /** Answers that are sampled for each held-out prompt; one is the likeliest, unless there is a temperature. A whole number from 1 to 256; default 1; grpo and distill as many as for a prompt of an update. */
  evaluateSamples: integer({
    min: 1,
    max: 256,
    defaultText: "1; grpo and distill as many as for a prompt of an update",
    help: "answers that are sampled for each held-out prompt; one is the likeliest, unless there is a temperature",
  }),
  /** Sampling temperature of answers; at another than 1 they are not the policy's own. A number above 0; default 1. */
  temperature: number({
    above: 0,
    defaultText: "1",
    placeholder: "t",
    help: "sampling temperature of answers; at another than 1 they are not the policy's own",
  }),
  /** Standard deviation that rewards, less the mean of their group, are divided by: the group's, the batch's, or none. One of group, batch, none; default group. */
  scaleRewards: choice(REWARD_SCALES, {
    defaultText: "group",
    help: "standard deviation that rewards, less the mean of their group, are divided by: the group's, the batch's, or none",
  }),
  /** JSON file with the grader whose reward answers are to earn. An object: a grader, such as {"type": "string_check", …}. */
  grader: jsonFile({
    placeholder: "file",
    what: 'a grader, such as {"type": "string_check", …}',
    help: "JSON file with the grader whose reward answers are to earn",
  }),
  /** JSON file with the response_format of OpenAI's API that sampled answers have, and prompts ask for. An object: a response_format, such as {"type": "json_schema", …}. */
  responseFormat: jsonFile({
    placeholder: "file",
    what: 'a response_format, such as {"type": "json_schema", …}',
    help: "JSON file with the response_format of OpenAI's API that sampled answers have, and prompts ask for",
  }),
  /** Maximum length of a sampled answer, in tokens. A whole number, 1 or more; default 256. */
  maxCompletionLength: integer({
    min: 1,
    defaultText: "256",
    placeholder: "tokens",
    help: "maximum length of a sampled answer, in tokens",
  }),
};

/** Settings of a teacher that grades sampled answers. */
export const teacherSettings = {
  /** Base URL of an OpenAI-compatible API with the model that answers are to come close to, such as http://127.0.0.1:8080/v1. A string. */
  teacher: text({
    placeholder: "url",
    help: "base URL of an OpenAI-compatible API with the model that answers are to come close to, such as http://127.0.0.1:8080/v1",
  }),
  /** The model's name there. A string. */
  teacherModel: text({ placeholder: "name", help: "the model's name there" }),
  /** By how much the teacher's log-probability of a token may differ from the student's before it counts no more. A number above 0; default none. */
  advantageLimit: number({
    above: 0,
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
