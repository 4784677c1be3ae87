// A LoRA of Hugging Face PEFT, or of the code of the authors of MoS, → a plain LoRA of this package.
import { join } from "node:path";
import type { AdapterGeometry, SavedBase } from "#adapters";
import { MosError } from "#core";
import { openSafetensors, type SafetensorsFile } from "#formats";
import { LINEAR_NAMES, modulePath, siteKey } from "#nn";
import { pathExists, readJson } from "#storage";
import { type AssembledLora, assembleLora, type SiteFactors } from "./assemble-lora.ts";
import { type PeftFields, peftFields, refuseOtherThanLora, siteRules, targetTest } from "./peft-fields.ts";
import {
  checkExpansion,
  readPlainFactors,
  readPooledFactors,
  type SiteTensors,
  siteTensors,
} from "./read-factors.ts";

/** The program that saved the folder. */
export const IMPORT_SOURCES = ["peft", "mos-official"] as const;
/** One of `IMPORT_SOURCES`. */
export type ImportSource = (typeof IMPORT_SOURCES)[number];

const CONFIG = "adapter_config.json";
const MODEL = "adapter_model.safetensors";
/** A config that names each layer of a large model three times has a tenth of this. */
const LARGEST_CONFIG = 1 << 20;

export interface ReadLoraOptions {
  readonly geometry: AdapterGeometry;
  readonly from: ImportSource;
}

export interface ReadLora extends AssembledLora {
  /** The base by what the folder says: a name, and its digests where this package wrote the folder. */
  readonly base: SavedBase;
}

/** Which file holds the tensors; pickled ones are never opened. */
async function tensorFile(folder: string): Promise<string> {
  if (await pathExists(join(folder, MODEL))) return join(folder, MODEL);
  const isPickled = await pathExists(join(folder, "adapter_model.bin"));
  throw new MosError(
    "not_found",
    `${folder}: ${MODEL} is missing${isPickled ? "; adapter_model.bin may hold code and is never read: load it with torch.load(…, weights_only=True) and save it with safetensors.torch.save_file" : ""}`,
  );
}

/** Every site that the fields name must be in the file, and no other. */
function checkTargets(
  found: ReadonlyMap<string, SiteTensors>,
  { fields, geometry, path }: { fields: PeftFields; geometry: AdapterGeometry; path: string },
): void {
  const isTarget = targetTest(fields);
  if (isTarget === undefined) return;
  for (let layer = 0; layer < geometry.layers; layer++)
    for (const linear of LINEAR_NAMES) {
      const site = { layer, linear };
      const has = found.has(siteKey(site));
      if (has === isTarget(site)) continue;
      throw new MosError(
        "bad_adapter",
        has
          ? `${path}: ${modulePath(site)} has tensors, but ${CONFIG} does not target it`
          : `${path}: ${modulePath(site)} is targeted by ${CONFIG}, but its tensors are missing; the adapter may be for a base of another shape`,
      );
    }
}

interface FactorReading extends ReadLoraOptions {
  readonly file: SafetensorsFile;
  readonly fields: PeftFields;
}

async function readFactors(
  found: ReadonlyMap<string, SiteTensors>,
  { file, fields, geometry, from }: FactorReading,
): Promise<ReadonlyMap<string, SiteFactors>> {
  checkExpansion(found.values(), file);
  const ruleOf = siteRules(fields, CONFIG);
  const result = new Map<string, SiteFactors>();
  for (const [key, tensors] of found) {
    const { site, parts } = tensors;
    const widths = geometry.widths[site.linear];
    if (widths === undefined) continue; // refused before
    const extra = [...parts.keys()].find((part) => part !== "lora_A" && part !== "lora_B");
    if (extra !== undefined && from === "peft")
      throw new MosError(
        "unsupported",
        `${file.path}: ${parts.get(extra)} is none of PEFT's tensors; the code of the authors of MoS saves such ones: add --from mos-official`,
      );
    const factors = await (extra === undefined ? readPlainFactors : readPooledFactors)(tensors, {
      file,
      widths,
    });
    const rule = ruleOf(site);
    if (from === "peft" && factors.rank !== rule.rank)
      throw new MosError(
        "bad_adapter",
        `${file.path}: ${modulePath(site)} has rank ${factors.rank}, ${CONFIG} says ${rule.rank} (r or rank_pattern)`,
      );
    result.set(key, { ...factors, scale: rule.scaleAt(factors.rank) });
  }
  return result;
}

/**
 * Reads a LoRA's folder and makes one plain LoRA of it: rank_pattern, alpha_pattern, rank-stabilised scales, layers left
 * out and targets in any form become one rank, one alpha and a list of linear types (see `assembleLora` for what is
 * padded and folded). What is not a plain LoRA is refused by name.
 *
 * `mos-official` is what the code of the authors of MoS leaves behind: an expanded LoRA under PEFT's names, whose scale
 * is lora_alpha / (rank of the tensors), or the pools with their masks (`lora_pair_mask`), which are expanded here.
 *
 * @throws MosError "not_found", "bad_adapter", "unsupported".
 */
export async function readLora(folder: string, { geometry, from }: ReadLoraOptions): Promise<ReadLora> {
  const where = join(folder, CONFIG);
  if (!(await pathExists(where)))
    throw new MosError("not_found", `${folder}: no adapter here (there is no ${CONFIG})`);
  const fields = await readJson(where, peftFields, { code: "bad_adapter", maximumBytes: LARGEST_CONFIG });
  refuseOtherThanLora(fields, where);
  if (fields.lora_alpha === 0)
    throw new MosError(
      "bad_adapter",
      `${where}: lora_alpha 0 switches the adapter off; there is nothing to import`,
    );
  const path = await tensorFile(folder);
  await using file = await openSafetensors(path, { code: "bad_adapter" });
  const found = siteTensors(file, geometry);
  checkTargets(found, { fields, geometry, path });
  const sites = await readFactors(found, { file, fields, geometry, from });
  const dropout = fields.lora_dropout ?? 0;
  return {
    ...assembleLora(sites, { geometry, dropout, seed: 0 }),
    base: {
      name: fields.base_model_name_or_path ?? undefined,
      fingerprint: fields.base_fingerprint,
      identity: fields.base_identity,
    },
  };
}
