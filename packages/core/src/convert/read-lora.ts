// A LoRA of Hugging Face PEFT, or of the code of the authors of MoS, → a plain LoRA of this package.

import {
  ADAPTER_CONFIG,
  openAdapterFolder,
  refuseOptions,
  type SavedBase,
  type SavedFields,
  savedBase,
} from "#adapters";
import { MosError } from "#common";
import type { SafetensorsFile } from "#files";
import { type ModelConfig, modulePrefixIn, toLayerShapes } from "#models";
import { join } from "#platform";
import { type AssembledLora, assembleLora, type ModuleFactors } from "./assemble-lora.ts";
import { type FileModule, fileModules } from "./file-modules.ts";
import {
  checkExpansion,
  layerFactors,
  type ModuleTensors,
  moduleTensors,
  nameInModel,
  readPlainFactors,
  readPooledFactors,
} from "./read-factors.ts";
import { readGgufLora } from "./read-gguf-lora.ts";

/** The program that saved the folder; or a file for llama.cpp. */
export const IMPORT_SOURCES = ["peft", "mos-official", "gguf"] as const;
/** One of `IMPORT_SOURCES`. */
export type ImportSource = (typeof IMPORT_SOURCES)[number];

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
    throw new MosError("bad_adapter", `${where}: field "lora_alpha" is missing; expected a number`);
  if (alpha === 0)
    throw new MosError("bad_adapter", `${where}: lora_alpha is 0, so the adapter has no effect`);
  return { ...fields, lora_alpha: alpha };
}

/** Every module that the fields name must be in the file, and no other. */
function checkTargets(
  found: ReadonlyMap<string, ModuleTensors>,
  modules: ReadonlyMap<string, FileModule>,
  { fields, file }: { readonly fields: LoraFields; readonly file: string },
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

async function readFactors(
  found: ReadonlyMap<string, ModuleTensors>,
  file: SafetensorsFile,
  { fields, from }: { readonly fields: LoraFields; readonly from: ImportSource },
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
        `${file.path}: ${parts.get(extra)} is not a tensor that PEFT saves; for adapters of the MoS authors' code, add --from mos-official`,
      );
    const factors = await (extra === undefined ? readPlainFactors : readPooledFactors)(tensors, file);
    const rule = findRule(module);
    if (from === "peft" && factors.rank !== rule.rank)
      throw new MosError(
        "bad_adapter",
        `${file.path}: ${module.path} has rank ${factors.rank}, ${ADAPTER_CONFIG} says ${rule.rank} (r or rank_pattern)`,
      );
    for (const entry of layerFactors(module, factors, rule.scaleAt(factors.rank))) result.set(...entry);
  }
  return result;
}

/**
 * Reads a LoRA's folder and makes one plain LoRA of it: rank_pattern, alpha_pattern, rank-stabilised scales, layers left
 * out and targets in any form become one rank, one alpha and a list of linear types (see `assembleLora` for what is
 * padded and folded). Of a LoRA on a fused matrix, such as Phi-3's qkv_proj, each layer in it gets its rows. What is not
 * a plain LoRA is refused by name. `base` is the one that the folder names.
 *
 * `mos-official` is what the MoS authors' code saves: an expanded LoRA under PEFT's names, whose scale
 * is lora_alpha / (rank of the tensors), or the pools with their masks (`lora_pair_mask`), which are expanded here. `gguf` is
 * a file, which names no base.
 *
 * @throws MosError "not_found", "bad_adapter", "unsupported".
 */
export async function readLora(
  folder: string,
  { model, from }: { readonly model: ModelConfig; readonly from: ImportSource },
): Promise<AssembledLora & { readonly base: SavedBase }> {
  if (from === "gguf") {
    const base = { name: undefined, fingerprint: undefined, identity: undefined };
    return { ...(await readGgufLora(folder, model)), base };
  }
  await using opened = await openAdapterFolder(folder);
  const fields = loraFields(opened.fields(), join(folder, ADAPTER_CONFIG));
  const file = await opened.tensors();
  const prefix = modulePrefixIn([...file.tensors.keys()].map(nameInModel));
  const modules = fileModules(model, { prefix });
  const found = moduleTensors(file, modules);
  checkTargets(found, modules, { fields, file: file.path });
  const targets = await readFactors(found, file, { fields, from });
  const dropout = fields.lora_dropout ?? 0;
  return {
    ...assembleLora(targets, { shapes: toLayerShapes(model), dropout, seed: 0 }),
    base: savedBase(fields),
  };
}

// Modules that a LoRA of Hugging Face PEFT adapts, each with its rank and scale, by the fields of its adapter_config.json.

const MAX_PATTERN_LENGTH = 200;
/** Ways to match that all patterns of a file may have together: three seconds at most on 560 layers, usually none. */
const MAX_WAYS = 2 ** 15;
/** Average number of ends of a repeat: a module's path has about twice as many characters. */
const ENDS = 16;
/** Cost of a plain name: 1024 of them are read, more than models have linear layers. */
const PLAIN_NAME_WAYS = 32;

/** Syntax that Python and JavaScript read differently, and repeated groups, whose matches are unbounded. */
const INTRICATE = /\)[*+?{]|\(\?|\\[AZ1-9]|\{,|\[\^?\]/;

/** Upper bound of the ways that a backtracking matcher tries: the product of its choices, or more. */
function countWays(plain: string): number {
  const repeats = ENDS ** (plain.match(/[*+{]/g)?.length ?? 0) * 2 ** (plain.match(/\?/g)?.length ?? 0);
  return plain.split(/[()]/).reduce((product, part) => product * part.split("|").length, repeats);
}

/**
 * The keys of PEFT's rank_pattern or alpha_pattern as tests of module paths: Python's
 * `re.match(rf"(.*\.)?({key})$", path)`. They come with a file, so those that could keep a backtracking matcher busy for
 * long are refused, alone or all together, and what Python and JavaScript read differently.
 *
 * @throws MosError "unsupported"
 */
export function modulePatterns(
  keys: readonly string[],
  where: string,
): readonly ((path: string) => boolean)[] {
  let ways = 0;
  return keys.map((key) => {
    const refuse = (): never => {
      const shown = key.length > 60 ? `${key.slice(0, 60)}…` : key;
      throw new MosError(
        "unsupported",
        `${where}: the pattern ${JSON.stringify(shown)} is too complex; list the names of the modules instead`,
      );
    };
    const plain = key.replaceAll("(?:", "(");
    ways += Math.max(PLAIN_NAME_WAYS, countWays(plain));
    if (key.length > MAX_PATTERN_LENGTH || ways > MAX_WAYS || INTRICATE.test(plain)) return refuse();
    try {
      new RegExp(key); // on its own, so that no stray parenthesis closes the group around it
      const pattern = new RegExp(`^(?:.*\\.)?(?:${key})$`);
      return (path) => pattern.test(path);
    } catch {
      return refuse();
    }
  });
}

/** The fields of a LoRA, whose scale is known. */
type LoraFields = SavedFields & { readonly lora_alpha: number };

const asList = (value: string | readonly string[] | null | undefined): readonly string[] =>
  value === undefined || value === null ? [] : typeof value === "string" ? [value] : value;

const isListed = (path: string, entries: readonly string[]): boolean =>
  entries.some((entry) => path === entry || path.endsWith(`.${entry}`));

function inLayers({ layers_to_transform: given }: LoraFields, layer: number): boolean {
  if (given === undefined || given === null) return true;
  if (typeof given === "number") return given === layer;
  return given.length === 0 || given.includes(layer);
}

/**
 * A test of whether PEFT adapts a module. Undefined where only the tensors can tell: target_modules that is absent or
 * a pattern, an exclude_modules that is a pattern, a layers_pattern for other models.
 */
function targetTest(fields: LoraFields): ((module: FileModule) => boolean) | undefined {
  const { target_modules: targets, exclude_modules: excluded, layers_pattern: layers } = fields;
  const isAll = typeof targets === "string" && targets.toLowerCase() === "all-linear";
  if (targets === undefined || targets === null || (typeof targets === "string" && !isAll)) return undefined;
  if (typeof excluded === "string" && excluded !== "") return undefined;
  const patterns = asList(layers).filter((entry) => entry !== "");
  if (patterns.length > 0 && !patterns.includes("layers")) return undefined;
  return ({ path, layer }) => {
    if (isListed(path, asList(excluded))) return false;
    if (isAll || asList(targets).includes(path)) return true; // a whole path is meant, whatever the layers
    return isListed(path, asList(targets)) && inLayers(fields, layer);
  };
}

/**
 * Rank and scale of each module: rank_pattern and alpha_pattern before r and lora_alpha, the first key that fits. The scale of a
 * factor pair of rank r is alpha / r, or alpha / √r with rank-stabilised LoRA.
 */
function moduleRules(fields: LoraFields, where: string) {
  const tests = (field: "rank_pattern" | "alpha_pattern") => {
    const given = fields[field] ?? {};
    const values = Object.values(given);
    return modulePatterns(Object.keys(given), `${where}: ${field}`).map((fits, i) => ({
      fits,
      value: values[i],
    }));
  };
  const [ranks, alphas] = [tests("rank_pattern"), tests("alpha_pattern")];
  const stabilised = fields.use_rslora === true;
  return ({ path }: FileModule) => {
    const rank = ranks.find(({ fits }) => fits(path))?.value ?? fields.r;
    const alpha = alphas.find(({ fits }) => fits(path))?.value ?? fields.lora_alpha;
    return { rank, scaleAt: (r: number) => alpha / (stabilised ? Math.sqrt(r) : r) };
  };
}
