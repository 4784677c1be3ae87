// A plain LoRA for other programs: as the folder that Hugging Face PEFT saves, and as the GGUF file that llama.cpp takes.
import { type Adapter, bindMethod, commonFields, writeFolderFiles } from "#adapters";
import { writeFolderAtomic, writeGguf } from "#files";
import {
  ggufArchitecture,
  ggufName,
  ggufPlace,
  type ModelConfig,
  modulePath,
  reorderColumns,
  reorderRows,
  type TargetModule,
} from "#models";
import { type AssembledLora, type Factors, peftTensorName } from "./assemble-lora.ts";
import { checkRange, FILE_TYPES, type FileDtype, STORED } from "./file-dtype.ts";
import { type FileModule, fileModules } from "./file-modules.ts";
import { fuseFactors } from "./fuse-factors.ts";
import { lostShare, lowerRank } from "./lower-rank.ts";

type StoredModule = Awaited<ReturnType<typeof storedModules>>[number];

/** Options of both formats. */
interface WriteOptions {
  readonly dtype: FileDtype;
  /** The base's config: its family decides which linear layers its files keep as one. */
  readonly model: ModelConfig;
  /** The largest rank of a module; those of higher rank get the nearest of this one. */
  readonly maxRank?: number | undefined;
}

/** What was written: the largest rank and its alpha, and the modules whose rank was lowered, with the share of the update that they lost. */
export interface WrittenLora {
  readonly rank: number;
  readonly alpha: number;
  readonly lowered?: { readonly error: number; readonly modules: Readonly<Record<string, number>> };
}

const written = (
  modules: readonly StoredModule[],
  fields: Pick<WrittenLora, "rank" | "alpha">,
): WrittenLora => {
  const lowered = modules.flatMap(({ path, cut }) => (cut === undefined ? [] : [[path, cut] as const]));
  if (lowered.length === 0) return fields;
  const shares = lowered.map(([path, cut]) => [path, lostShare([cut])]);
  return {
    ...fields,
    lowered: { error: lostShare(lowered.map(([, cut]) => cut)), modules: Object.fromEntries(shares) },
  };
};

/** Both factors of every module that has any, in the order of the layers. */
async function storedModules(
  { config, tensors }: Adapter,
  {
    dtype,
    modules,
    maxRank = Number.POSITIVE_INFINITY,
  }: Pick<WriteOptions, "dtype" | "maxRank"> & {
    readonly modules: ReadonlyMap<string, FileModule>;
  },
) {
  const method = bindMethod(config);
  const byName = new Map([...tensors].map(([name, tensor]) => [method.tensorName(name), tensor]));
  const read = (target: TargetModule, side: "A" | "B"): Float32Array | undefined => {
    const data = byName.get(peftTensorName(modulePath(target), side))?.data;
    return data instanceof Float32Array ? data : undefined;
  };
  const readFactors = (target: TargetModule): Factors | undefined => {
    const [a, b] = [read(target, "A"), read(target, "B")];
    return a === undefined || b === undefined ? undefined : { rank: config.rank, a, b };
  };
  const made = [];
  for (const { path, name, parts, widths } of modules.values()) {
    const own = parts.map(({ target, out }) => ({ out, factors: readFactors(target) }));
    if (own.every(({ factors }) => factors === undefined)) continue;
    // of fused linear layers the rank is a multiple of the adapter's
    const whole = fuseFactors(own);
    const cut = whole.rank > maxRank ? await lowerRank(whole, maxRank) : undefined;
    const { rank, a, b } = cut ?? whole;
    const stored = (side: "A" | "B", shape: readonly number[], data: Float32Array) => {
      checkRange(data, { name: peftTensorName(path, side), dtype: STORED[dtype] });
      return { dtype: STORED[dtype], shape, data };
    };
    const factors = { a: stored("A", [rank, widths.in], a), b: stored("B", [widths.out, rank], b) };
    made.push({ path, name, parts, rank, cut, ...factors });
  }
  return made;
}

/**
 * Rank and alpha of modules that do not all have the same. The largest are those of the adapter, so that a server which
 * reads no patterns has room for every module; alpha / rank is one for all, so that it has the right scale, too.
 */
function rankFields(modules: readonly StoredModule[], { rank, alpha }: Pick<WrittenLora, "rank" | "alpha">) {
  const most = Math.max(...modules.map((module) => module.rank));
  const alphaAt = (own: number): number => Number((alpha * (own / rank)).toPrecision(15));
  const lower = new Map(modules.flatMap(({ name, rank: own }) => (own < most ? [[name, own] as const] : [])));
  const pattern = (valueAt: (own: number) => number) =>
    Object.fromEntries([...lower].map(([name, own]) => [name, valueAt(own)]));
  return {
    r: most,
    lora_alpha: alphaAt(most),
    ...(lower.size === 0 ? {} : { rank_pattern: pattern((own) => own), alpha_pattern: pattern(alphaAt) }),
  };
}

/** PEFT's target modules: these names or, if vision modules have the same names, Python's regular expression for their paths. */
function targetModules(modules: readonly StoredModule[], prefix: string): readonly string[] | string {
  const names = [...new Set(modules.map(({ name }) => name))];
  if (prefix === "model.") return names;
  const escaped = (text: string): string => text.replaceAll(".", "\\.");
  return `${escaped(prefix)}layers\\.\\d+\\.(\\w+\\.)*(${names.map(escaped).join("|")})`;
}

interface WritePeftOptions extends WriteOptions {
  /** Prefix of its linear layers' names in transformers; by default `model.`, as in language models alone. */
  readonly modulePrefix?: string | undefined;
  /** For base_model_name_or_path: where other programs look for the base. */
  readonly baseName: string;
  /** The commit of the base on the Hub. */
  readonly revision?: string | null;
}

/**
 * Writes a LoRA as PEFT saves it: adapter_config.json with fields that PEFT has known since 0.4, so that older versions
 * and servers that read the file themselves take it too, and adapter_model.safetensors under PEFT's names. Where the base
 * keeps q, k and v or gate and up as one matrix, their LoRAs become one of the sum of their ranks, which takes the patterns
 * of PEFT 0.5.
 *
 * @throws MosError "bad_option" for a number that the dtype cannot hold, "storage".
 */
export async function writePeft(
  folder: string,
  { adapter, alpha }: AssembledLora,
  { model, modulePrefix = "model.", baseName, revision = null, ...options }: WritePeftOptions,
): Promise<WrittenLora> {
  const modules = await storedModules(adapter, {
    ...options,
    modules: fileModules(model, { prefix: modulePrefix }),
  });
  const ranks = rankFields(modules, { rank: adapter.config.rank, alpha });
  const fields = {
    ...commonFields(adapter.config, targetModules(modules, modulePrefix), { peftType: "LORA", baseName }),
    ...ranks,
    auto_mapping: null,
    fan_in_fan_out: false,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    modules_to_save: null,
    revision,
  };
  const tensors = modules.flatMap(({ path, a, b }) => [
    [peftTensorName(path, "A"), a] as const,
    [peftTensorName(path, "B"), b] as const,
  ]);
  await writeFolderAtomic(folder, (into) =>
    writeFolderFiles(into, { fields, tensors: Object.fromEntries(tensors) }),
  );
  return written(modules, { rank: ranks.r, alpha: ranks.lora_alpha });
}

/**
 * Writes a LoRA as one GGUF file for llama.cpp, which computes alpha / rank · B A beside a base in GGUF, whose config tells the
 * tensors' names and the heads. Rows of B and columns of A are in llama.cpp's order, as those of the base are. There is one
 * alpha for all, and the rank is each tensor's own: where n linear layers are fused, B is multiplied by n, which rounds for
 * n = 3.
 *
 * @throws MosError "bad_option" for a number that the dtype cannot hold, "storage".
 */
export async function writeGgufLora(
  path: string,
  { adapter, alpha: given }: AssembledLora,
  { model, ...options }: WriteOptions,
): Promise<WrittenLora> {
  const modules = await storedModules(adapter, {
    ...options,
    modules: fileModules(model, { place: ggufPlace }),
  });
  const { rank: whole } = adapter.config;
  const rank = Math.min(whole, options.maxRank ?? whole);
  const alpha = given * (rank / whole);
  const tensors = modules.flatMap(({ path: module, parts, rank: own, a, b }) => {
    const [{ target }] = parts as [FileModule["parts"][number]];
    const name = `${modulePath(target)}.weight`;
    const scaled = own === rank ? b.data : b.data.map((value) => (own / rank) * value);
    checkRange(scaled, { name: peftTensorName(module, "B"), dtype: b.dtype });
    const order = { config: model, name, direction: "toFile" } as const;
    return [
      [`${ggufName(model, name)}.lora_a`, { ...a, data: reorderColumns(a.data, order) }],
      [`${ggufName(model, name)}.lora_b`, { ...b, data: reorderRows(scaled, order) }],
    ] as const;
  });
  await writeGguf(path, {
    metadata: {
      "general.architecture": { type: "string", value: ggufArchitecture(model) },
      "general.type": { type: "string", value: "adapter" },
      "general.file_type": { type: "uint32", value: FILE_TYPES[options.dtype] },
      "adapter.type": { type: "string", value: "lora" },
      "adapter.lora.alpha": { type: "float32", value: alpha },
    },
    tensors: Object.fromEntries(tensors),
  });
  return written(modules, { rank, alpha });
}
