import { join } from "node:path";
import { z } from "zod";
import { type AdapterConfig, METHOD_NAMES, parseAdapterConfig } from "#adapters";
import { pathExists, readJson } from "#files";

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
