import { join } from "node:path";
import { type AdapterConfig, METHOD_NAMES, parseAdapterConfig } from "mixture-of-shards-core/adapters";
import { omitUndefined, parseSettings } from "mixture-of-shards-core/common";
import { pathExists, readJson } from "mixture-of-shards-core/files";
import type { LinearName, ModelConfig } from "mixture-of-shards-core/models";
import {
  finetuneSettings,
  OBJECTIVES,
  type Objective,
  type ObjectiveKind,
  type ObjectiveName,
  objectiveSettings,
} from "mixture-of-shards-core/training";
import { mul, scalar } from "mixture-of-shards-graph";
import { z } from "zod";
import { fileModules } from "../../packages/core/src/convert/file-modules.ts";

const metricsSchema = z.record(z.string(), z.number());

/** One row of a golden folder's index.json. */
const entrySchema = z.looseObject({
  file: z.string(),
  base: z.string(),
  inputs: z.string(),
  method: z.string(),
  config: z.record(z.string(), z.unknown()),
  /** The linear layers that the adapter is on, by the goldens' names; all under the names of a Llama without it. */
  modules: z.record(z.string(), z.looseObject({ path: z.string(), layers: z.array(z.int()) })).optional(),
  /** Tokens that are computed at once before `step_logits` come one by one. */
  prefill: z.int().optional(),
  train: z.looseObject({
    steps: z.int(),
    learning_rate: z.number(),
    warmup_steps: z.int(),
    schedule: z.enum(["linear", "cosine", "constant"]),
    max_grad_norm: z.number(),
    losses: z.array(z.number()),
    grad_norms: z.array(z.number()).optional(),
    metrics: z.array(metricsSchema).optional(),
  }),
  /** In folders of preference tuning, by the names of TRL's arguments. */
  objective: z.looseObject({ name: z.string(), trainer: z.string() }).optional(),
  metrics: metricsSchema.optional(),
});
export type GoldenEntry = z.output<typeof entrySchema>;
/** One with an objective. */
export type ObjectiveEntry = GoldenEntry & { readonly objective: NonNullable<GoldenEntry["objective"]> };

export async function readIndex(folder: string): Promise<readonly GoldenEntry[]> {
  const path = join(folder, "index.json");
  const entries = await readJson(path, z.array(entrySchema), { code: "bad_data" });
  for (const { base } of entries)
    if (!(await pathExists(join(folder, base))))
      throw new Error(`${path}: the model folder ${base} is missing`);
  return entries;
}

/** The goldens' names of the settings, and what ours are called. */
const NAMES: Readonly<Record<string, string>> = {
  r: "rank",
  alpha: "alpha",
  e: "equivalentRank",
  l: "shardsPerVector",
  p: "privateRank",
  u: "unsharedRank",
  m: "chunks",
  d: "vectorLength",
};

/** Our names of the goldens' linear layers, and theirs by ours. */
export function linearNames({ modules }: GoldenEntry, model: ModelConfig): ReadonlyMap<string, LinearName> {
  const ours = fileModules(model);
  return new Map(
    Object.entries(modules ?? {}).map(
      ([
        name,
        {
          path,
          layers: [layer],
        },
      ]) => {
        const found = ours.get(`model.layers.${layer}.${path}`)?.parts[0]?.target.linear;
        if (found === undefined) throw new Error(`the linear layer ${path} of the goldens is not known`);
        return [name, found];
      },
    ),
  );
}

/** Our settings for a case; undefined for a method that this version does not have. */
export function toAdapterConfig(entry: GoldenEntry, model: ModelConfig): AdapterConfig | undefined {
  const { method, config, modules } = entry;
  const { layers } = model;
  const [name = "", ablation] = method.split("-"); // mos-pd is mos; our own names have dashes for underscores
  const known = METHOD_NAMES.find((candidate) => candidate === name.replaceAll("_", "-"));
  if (known === undefined) return undefined;
  // the sharing methods are all configured by e here; two of ours by the pairs in the pool
  const { mode, e, ...others } = config;
  const isPool = mode === "pure" || mode === "random_scaling";
  const size = isPool ? { r: Number(e) * layers } : e === undefined ? {} : { e };
  const settings = Object.entries({ ...others, ...size }).map(([key, value]) => [NAMES[key] ?? key, value]);
  return parseAdapterConfig({
    method: known,
    ...Object.fromEntries(settings),
    ...(ablation === "pd" ? { pairDissociation: false } : {}),
    ...(modules === undefined ? {} : { targets: [...linearNames(entry, model).values()] }),
  });
}

/** TRL's trainers, and the objectives that they have. */
const TRAINERS: Readonly<Record<string, ObjectiveName>> = {
  dpo: "dpo",
  kto: "kto",
  orpo: "orpo",
  cpo: "simpo",
  grpo: "grpo",
  sdft: "sdft",
};

/** Arguments of these trainers, and what our settings are called. */
const ARGUMENTS: Readonly<Record<string, keyof typeof objectiveSettings>> = {
  beta: "beta",
  label_smoothing: "labelSmoothing",
  desirable_weight: "desirableWeight",
  undesirable_weight: "undesirableWeight",
  simpo_gamma: "gamma",
  cpo_alpha: "sftWeight",
  epsilon: "epsilon",
  epsilon_high: "epsilonHigh",
  importance_sampling_level: "importanceLevel",
  distillation_alpha: "distillationAlpha",
  distillation_topk: "distillationTopk",
  distillation_add_tail: "distillationAddTail",
};

type Arguments = Readonly<Record<string, unknown>>;

/** Which of a trainer's losses it is, and what that is multiplied by. */
interface Loss {
  readonly settings: Arguments;
  readonly scale: number;
}

/** TRL's defaults where ours are others. */
const DEFAULTS: Readonly<Record<string, Arguments>> = {
  dpo: { label_smoothing: 0 },
  cpo: { beta: 0.1, cpo_alpha: 1, loss_type: "sigmoid" },
};

/** Losses of pairs: one of dpo, and perhaps plain training, in proportion to it. */
function pairLosses(given: Arguments): Loss {
  const losses = [given["loss_type"] ?? "sigmoid"].flat();
  const [loss, sft] = losses;
  const weights = [given["loss_weights"] ?? losses.map(() => 1)].flat().map(Number);
  const [scale = Number.NaN, weight = 0] = weights;
  if (losses.length > 2 || (losses.length === 2 && sft !== "sft") || weights.length !== losses.length)
    throw new Error(
      `loss_type ${JSON.stringify(losses)} with loss_weights ${JSON.stringify(weights)} is not known`,
    );
  return { settings: { dpoLoss: loss, sftWeight: weight / scale }, scale };
}

/** The loss that is minimised, by the arguments that are no settings of ours. */
function chooseLoss(trainer: string, given: Arguments, maxCompletionLength: number): Loss {
  if (trainer === "dpo") return pairLosses(given);
  const { loss_type: loss, epsilon } = given;
  // TRL's upper bound is its lower one where it is left out
  if (trainer === "grpo")
    return { settings: { grpoLoss: loss, maxCompletionLength, epsilonHigh: epsilon }, scale: 1 };
  if (trainer === "sdft") {
    const { distillation_mode: mode, teacher_model_kind: teacher } = given;
    const teacherKind = { base: "frozen", live: "live" }[String(teacher)];
    if (mode === "sampled_token" || teacherKind === undefined)
      throw new Error(`distillation_mode ${mode} with teacher_model_kind ${teacher} is not known`);
    return { settings: { teacherKind }, scale: 1 };
  }
  const only = { cpo: "simpo", kto: "kto" }[trainer];
  if (loss !== undefined && loss !== only) throw new Error(`loss_type ${JSON.stringify(loss)} is not known`);
  return { settings: {}, scale: 1 };
}

/** Arguments that `chooseLoss` reads, and one whose effect is in the advantages of the file. */
const READ: Readonly<Record<string, readonly string[]>> = {
  dpo: ["loss_type", "loss_weights"],
  cpo: ["loss_type"],
  kto: ["loss_type"],
  grpo: ["loss_type", "scale_rewards"],
  sdft: ["distillation_mode", "teacher_model_kind"],
};

/**
 * What minimises the loss of TRL's trainer with these arguments.
 *
 * @throws Error for an argument that is not known: its case would be compared with another loss.
 */
export function toObjective(
  { trainer, name: _, ...stated }: NonNullable<GoldenEntry["objective"]>,
  maxCompletionLength: number,
): { readonly kind: ObjectiveKind; readonly objective: Objective } {
  const name = TRAINERS[trainer];
  if (name === undefined) throw new Error(`the trainer ${trainer} has no objective here`);
  const kind = OBJECTIVES[name];
  const given = { ...DEFAULTS[trainer], ...stated };
  const settings = Object.entries(given).flatMap(([key, value]) => {
    if (READ[trainer]?.includes(key)) return [];
    const setting = ARGUMENTS[key];
    if (setting === undefined || !(setting in kind.defaults))
      throw new Error(`the argument ${key} of the trainer ${trainer} is not known`);
    return [[setting, value] as const];
  });
  const loss = chooseLoss(trainer, given, maxCompletionLength);
  const chosen = parseSettings(
    { ...finetuneSettings, ...objectiveSettings },
    { ...omitUndefined(loss.settings), ...Object.fromEntries(settings) },
  );
  const objective = kind.create(chosen);
  return { kind, objective: loss.scale === 1 ? objective : scaled(objective, loss.scale) };
}

/** An objective with its loss multiplied by a number. */
const scaled = (objective: Objective, scale: number): Objective => ({
  ...objective,
  loss: (targets) => mul(objective.loss(targets), scalar(scale)),
});
