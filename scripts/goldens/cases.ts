import { join } from "node:path";
import { z } from "zod";
import { type AdapterConfig, METHOD_NAMES, parseAdapterConfig } from "#adapters";
import { parseSettings } from "#core";
import { pathExists, readJson } from "#files";
import {
  finetuneSettings,
  OBJECTIVES,
  type Objective,
  type ObjectiveKind,
  type ObjectiveName,
  objectiveSettings,
} from "#training";

const metricsSchema = z.record(z.string(), z.number());

/** One row of a golden folder's index.json. */
const entrySchema = z.looseObject({
  file: z.string(),
  base: z.string(),
  inputs: z.string(),
  method: z.string(),
  config: z.record(z.string(), z.unknown()),
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
};

/** Our settings for a case; undefined for a method that this version does not have. */
export function toAdapterConfig(
  { method, config }: GoldenEntry,
  { layers }: { readonly layers: number },
): AdapterConfig | undefined {
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
  });
}

/** TRL's trainers, and the objectives that they have. */
const TRAINERS: Readonly<Record<string, ObjectiveName>> = {
  dpo: "dpo",
  kto: "kto",
  orpo: "orpo",
  cpo: "simpo",
  grpo: "grpo",
};

/** Arguments of these trainers, and what our settings are called; of a list of losses, `sft` is a weight. */
const ARGUMENTS: Readonly<Record<string, string>> = {
  beta: "beta",
  label_smoothing: "labelSmoothing",
  simpo_gamma: "gamma",
  cpo_alpha: "sftWeight",
  importance_sampling_level: "importanceLevel",
};

/** What minimises the loss of TRL's trainer with these arguments. */
export function toObjective(
  { trainer, name: _, ...given }: NonNullable<GoldenEntry["objective"]>,
  maxCompletionLength: number,
): { readonly kind: ObjectiveKind; readonly objective: Objective } {
  const name = TRAINERS[trainer];
  if (name === undefined) throw new Error(`the trainer ${trainer} has no objective here`);
  const settings = Object.entries(given).flatMap(([key, value]) =>
    ARGUMENTS[key] === undefined ? [] : [[ARGUMENTS[key], value] as const],
  );
  const losses = [given["loss_type"] ?? []].flat().map(String);
  const weights = given["loss_weights"];
  const sft = Array.isArray(weights) ? weights[losses.indexOf("sft")] : undefined;
  const own = {
    dpo: { dpoLoss: losses[0] ?? "sigmoid", sftWeight: Number(sft ?? 0) },
    grpo: { grpoLoss: losses[0], maxCompletionLength },
  }[trainer];
  const kind = OBJECTIVES[name];
  const chosen = parseSettings(
    { ...finetuneSettings, ...objectiveSettings },
    { ...own, ...Object.fromEntries(settings) },
  );
  return { kind, objective: kind.create(chosen) };
}
