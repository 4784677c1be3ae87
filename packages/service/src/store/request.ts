// Requests for jobs, in OpenAI's format with our own settings under `mos`, and their conversion to a run. The settings of
// training and of adapters are fields in snake case, with the bounds that they have there.
import { z } from "@hono/zod-openapi";
import {
  type AdapterConfigInput,
  type FinetuneSettings,
  type FinetuneSettingsInput,
  finetuneSettings,
  MosError,
  methods,
  parseAdapterConfig,
} from "mixture-of-shards";
import { adapterOptions, formatFlag } from "mixture-of-shards/kit";
import { optional } from "mixture-of-shards/server";
import {
  attempt,
  omitUndefined,
  parseSettings,
  pick,
  type Setting,
  type SettingInput,
  type Settings,
  setting,
  settingInfo,
  snakeCase,
} from "mixture-of-shards-core/common";
import { expectedUpdate, OBJECTIVES } from "mixture-of-shards-core/training";
import type { JobRow } from "./jobs.ts";
import type { FineTuningLimits } from "./key-limits.ts";
import { graderField, hyperparametersSchema, methodOf, methodSchema, methodSettings } from "./method.ts";

const { method: _, ...adapterSettings } = adapterOptions;

/** Settings that the service decides, or takes from other fields of the request. A tenant names no address that it asks. */
const WITHHELD: readonly string[] = [
  ...["dataColumns", "maxExamples", "validationSplit", "seed", "memoryLimit"],
  ...["teacher", "teacherModel", "advantageLimit"],
];

/** Objectives that can do without settings that are withheld. */
const objectives = Object.entries(OBJECTIVES).flatMap(([name, { defaults }]) =>
  Object.keys(defaults).some((setting) => WITHHELD.includes(setting)) ? [] : [name],
);

/** What an objective learns from. */
export type DataKind = (typeof OBJECTIVES)[keyof typeof OBJECTIVES]["data"];

/** A file that the objective of a run does not learn from. */
export interface OtherData {
  readonly file: "training_file" | "validation_file";
  readonly kind: DataKind;
}

/** The objectives of jobs that learn from data of a kind. */
export const objectivesFor = (kind: DataKind): readonly string[] =>
  objectives.filter((name) => Object(OBJECTIVES)[name].data === kind);

/** Characters of a text or an object. */
const MAX_TEXT = 10_000;

const offered: Settings = {
  ...finetuneSettings,
  objective: setting(z.enum(objectives), {
    defaultText: "sft",
    help: settingInfo(finetuneSettings.objective).help,
  }),
  // a job that is interrupted goes on from a checkpoint
  saveEvery: setting(z.int().min(1), { help: settingInfo(finetuneSettings.saveEvery).help }),
};
const runSettings: Settings = Object.fromEntries(
  Object.entries(offered).filter(([name]) => !WITHHELD.includes(name)),
);

/** Targets have PEFT's name, and the method of an adapter stands beside that of the training. */
const FIELD_NAMES: Readonly<Record<string, string>> = { targets: "target_modules", method: "adapter" };

/** The field of a setting. */
const fieldName = (name: string): string => FIELD_NAMES[name] ?? snakeCase(name);

/** Texts of a setting. The help of a flag that is on says what switching it off does. */
function textsOf(info: ReturnType<typeof settingInfo>) {
  const { kind, default: standard } = info;
  const help = kind === "flag" && standard === true ? `false: ${info.help}` : info.help;
  const { defaultText = standard === undefined ? undefined : String(standard) } = info;
  return { help, ...omitUndefined({ default: defaultText }) };
}

/** What the methods that have a setting say of it; undefined where it belongs to the run. */
function methodTexts(name: string): Readonly<Record<string, object>> | undefined {
  const users = Object.entries(methods).flatMap(([method, { summary, settings }]) => {
    if (name === "method") return [[method, { help: summary }]];
    const own: Setting | undefined = Object.entries<Setting>(settings).find(([key]) => key === name)?.[1];
    return own === undefined ? [] : [[method, textsOf(settingInfo(own))]];
  });
  return users.length === 0 ? undefined : Object.fromEntries(users);
}

/** The optional field of a setting, with all that a form shows of it. */
function toField<Value>(name: string, setting: Setting<Value>): z.ZodOptional<z.ZodType<Value>> {
  const info = settingInfo(setting);
  const { kind, check } = info;
  const field =
    kind === "text" || kind === "object"
      ? check.refine((value) => JSON.stringify(value).length <= MAX_TEXT, "at most 10,000 characters")
      : check;
  const { help, ...texts } = textsOf(info);
  const { label } = info.about;
  const form = { option: formatFlag(name, setting), ...omitUndefined({ label }), ...texts };
  return field.optional().openapi({
    description: help,
    "x-mos": { ...form, ...omitUndefined({ methods: methodTexts(name) }) },
  }) as z.ZodOptional<z.ZodType<Value>>;
}

/** The schema of each field, none of which is required. */
const settingFields: Readonly<Record<string, z.ZodType>> = Object.fromEntries(
  Object.entries({ ...runSettings, ...adapterSettings }).map(([name, setting]) => [
    fieldName(name),
    toField(name, setting),
  ]),
);

/** Fields that an adapter has from its start. */
const adapterFields: readonly string[] = Object.keys(adapterSettings).map(fieldName);

/** The settings of an adapter and its run, from checked fields. */
function settingsOf(fields: Readonly<Record<string, unknown>>): {
  readonly adapter: SettingInput<Settings>;
  readonly run: FinetuneSettingsInput;
} {
  const byName = (settings: Settings): SettingInput<Settings> =>
    pick(settings, Object.fromEntries(Object.keys(settings).map((name) => [name, fields[fieldName(name)]])));
  return { adapter: byName(adapterSettings), run: byName(runSettings) };
}

/** Seconds after which a model expires, at most ten years. */
export const lifetimeSchema = z.int().min(60).max(315_360_000);

const lifetime = (description: string) =>
  lifetimeSchema.optional().openapi({ description, "x-mos": { default: "never" } });

/** Settings of the run and the adapter, and what only jobs have; what is left out has the defaults of mos train. */
const mosFields = z
  .strictObject({
    ...settingFields,
    grader: graderField.optional(),
    evaluate_by: optional(
      graderField,
      "a grader of answers to held-out prompts, whose mean reward decides which adapter is the best",
    ),
    adapter: toField("method", adapterOptions.method),
    priority: z
      .int()
      .min(-10)
      .max(10)
      .optional()
      .openapi({
        description: "higher ones run first; at most that of the key",
        "x-mos": { default: "that of the key" },
      }),
    expires_after: lifetime("seconds until the model is deleted"),
    checkpoints_expire_after: lifetime("seconds until a checkpoint is deleted"),
  })
  .openapi("MosSettings");

/** The metadata of OpenAI's objects. */
const metadataSchema = z
  .record(z.string().max(64), z.string().max(512))
  .refine((value) => Object.keys(value).length <= 16, "at most 16 pairs");

const trackedPlace = z.strictObject({
  project: z.string().min(1).max(128),
  name: z.string().min(1).max(128).nullish(),
  entity: z.string().min(1).max(128).nullish(),
  tags: z.array(z.string().min(1).max(64)).max(16).nullish(),
});

/** A tracker as OpenAI's API has Weights & Biases. */
const integrationSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("wandb"), wandb: trackedPlace }),
  z.strictObject({ type: z.literal("mlflow"), mlflow: trackedPlace.omit({ entity: true }) }),
  z.strictObject({ type: z.literal("trackio"), trackio: trackedPlace.omit({ entity: true, tags: true }) }),
]);

/** What the integration of a request says of its tracker; undefined without one. */
export function trackingOf({ integrations }: Pick<JobRequest, "integrations">) {
  const [one] = integrations ?? [];
  if (one === undefined) return undefined;
  const place: z.output<typeof trackedPlace> =
    one.type === "wandb" ? one.wandb : one.type === "mlflow" ? one.mlflow : one.trackio;
  const { project, name, entity, tags } = place;
  return {
    to: one.type,
    project,
    ...omitUndefined({ name: name ?? undefined, entity: entity ?? undefined, tags: tags ?? undefined }),
  };
}

const jobFields = z.strictObject({
  model: z.string().min(1).max(512),
  training_file: z.string().min(1).max(128),
  validation_file: z.string().min(1).max(128).nullish(),
  suffix: z.string().max(64).min(1).nullish(),
  seed: z.int().min(0).max(2_147_483_647).nullish(),
  hyperparameters: hyperparametersSchema.nullish(),
  method: methodSchema.nullish(),
  metadata: metadataSchema.nullish(),
  integrations: z
    .array(integrationSchema)
    .max(1)
    .nullish()
    .describe(
      "A tracker of experiments that gets the metrics, of those that the server allows (--trackers).",
    ),
  mos: mosFields.nullish(),
});

/** A request that was checked. */
export type JobRequest = z.output<typeof jobFields>;

/** Adds the fields that do not go with the method of a request to its problems. */
export function checkMethod(request: JobRequest, context: z.RefinementCtx): void {
  const { type } = methodOf(request);
  const { objective, grader } = settingsOf(request.mos ?? {}).run;
  const refuse = (message: string, ...path: string[]): void =>
    context.addIssue({ code: "custom", path, message });
  if (type === "supervised" && objective === "grpo" && grader === undefined)
    refuse("a grader, since the objective is grpo", "mos", "grader");
  if (grader !== undefined && objective !== "grpo")
    refuse("no value, unless mos.objective is grpo", "mos", "grader");
  if (type === "supervised") return;
  if (request.hyperparameters != null)
    refuse(`no value, since those of ${type} are in method.${type}`, "hyperparameters");
  if (objective !== undefined) refuse(`no value, since method.type is ${type}`, "mos", "objective");
  if (type === "reinforcement" && request.validation_file == null)
    refuse("a file, since method.type is reinforcement", "validation_file");
}

/** The body of `POST /v1/fine_tuning/jobs`. */
export const jobRequestSchema = jobFields.superRefine(checkMethod).openapi("CreateFineTuningJobRequest");

/** A run as the trainer takes it. */
export interface TrainingPlan {
  readonly adapter: AdapterConfigInput;
  readonly settings: FinetuneSettingsInput;
}

/** The inputs to the defaults that the service chooses. */
interface PlanOptions {
  readonly seed: number;
  /** The usual one of the base: what a multiplier of 1 means. */
  readonly learningRate: number;
  /** True if the job starts from a fine-tuned model. */
  readonly isContinued?: boolean;
}

/** Fields that do not go with each other. Throws `bad_option`. */
function checkTogether({ mos, validation_file }: JobRequest, { isContinued = false }: PlanOptions): void {
  const given = ["adapter", ...adapterFields].find((name) => Object(mos)[name] !== undefined);
  if (isContinued && given !== undefined)
    throw new MosError(
      "bad_option",
      `mos.${given} cannot be used with a fine-tuned model, which keeps its settings; omit it`,
    );
  const { earlyStoppingPatience = 0, evaluateEvery, evaluateBy } = settingsOf(mos ?? {}).run;
  if (evaluateBy !== undefined && validation_file == null)
    throw new MosError("bad_option", "mos.evaluate_by requires a validation_file");
  if (earlyStoppingPatience > 0 && (validation_file == null || evaluateEvery === 0))
    throw new MosError(
      "bad_option",
      "mos.early_stopping_patience requires a validation_file and mos.evaluate_every above 0",
    );
}

/** The same for a step that samples answers. */
function checkAnswers(settings: FinetuneSettings & { readonly batchSize: number }, maxTokens: number): void {
  const { batchSize, gradientAccumulationSteps } = settings;
  const { groupSize = 0, maxCompletionLength = 0 } = {
    ...OBJECTIVES.grpo.defaults,
    ...omitUndefined(settings),
  };
  const tokens = batchSize * gradientAccumulationSteps * groupSize * maxCompletionLength;
  if (tokens > maxTokens)
    throw new MosError(
      "bad_option",
      `a step of ${batchSize * gradientAccumulationSteps} prompts with ${groupSize} answers of up to ${maxCompletionLength} tokens has ${tokens} tokens, and at most ${maxTokens} are allowed; use a smaller batch_size, compute_multiplier or mos.max_completion_length`,
    );
}

/** Throws `bad_option` for a step that would be too large. */
function checkStep(settings: FinetuneSettingsInput): void {
  const parsed = parseSettings(finetuneSettings, settings);
  const { batchSize, maxLength, tokens, maxTokens } = expectedUpdate(parsed);
  if (parsed.objective === "grpo") checkAnswers({ ...parsed, batchSize }, maxTokens);
  else if (tokens > maxTokens)
    throw new MosError(
      "bad_option",
      `a step of ${parsed.gradientAccumulationSteps} batches of ${batchSize} rows of ${maxLength} tokens has ${tokens} tokens, and at most ${maxTokens} are allowed; use a smaller batch_size, mos.gradient_accumulation_steps or mos.max_length`,
    );
}

/**
 * What a request means; `mos` has the last word.
 *
 * @throws MosError `bad_option` for fields that do not go with each other, and for too large a step.
 */
export function toTrainingPlan(request: JobRequest, options: PlanOptions): TrainingPlan {
  const { seed, learningRate } = options;
  checkTogether(request, options);
  const mos: NonNullable<JobRequest["mos"]> = request.mos ?? {};
  const { adapter, run } = settingsOf(mos);
  const { epochs: asked, ...method } = methodSettings(request, { own: run, learningRate });
  const { epochs = asked, steps, ...chosen } = run;
  const plan: TrainingPlan = {
    adapter: {
      method: mos.adapter ?? settingInfo(adapterOptions.method).default,
      ...adapter,
    } as AdapterConfigInput,
    settings: omitUndefined({
      ...method,
      ...chosen,
      ...(steps === undefined ? { epochs } : { steps }),
      // only what the client sends is held out
      ...(request.validation_file == null ? { validationSplit: 0 } : {}),
      seed,
    }),
  };
  checkStep(plan.settings);
  return plan;
}

/** Checks a request against the key's limits. Throws `bad_option`. */
export function assertAllowed(
  { mos }: JobRequest,
  { max_steps_per_job, priority: most = 0 }: FineTuningLimits,
): void {
  const { priority = most } = mos ?? {};
  const { steps = 0 } = settingsOf(mos ?? {}).run;
  if (max_steps_per_job !== undefined && steps > max_steps_per_job)
    throw new MosError(
      "bad_option",
      `mos.steps: ${steps} exceeds the limit of this key, ${max_steps_per_job}`,
    );
  if (priority > most)
    throw new MosError("bad_option", `mos.priority: ${priority} exceeds the limit of this key, ${most}`);
}

/**
 * Makes sure that this version can do all that a plan says. What made it has checked it, so that only a newer version can be
 * the reason where it is not understood.
 *
 * @throws MosError `unsupported`.
 */
export function assertKnownPlan({ adapter, settings, ...more }: JobRow["plan"], job: string): void {
  const cause = attempt(() => {
    const [unknown] = Object.keys(more);
    if (unknown !== undefined) throw new MosError("bad_option", `unknown field ${unknown}`);
    parseSettings(finetuneSettings, settings);
    parseAdapterConfig(adapter);
  });
  if (cause === undefined) return;
  const message = `the job ${job} requires a newer version of mos worker: ${cause.message}`;
  throw new MosError("unsupported", message, { cause });
}
