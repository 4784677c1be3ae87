// What a client asks for, as OpenAI's API has it with settings of our own under `mos`, and what that means to a run.
import { z } from "@hono/zod-openapi";
import {
  type AdapterConfigInput,
  type FinetuneSettingsInput,
  finetuneSettings,
  METHOD_NAMES,
  MosError,
  parseAdapterConfig,
} from "mixture-of-shards";
import { parseSettings, reasonOf } from "mixture-of-shards/cli";
import type { JobRow } from "./rows.ts";

const autoOr = <T extends z.ZodType>(type: T) => z.union([z.literal("auto"), type]);

const hyperparameters = z.strictObject({
  batch_size: autoOr(z.int().min(1).max(256)).optional(),
  n_epochs: autoOr(z.number().gt(0).max(50)).optional(),
  learning_rate_multiplier: autoOr(z.number().gt(0).max(1000)).optional(),
});

/** Seconds after which a model expires, at most ten years. */
export const lifetimeSchema = z.int().min(60).max(315_360_000);

/** What the method and the run are; what is left out has the defaults of mos train. */
const mosFields = z
  .strictObject({
    method: z.enum(METHOD_NAMES),
    rank: z.int().min(1).max(4096),
    equivalent_rank: z.int().min(1).max(4096),
    private_rank: z.int().min(0).max(4096),
    shards_per_vector: z.int().min(1).max(4096),
    alpha: z.number().gt(0),
    dropout: z.number().min(0).lt(1),
    target_modules: z.array(z.string().max(64)).min(1).max(16),
    steps: z.int().min(1).max(10_000_000),
    epochs: z.number().gt(0).max(10_000),
    batch_size: z.int().min(1).max(4096),
    gradient_accumulation_steps: z.int().min(1).max(65_536),
    max_length: z.int().min(2),
    learning_rate: z.number().gt(0).max(10),
    schedule: z.enum(["linear", "cosine", "constant"]),
    warmup: z.number().min(0),
    weight_decay: z.number().min(0).max(10),
    packing: z.boolean(),
    prompt_format: z.enum(["template", "chatml", "plain", "open-instruct"]),
    system: z.string().max(10_000),
    chat_template_kwargs: z
      .record(z.string().max(64), z.unknown())
      .refine((value) => JSON.stringify(value).length <= 10_000, "at most 10,000 characters"),
    base_dtype: z.enum(["stored", "float32", "int8", "int4", "nf4"]),
    compute_dtype: z.enum(["float32", "int8"]),
    evaluate_every: z.int().min(0),
    early_stopping_patience: z.int().min(1),
    save_every: z.int().min(1),
    priority: z.int().min(-10).max(10),
    expires_after: lifetimeSchema,
    checkpoints_expire_after: lifetimeSchema,
  })
  .partial()
  .openapi("MosSettings");

type MosFields = z.output<typeof mosFields>;

const notOffered = (what: string) =>
  z.unknown().refine((value) => value === undefined || value === null, { error: `${what} is not supported` });

/** The metadata of OpenAI's objects. */
export const metadataSchema = z
  .record(z.string().max(64), z.string().max(512))
  .refine((value) => Object.keys(value).length <= 16, "at most 16 pairs");

/** The body of `POST /v1/fine_tuning/jobs`. */
export const jobRequestSchema = z
  .strictObject({
    model: z.string().min(1).max(512),
    training_file: z.string().min(1).max(128),
    validation_file: z.string().min(1).max(128).nullish(),
    suffix: z.string().max(64).min(1).nullish(),
    seed: z.int().min(0).max(2_147_483_647).nullish(),
    hyperparameters: hyperparameters.nullish(),
    method: z
      .strictObject({
        type: z.enum(["supervised"], { error: "only supervised is supported" }),
        supervised: z.strictObject({ hyperparameters: hyperparameters.nullish() }).nullish(),
        dpo: notOffered("dpo").optional(),
        reinforcement: notOffered("reinforcement").optional(),
      })
      .nullish(),
    metadata: metadataSchema.nullish(),
    integrations: z.array(z.unknown()).max(0, "integrations are not supported").nullish(),
    mos: mosFields.nullish(),
  })
  .openapi("CreateFineTuningJobRequest");

/** A request that was checked. */
export type JobRequest = z.output<typeof jobRequestSchema>;

/** A run as the trainer takes it. */
export interface TrainingPlan {
  readonly adapter: AdapterConfigInput;
  readonly settings: FinetuneSettingsInput;
}

/** Passes over the data where the client leaves them to us. */
const EPOCHS = 3;

const set = <T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;

const known = <T>(value: T | "auto" | undefined): T | undefined => (value === "auto" ? undefined : value);

/** The hyperparameters as the answer shows them, "auto" where they were left to us. */
export function hyperparametersOf(request: JobRequest) {
  const given = request.method?.supervised?.hyperparameters ?? request.hyperparameters ?? {};
  const { batch_size = "auto", n_epochs = "auto", learning_rate_multiplier = "auto" } = given;
  return { batch_size, n_epochs, learning_rate_multiplier };
}

/** What decides what is left to us. */
export interface PlanOptions {
  readonly seed: number;
  /** Layers of the base: a small one has no room for the usual rank. */
  readonly layers: number;
  /** The usual one of the base: what a multiplier of 1 means. */
  readonly learningRate: number;
  /** Whether the job starts from a fine-tuned model. */
  readonly isContinued?: boolean;
}

/** The rank of MoS where a client names none: 8, or what the shared ranks of all layers give. */
function standardRank(
  { method = "mos", equivalent_rank: e = 2, private_rank: p = 1 }: MosFields,
  layers: number,
) {
  return method === "mos" ? Math.max(1, Math.min(8, p + layers * (e - p))) : undefined;
}

/** Settings that an adapter has from its start. */
const OF_ADAPTER = [
  ...(["method", "rank", "equivalent_rank", "private_rank", "shards_per_vector", "alpha"] as const),
  ...(["dropout", "target_modules"] as const),
];

/** Fields that do not go with each other. Throws `bad_option`. */
function checkTogether({ mos, validation_file }: JobRequest, { isContinued = false }: PlanOptions): void {
  const given = OF_ADAPTER.find((name) => mos?.[name] !== undefined);
  if (isContinued && given !== undefined)
    throw new MosError(
      "bad_option",
      `mos.${given} cannot be used with a fine-tuned model, which keeps its settings; omit it`,
    );
  if (mos?.early_stopping_patience !== undefined && (validation_file == null || !mos.evaluate_every))
    throw new MosError(
      "bad_option",
      "mos.early_stopping_patience requires a validation_file and mos.evaluate_every above 0",
    );
}

/**
 * Tokens of a step at most, padding included: with it the steps of a job are a measure of its work. Full batches of 256 rows
 * of 4,096 tokens have as many.
 */
const MAX_STEP_TOKENS = 2 ** 20;

/** Throws `bad_option` for a step that would be too large. */
function checkStep(settings: FinetuneSettingsInput): void {
  const { batchSize, gradientAccumulationSteps, maxLength } = parseSettings(finetuneSettings, settings);
  const tokens = batchSize * gradientAccumulationSteps * maxLength;
  if (tokens > MAX_STEP_TOKENS)
    throw new MosError(
      "bad_option",
      `a step of ${gradientAccumulationSteps} batches of ${batchSize} rows of ${maxLength} tokens has ${tokens} tokens, and at most ${MAX_STEP_TOKENS} are allowed; use a smaller batch_size, mos.accumulate or mos.max_length`,
    );
}

/**
 * What a request means; `mos` has the last word.
 *
 * @throws MosError `bad_option` for fields that do not go with each other, and for too large a step.
 */
export function planOf(request: JobRequest, options: PlanOptions): TrainingPlan {
  const { seed, layers, learningRate } = options;
  checkTogether(request, options);
  const { batch_size, n_epochs, learning_rate_multiplier } = hyperparametersOf(request);
  const mos = request.mos ?? {};
  const multiplier = known(learning_rate_multiplier) ?? 1;
  const epochs = mos.epochs ?? known(n_epochs) ?? EPOCHS;
  const plan: TrainingPlan = {
    adapter: set({
      method: mos.method ?? "mos",
      rank: mos.rank ?? standardRank(mos, layers),
      equivalentRank: mos.equivalent_rank,
      privateRank: mos.private_rank,
      shardsPerVector: mos.shards_per_vector,
      alpha: mos.alpha,
      dropout: mos.dropout,
      targets: mos.target_modules,
    }) as unknown as AdapterConfigInput,
    settings: set({
      ...(mos.steps === undefined ? { epochs } : { steps: mos.steps }),
      batchSize: mos.batch_size ?? known(batch_size),
      gradientAccumulationSteps: mos.gradient_accumulation_steps,
      maxLength: mos.max_length,
      // kept with the job, so that another default later does not change it
      learningRate: mos.learning_rate ?? multiplier * learningRate,
      schedule: mos.schedule,
      warmup: mos.warmup,
      weightDecay: mos.weight_decay,
      packing: mos.packing,
      promptFormat: mos.prompt_format,
      system: mos.system,
      chatTemplateKwargs: mos.chat_template_kwargs,
      baseDtype: mos.base_dtype,
      computeDtype: mos.compute_dtype,
      evaluateEvery: mos.evaluate_every,
      earlyStoppingPatience: mos.early_stopping_patience,
      saveEvery: mos.save_every,
      // only what the client sends is held out
      ...(request.validation_file == null ? { validationSplit: 0 } : {}),
      seed,
    }),
  };
  checkStep(plan.settings);
  return plan;
}

/**
 * Makes sure that this version can do all that a plan says. What made it has checked it, so that only a newer version can be
 * the reason where it is not understood.
 *
 * @throws MosError `unsupported`.
 */
export function expectKnownPlan({ adapter, settings, ...more }: JobRow["plan"], job: string): void {
  try {
    const [unknown] = Object.keys(more);
    if (unknown !== undefined) throw new MosError("bad_option", `unknown field ${unknown}`);
    parseSettings(finetuneSettings, settings);
    parseAdapterConfig(adapter);
  } catch (cause) {
    const reason = reasonOf(cause);
    throw new MosError("unsupported", `the job ${job} requires a newer version of mos worker: ${reason}`, {
      cause,
    });
  }
}
