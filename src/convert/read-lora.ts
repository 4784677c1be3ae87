// A LoRA of Hugging Face PEFT, or of the code of the authors of MoS, → a plain LoRA of this package.

import { join } from "node:path";
import {
  ADAPTER_CONFIG,
  openAdapterFolder,
  refuseOptions,
  type SavedBase,
  type SavedFields,
  savedBase,
} from "#adapters";
import { MosError } from "#core";
import type { SafetensorsFile } from "#files";
import { moduleKey } from "#graph";
import { type ModelConfig, modulePrefixIn, toLayerShapes } from "#models";
import { type AssembledLora, assembleLora, type ModuleFactors } from "./assemble-lora.ts";
import { type FileModule, fileModules } from "./file-modules.ts";
import { splitFactors } from "./fuse-factors.ts";
import { type LoraFields, moduleRules, targetTest } from "./module-rules.ts";
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

export interface ReadLoraOptions {
  /** The base's config: its family decides how linear layers are called, and which are fused. */
  readonly model: ModelConfig;
  readonly from: ImportSource;
}

export interface ReadLora extends AssembledLora {
  /** The base by what the folder says: a name, and its digests where this package wrote the folder. */
  readonly base: SavedBase;
}

/** The fields of a LoRA. Throws `unsupported` for another method, and `bad_adapter` for one without effect. */
function loraFields(fields: SavedFields, where: string): LoraFields {
  const { peft_type: type, lora_alpha: alpha } = fields;
  if (type !== "LORA")
    throw new MosError(
      "unsupported",
      `${where}: peft_type ${JSON.stringify(type)} is not a LoRA; only "LORA" is imported, and adapters of this program need no import`,
    );
  refuseOptions(fields, { where, isImport: true });
  if (alpha === undefined)
    throw new MosError("bad_adapter", `${where}: field "lora_alpha" is missing; a number is expected`);
  if (alpha === 0)
    throw new MosError("bad_adapter", `${where}: lora_alpha is 0, so the adapter has no effect`);
  return { ...fields, lora_alpha: alpha };
}

interface Targets {
  readonly fields: LoraFields;
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
        ? `${file}: ${path} has tensors, but ${ADAPTER_CONFIG} does not target it`
        : `${file}: ${path} is targeted by ${ADAPTER_CONFIG}, but its tensors are missing; the adapter may be for a base of another shape`,
    );
  }
}

interface FactorReading extends Pick<ReadLoraOptions, "from"> {
  readonly file: SafetensorsFile;
  readonly fields: LoraFields;
}

async function readFactors(
  found: ReadonlyMap<string, ModuleTensors>,
  { file, fields, from }: FactorReading,
): Promise<ReadonlyMap<string, ModuleFactors>> {
  checkExpansion(found.values(), file);
  const findRule = moduleRules(fields, ADAPTER_CONFIG);
  const result = new Map<string, ModuleFactors>();
  for (const tensors of found.values()) {
    const { module, parts } = tensors;
    const extra = [...parts.keys()].find((part) => part !== "lora_A" && part !== "lora_B");
    if (extra !== undefined && from === "peft")
      throw new MosError(
        "unsupported",
        `${file.path}: ${parts.get(extra)} is none of PEFT's tensors; the code of the authors of MoS saves such ones: add --from mos-official`,
      );
    const factors = await (extra === undefined ? readPlainFactors : readPooledFactors)(tensors, file);
    const rule = findRule(module);
    if (from === "peft" && factors.rank !== rule.rank)
      throw new MosError(
        "bad_adapter",
        `${file.path}: ${module.path} has rank ${factors.rank}, ${ADAPTER_CONFIG} says ${rule.rank} (r or rank_pattern)`,
      );
    const scale = rule.scaleAt(factors.rank);
    const split = splitFactors(
      factors,
      module.parts.map(({ out }) => out),
    );
    for (const [i, { target }] of module.parts.entries()) {
      const own = split[i];
      if (own !== undefined) result.set(moduleKey(target), { ...own, scale });
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
  await using opened = await openAdapterFolder(folder);
  const fields = loraFields(opened.fields(), join(folder, ADAPTER_CONFIG));
  const file = await opened.tensors();
  const modules = fileModules(model, modulePrefixIn([...file.tensors.keys()].map(nameInModel)));
  const found = moduleTensors(file, modules);
  checkTargets(found, { fields, modules, path: file.path });
  const targets = await readFactors(found, { file, fields, from });
  const dropout = fields.lora_dropout ?? 0;
  return {
    ...assembleLora(targets, { shapes: toLayerShapes(model), dropout, seed: 0 }),
    base: savedBase(fields),
  };
}
