// POST /v1/fine_tuning/preview: what a job would be, before it is made.
import { rm } from "node:fs/promises";
import { z } from "@hono/zod-openapi";
import { MosError, type RunPreview } from "mixture-of-shards";
import { ApiError, type ApiKey, optional } from "mixture-of-shards/server";
import { omitUndefined } from "mixture-of-shards-core/common";
import { makeTemporaryFolder } from "mixture-of-shards-core/files";
import { OBJECTIVES, pickChosen } from "mixture-of-shards-core/training";
import {
  assertAllowed,
  checkMethod,
  type FineTuningLimits,
  jobRequestSchema,
  type OtherData,
  objectivesFor,
  toLimits,
} from "#store";
import { checkedJob, chosenFields, type JobClient, toClient } from "./jobs.ts";
import { type AddRoutes, addRoute, invalid, type ServiceEnv } from "./routes.ts";

/** Lines that are shown at most, and tokens of each. */
const [MAX_LINES, MAX_SHOWN] = [20, 1000];

const requestSchema = z
  .strictObject({
    ...jobRequestSchema.shape,
    lines: optional(
      z.array(z.int().min(1)).min(1).max(MAX_LINES),
      "Lines of the training file to show. Default: the first three examples.",
    ),
  })
  .superRefine(checkMethod)
  .openapi("PreviewFineTuningJobRequest");

const part = z.object({
  examples: z.int(),
  tokens: z.int(),
  target_tokens: z.int(),
  truncated: z.int(),
  truncated_target_tokens: z.int(),
  dropped: z.int(),
  longest: z.int(),
});

const line = z.object({
  line: z.int(),
  answer: optional(
    z.enum(["chosen", "rejected", "desirable", "undesirable"]),
    "Which answer of a preference this is; a pair has two lines here.",
  ),
  part: z.enum(["training", "validation", "unused"]),
  token_count: z.int(),
  target_tokens: z.int(),
  truncated: z.boolean(),
  truncated_target_tokens: z.int(),
  dropped: z.boolean(),
  tokens: z
    .array(z.object({ id: z.int(), text: z.string(), trained: z.boolean() }))
    .describe(
      `The first ${MAX_SHOWN} tokens of the line. Where several have the bytes of one character, the last has its text.`,
    ),
  messages: z
    .array(z.object({ role: z.string(), start: z.int(), end: z.int() }))
    .describe("Contents of messages among the tokens: the first of each, and the one after its last."),
});

const previewSchema = z
  .object({
    object: z.literal("fine_tuning.preview"),
    model: z.string(),
    training: part,
    validation: part.nullable(),
    total_steps: z.int(),
    warmup_steps: z.int(),
    chosen: z
      .record(z.string(), z.number())
      .describe("Settings that base and data decide where they are left out, by their names in `mos`."),
    trainable_parameters: z.int(),
    lora_parameters: z.int().describe("Trainable parameters of LoRA of the same rank on the same layers."),
    equivalent_rank: z.number().describe("Rank of the LoRA with as many trainable parameters."),
    adapter_bytes: z.int(),
    memory: z.object({
      bytes: z.number(),
      parts: z.record(z.string(), z.number()),
      free_bytes: z
        .number()
        .describe("Free memory of this server's machine, which may differ from that of the workers."),
    }),
    tokens_per_second: z
      .number()
      .nullable()
      .describe(
        "Speed of the latest training of this base, of any method; null before its first, and where answers are sampled.",
      ),
    estimated_seconds: z
      .number()
      .nullable()
      .describe("Duration of the training at this speed, without waiting; null where no speed was measured."),
    lines: z.array(line),
    warnings: z.array(z.object({ code: z.string(), message: z.string() })),
    problems: z
      .array(z.object({ line: z.int(), code: z.string(), message: z.string() }))
      .describe(
        "Training examples that are truncated or dropped, or call tools wrongly: the first 50 of each kind.",
      ),
  })
  .openapi("FineTuningPreview");

const toPartObject = (report: RunPreview["train"]): z.output<typeof part> => ({
  examples: report.examples,
  tokens: report.tokens,
  target_tokens: report.targetTokens,
  truncated: report.truncated,
  truncated_target_tokens: report.truncatedTargets,
  dropped: report.dropped,
  longest: report.longest,
});

const PARTS = { train: "training", validation: "validation", unused: "unused" } as const;

const toLineObject = (shown: RunPreview["lines"][number]): z.output<typeof line> => ({
  line: shown.line,
  ...omitUndefined({ answer: shown.answer }),
  part: PARTS[shown.part],
  token_count: shown.tokens,
  target_tokens: shown.targetTokens,
  truncated: shown.truncated,
  truncated_target_tokens: shown.truncatedTargets,
  dropped: shown.dropped,
  tokens: shown.shown.map(({ id, text, isTrained }) => ({ id, text, trained: isTrained })),
  messages: shown.turns.map((turn) => ({ ...turn })),
});

const toPreviewObject = (
  preview: RunPreview,
  { model, tokensPerSecond }: { readonly model: string; readonly tokensPerSecond: number | undefined },
): z.output<typeof previewSchema> => ({
  object: "fine_tuning.preview",
  model,
  training: toPartObject(preview.train),
  validation: preview.validation === undefined ? null : toPartObject(preview.validation),
  total_steps: preview.steps,
  warmup_steps: preview.warmup,
  chosen: chosenFields(pickChosen(preview)),
  trainable_parameters: preview.budget.trainable,
  lora_parameters: preview.budget.lora.trainable,
  equivalent_rank: preview.budget.equivalentRank,
  adapter_bytes: preview.budget.bytes.float32,
  memory: {
    bytes: preview.plan.bytes,
    parts: Object.fromEntries(preview.plan.parts.map(({ name, bytes }) => [name, bytes])),
    free_bytes: preview.free.bytes,
  },
  tokens_per_second: tokensPerSecond ?? null,
  estimated_seconds: tokensPerSecond === undefined ? null : preview.tokens / tokensPerSecond,
  lines: preview.lines.map(toLineObject),
  warnings: preview.warnings.map(({ reason, message }) => ({ code: reason, message })),
  problems: preview.problems.map(({ line, reason, message }) => ({ line, code: reason, message })),
});

/** @throws ApiError where a job could not be made either, or a preview not now. */
async function previewJob(
  service: ServiceEnv,
  request: z.output<typeof requestSchema>,
  { key, signal, client }: { readonly key: ApiKey; readonly signal: AbortSignal; readonly client: JobClient },
): Promise<z.output<typeof previewSchema>> {
  const { objects, preview, modelName: model, usage } = service;
  const limits = toLimits(key);
  assertAllowed(request, limits);
  const { plan, training, validation, initial } = await checkedJob(service, request, client);
  const from = initial === undefined ? undefined : await makeTemporaryFolder("mos-preview-");
  try {
    if (from !== undefined && initial !== undefined)
      await objects.restore(initial.adapter, from, { link: true });
    using data = await objects.locate(training.digest);
    using validationData = validation === undefined ? undefined : await objects.locate(validation.digest);
    const run = {
      ...plan,
      ...(from === undefined ? {} : { adapter: { from } }),
      data: data.path,
      validationData: validationData?.path,
      ...omitUndefined({ lines: request.lines }),
      maxShown: MAX_SHOWN,
    };
    const made = await preview(run, { tenant: key.name, signal }).catch((error: unknown) => {
      throw signal.aborted ? signal.reason : answerable(error);
    });
    const { objective = "sft" } = plan.settings;
    if ("kind" in made) {
      const param = request.method == null ? "mos.objective" : "method";
      throw otherData(made, { objective, param });
    }
    // how long sampled answers are, only the run shows
    const tokensPerSecond = objective === "grpo" ? undefined : await usage.speed(model);
    const shown = toPreviewObject(made, { model, tokensPerSecond });
    return { ...shown, warnings: [...shown.warnings, ...limitWarnings(made, limits)] };
  } finally {
    if (from !== undefined) await rm(from, { recursive: true, force: true });
  }
}

/** Limits of the key that the job would exceed. */
function limitWarnings(
  { steps, tokens }: RunPreview,
  { max_steps_per_job, max_tokens_per_job }: FineTuningLimits,
): readonly { readonly code: string; readonly message: string }[] {
  const warning = (what: "step" | "token", count: number, most = Number.POSITIVE_INFINITY) =>
    count <= most
      ? []
      : [
          {
            code: `${what}_limit_exceeded`,
            message: `the job would take ${count} ${what}s and fail: the limit of this key is ${most}`,
          },
        ];
  return [...warning("step", steps, max_steps_per_job), ...warning("token", tokens, max_tokens_per_job)];
}

/** What files hold, in messages and codes. */
const HELD = {
  examples: "examples",
  pairs: "pairs",
  rated: "ratings",
  prompts: "prompts",
  hinted: "hints",
} as const;

/** The error of a file that the objective does not learn from. Its code says what the file holds. */
function otherData(
  { file, kind }: OtherData,
  { objective, param }: { readonly objective: keyof typeof OBJECTIVES; readonly param: string },
): ApiError {
  const wanted = `the objective ${objective} learns from ${HELD[OBJECTIVES[objective].data]}`;
  const code = `file_of_${HELD[kind]}`;
  if (file === "validation_file")
    return invalid(`the validation file holds ${HELD[kind]}, but ${wanted}; choose another file`, file, code);
  const others = objectivesFor(kind).join(" or ");
  return invalid(`the training file holds ${HELD[kind]}, but ${wanted}; use ${others}`, param, code);
}

/** The error as an answer that says what the client can do. */
function answerable(error: unknown): unknown {
  if (!(error instanceof MosError)) return error;
  const { message, code } = error;
  switch (code) {
    case "bad_data":
      return invalid(message, "training_file", "invalid_training_file");
    case "bad_config":
      return new ApiError(message, { status: 400, code: "invalid_value", cause: error });
    case "memory":
      return new ApiError(message, { status: 422, code: "preview_too_large", param: "training_file" });
    default:
      return error; // bad_option among them
  }
}

export const previewRoutes: AddRoutes = (app, service) =>
  addRoute(app, {
    method: "post",
    path: "/v1/fine_tuning/preview",
    summary: "Preview a fine-tuning job: tokenised examples, steps and memory",
    description: "Takes the body of a job. Creates nothing and does not load the base.",
    body: requestSchema,
    ok: [previewSchema, "The preview."],
    answer: ({ body, key, running: { signal }, context }) =>
      previewJob(service, body, { key, signal, client: toClient(app, context) }),
  });
