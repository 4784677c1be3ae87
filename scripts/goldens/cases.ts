import { join } from "node:path";
import { z } from "zod";
import { type AdapterConfig, parseAdapterConfig } from "#adapters";
import { pathExists, readJson } from "#formats";

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
  }),
});
export type GoldenEntry = z.output<typeof entrySchema>;

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
};

/** Our settings for a case; undefined for a method that this version does not have. */
export function configOf({ method, config }: GoldenEntry): AdapterConfig | undefined {
  const [name, ablation] = method.split("-");
  if (name !== "lora" && name !== "mos") return undefined;
  const settings = Object.entries(config).map(([key, value]) => [NAMES[key] ?? key, value] as const);
  return parseAdapterConfig({
    method: name,
    ...Object.fromEntries(settings),
    ...(ablation === "pd" ? { pairDissociation: false } : {}),
  });
}
