// A LoRA of Hugging Face PEFT, or of the code of the authors of MoS, → a plain LoRA of this package.
import { join } from "node:path";
import type { SavedBase } from "#adapters";
import { MosError } from "#core";
import { openSafetensors, pathExists, readJson, type SafetensorsFile } from "#files";
import { siteKey } from "#graph";
import { geometryOf, type ModelConfig, modulePrefixIn } from "#models";
import { type AssembledLora, assembleLora, type SiteFactors } from "./assemble-lora.ts";
import { type FileModule, fileModules } from "./file-modules.ts";
import { splitFactors } from "./fuse-factors.ts";
import { moduleRules, type PeftFields, peftFields, refuseOtherThanLora, targetTest } from "./peft-fields.ts";
import {
  checkExpansion,
  type ModuleTensors,
  moduleTensors,
  nameInModel,
  readPlainFactors,
  readPooledFactors,
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
  /** The base's config: its family decides how linear layers are called, and which are fused. */
  readonly model: ModelConfig;
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

interface Targets {
  readonly fields: PeftFields;
  readonly modules: ReadonlyMap<string, FileModule>;
  readonly path: string;
}

/** Every module that the fields name must be in the file, and no other. */
function checkTargets(
  found: ReadonlyMap<string, ModuleTensors>,
  { fields, modules, path: file }: Targets,
): void {
  const isTarget = targetTest(fields);
  if (isTarget === undefined) return;
  for (const module of modules.values()) {
    const { path } = module;
    const has = found.has(path);
    if (has === isTarget(module)) continue;
    throw new MosError(
      "bad_adapter",
      has
        ? `${file}: ${path} has tensors, but ${CONFIG} does not target it`
        : `${file}: ${path} is targeted by ${CONFIG}, but its tensors are missing; the adapter may be for a base of another shape`,
    );
  }
}

interface FactorReading extends Pick<ReadLoraOptions, "from"> {
  readonly file: SafetensorsFile;
  readonly fields: PeftFields;
}

async function readFactors(
  found: ReadonlyMap<string, ModuleTensors>,
  { file, fields, from }: FactorReading,
): Promise<ReadonlyMap<string, SiteFactors>> {
  checkExpansion(found.values(), file);
  const ruleOf = moduleRules(fields, CONFIG);
  const result = new Map<string, SiteFactors>();
  for (const tensors of found.values()) {
    const { module, parts } = tensors;
    const extra = [...parts.keys()].find((part) => part !== "lora_A" && part !== "lora_B");
    if (extra !== undefined && from === "peft")
      throw new MosError(
        "unsupported",
        `${file.path}: ${parts.get(extra)} is none of PEFT's tensors; the code of the authors of MoS saves such ones: add --from mos-official`,
      );
    const factors = await (extra === undefined ? readPlainFactors : readPooledFactors)(tensors, file);
    const rule = ruleOf(module);
    if (from === "peft" && factors.rank !== rule.rank)
      throw new MosError(
        "bad_adapter",
        `${file.path}: ${module.path} has rank ${factors.rank}, ${CONFIG} says ${rule.rank} (r or rank_pattern)`,
      );
    const scale = rule.scaleAt(factors.rank);
    const split = splitFactors(
      factors,
      module.parts.map(({ out }) => out),
    );
    for (const [i, { site }] of module.parts.entries()) {
      const own = split[i];
      if (own !== undefined) result.set(siteKey(site), { ...own, scale });
    }
  }
  return result;
}

/**
 * Reads a LoRA's folder and makes one plain LoRA of it: rank_pattern, alpha_pattern, rank-stabilised scales, layers left
 * out and targets in any form become one rank, one alpha and a list of linear types (see `assembleLora` for what is
 * padded and folded). Of a LoRA on a fused matrix, such as Phi-3's qkv_proj, each layer in it gets its rows. What is not
 * a plain LoRA is refused by name.
 *
 * `mos-official` is what the code of the authors of MoS leaves behind: an expanded LoRA under PEFT's names, whose scale
 * is lora_alpha / (rank of the tensors), or the pools with their masks (`lora_pair_mask`), which are expanded here.
 *
 * @throws MosError "not_found", "bad_adapter", "unsupported".
 */
export async function readLora(folder: string, { model, from }: ReadLoraOptions): Promise<ReadLora> {
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
  const modules = fileModules(model, modulePrefixIn([...file.tensors.keys()].map(nameInModel)));
  const found = moduleTensors(file, modules);
  checkTargets(found, { fields, modules, path });
  const sites = await readFactors(found, { file, fields, from });
  const dropout = fields.lora_dropout ?? 0;
  return {
    ...assembleLora(sites, { geometry: geometryOf(model), dropout, seed: 0 }),
    base: {
      name: fields.base_model_name_or_path ?? undefined,
      fingerprint: fields.base_fingerprint,
      identity: fields.base_identity,
      decoder: fields.base_decoder,
    },
  };
}
