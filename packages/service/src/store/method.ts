// The methods of OpenAI's jobs: their hyperparameters, and what these are among the settings of a run.
import { z } from "@hono/zod-openapi";
import type { FinetuneSettingsInput } from "mixture-of-shards";
import { optional } from "mixture-of-shards/server";
import { omitUndefined } from "mixture-of-shards-core/common";
import { jsonSchemaFormat } from "mixture-of-shards-core/text";
import { OBJECTIVES } from "mixture-of-shards-core/training";

const autoOr = <T extends z.ZodType>(type: T) => z.union([z.literal("auto"), type]).optional();

const shared = {
  batch_size: autoOr(z.int().min(1).max(256)),
  n_epochs: autoOr(z.number().gt(0).max(50)),
  learning_rate_multiplier: autoOr(z.number().gt(0).max(1000)),
};
const dpo = { ...shared, beta: autoOr(z.number().gt(0).max(2)) };
const reinforcement = {
  ...shared,
  reasoning_effort: optional(z.enum(["default", "low", "medium", "high"]), "Has no effect."),
  compute_multiplier: autoOr(z.number().gt(0.00001).max(10)).describe(
    "Answers to each prompt of a step, as a multiple of 8.",
  ),
  eval_interval: autoOr(z.int().min(1)).describe("Steps between evaluations; 10 by default."),
  eval_samples: autoOr(z.int().min(1).max(256)).describe("Answers to each held-out prompt; 4 by default."),
};

/** The hyperparameters of each method. */
const HYPERPARAMETERS = { supervised: shared, dpo, reinforcement };
type Hyperparameters = Readonly<Record<string, unknown>>;

const hyperparametersOf = <T extends z.ZodRawShape>(fields: T) => ({
  hyperparameters: z.strictObject(fields).nullish(),
});

const METHODS = ["supervised", "dpo", "reinforcement"] as const;

/** Characters of a format at most. */
const MAX_FORMAT = 300_000;

/** A grader, whose size and fields are checked with the job. */
export const graderField = z
  .record(z.string(), z.unknown(), "an object")
  .describe("What gives answers their rewards: string_check, text_similarity, score_model, python or multi.");

/** The form of sampled answers. That its schema can be enforced is checked with the job. */
const responseFormatField = jsonSchemaFormat
  .refine((format) => JSON.stringify(format).length <= MAX_FORMAT, "at most 300,000 characters")
  .describe("Form of the answers, which the prompts ask for and graders read as `sample.output_json`.");

/** Hyperparameters of a job without a method, which is a supervised one. */
export const hyperparametersSchema = z.strictObject(shared);

/** `method` of a request. */
export const methodSchema = z
  .strictObject({
    type: z.enum(METHODS, { error: "supervised, dpo or reinforcement" }),
    supervised: z.strictObject(hyperparametersOf(shared)).nullish(),
    dpo: z.strictObject(hyperparametersOf(dpo)).nullish(),
    reinforcement: z
      .strictObject({
        grader: graderField,
        response_format: responseFormatField.nullish(),
        ...hyperparametersOf(reinforcement),
      })
      .nullish(),
  })
  .superRefine((method, context) => {
    const refuse = (name: string, message: string): void =>
      context.addIssue({ code: "custom", path: [name], message });
    for (const name of METHODS)
      if (name !== method.type && method[name] != null)
        refuse(name, `no value, since type is ${method.type}`);
    if (method.type === "reinforcement" && method.reinforcement == null)
      refuse("reinforcement", "an object with a grader");
  });

interface Requested {
  readonly request: Readonly<Record<string, unknown>>;
}

/** True for a job by the method reinforcement. */
export const isReinforcement = ({ request }: Requested): boolean =>
  Object(request["method"]).type === "reinforcement";

/** True for a job whose evaluations have a mean reward, by which its checkpoints are compared. */
export const isGraded = (job: Requested): boolean =>
  isReinforcement(job) || Object(job.request["mos"]).evaluate_by != null;

/** What a request says of its method. */
interface MethodFields {
  readonly method?: z.output<typeof methodSchema> | null | undefined;
  readonly hyperparameters?: z.output<typeof hyperparametersSchema> | null | undefined;
}

/** A method, and all of its hyperparameters: "auto" where they were left to us. */
interface Method {
  readonly type: (typeof METHODS)[number];
  readonly hyperparameters: Hyperparameters;
}

function completed(type: Method["type"], given: Hyperparameters): Method {
  const standard = (name: string): string => (name === "reasoning_effort" ? "default" : "auto");
  const names = Object.keys(HYPERPARAMETERS[type]);
  return {
    type,
    hyperparameters: Object.fromEntries(names.map((name) => [name, given[name] ?? standard(name)])),
  };
}

/** The method by which a request asks for a run. */
export function methodOf({ method, hyperparameters: plain }: MethodFields): Method {
  const type = method?.type ?? "supervised";
  return completed(type, method?.[type]?.hyperparameters ?? plain ?? {});
}

/** What the numbers of answers and steps of a reinforcement job are without its hyperparameters. */
const REINFORCEMENT = { groupSize: 8, evalInterval: 10, evalSamples: 4 } as const;

/** The method of a request's job as the API shows it: an objective in `mos` is the method of OpenAI that it is. */
export function shownMethod(
  request: MethodFields & { readonly mos?: Readonly<Record<string, unknown>> | null | undefined },
): Method & { readonly fields: object } {
  const asked = methodOf(request);
  const { objective, beta, grader, response_format, group_size, evaluate_every, evaluate_samples } =
    request.mos ?? {};
  const given = { ...asked.hyperparameters, beta };
  if (asked.type === "supervised" && objective === "dpo") return { ...completed("dpo", given), fields: {} };
  if (asked.type !== "supervised" || objective !== "grpo")
    return { ...asked, fields: request.method?.[asked.type] ?? {} };
  const answers = {
    compute_multiplier: group_size === undefined ? undefined : Number(group_size) / REINFORCEMENT.groupSize,
    eval_interval: evaluate_every,
    eval_samples: evaluate_samples,
  };
  return { ...completed("reinforcement", { ...given, ...answers }), fields: { grader, response_format } };
}

/** The settings that only the method reinforcement has. Each evaluation has a checkpoint. */
function rewardSettings(
  number: (name: string) => number | undefined,
  own: FinetuneSettingsInput,
): FinetuneSettingsInput {
  const { groupSize, evalInterval, evalSamples } = REINFORCEMENT;
  const evaluateEvery = own.evaluateEvery ?? number("eval_interval") ?? evalInterval;
  return {
    evaluateEvery,
    ...(evaluateEvery > 0 ? { saveEvery: evaluateEvery } : {}),
    evaluateSamples: number("eval_samples") ?? evalSamples,
    groupSize: Math.max(2, Math.round(groupSize * (number("compute_multiplier") ?? 1))),
  };
}

/** The settings of a run by its request's method, where the request's `own` are not others. */
export function methodSettings(
  request: MethodFields,
  { own, learningRate }: { readonly own: FinetuneSettingsInput; readonly learningRate: number },
): FinetuneSettingsInput {
  const { type, hyperparameters } = methodOf(request);
  const number = (name: string): number | undefined => {
    const value = hyperparameters[name];
    return typeof value === "number" ? value : undefined;
  };
  const objective =
    type === "supervised" ? own.objective : ({ dpo: "dpo", reinforcement: "grpo" } as const)[type];
  const usual = learningRate * OBJECTIVES[objective ?? "sft"].learningRate;
  return omitUndefined({
    objective,
    ...(type === "reinforcement" ? rewardSettings(number, own) : {}),
    grader: request.method?.reinforcement?.grader,
    responseFormat: request.method?.reinforcement?.response_format ?? undefined,
    beta: number("beta"),
    batchSize: number("batch_size"),
    epochs: number("n_epochs"),
    // kept with the job, so that another default later does not change it
    learningRate: usual * (number("learning_rate_multiplier") ?? 1),
  });
}
