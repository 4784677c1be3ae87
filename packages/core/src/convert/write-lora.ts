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

type StoredModule = ReturnType<typeof storedModules>[number];

/** Both factors of every module that has any, in the order of the layers. */
function storedModules(
  { config, tensors }: Adapter,
  { dtype, modules }: { readonly dtype: FileDtype; readonly modules: ReadonlyMap<string, FileModule> },
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
  return [...modules.values()].flatMap(({ path, name, parts, widths }) => {
    const own = parts.map(({ target, out }) => ({ out, factors: readFactors(target) }));
    // fused linear layers with factors: the rank is that multiple of the adapter's
    const stacked = own.filter(({ factors }) => factors !== undefined).length;
    if (stacked === 0) return [];
    const { rank, a, b } = fuseFactors(own);
    const stored = (side: "A" | "B", shape: readonly number[], data: Float32Array) => {
      checkRange(data, { name: peftTensorName(path, side), dtype: STORED[dtype] });
      return { dtype: STORED[dtype], shape, data };
    };
    const factors = { a: stored("A", [rank, widths.in], a), b: stored("B", [widths.out, rank], b) };
    return [{ path, name, parts, stacked, ...factors }];
  });
}

/**
 * Rank and alpha of modules that do not all have the same. The largest are those of the adapter, so that a server which
 * reads no patterns has room for every module; alpha / rank is one for all, so that it has the right scale, too.
 */
function rankFields(
  modules: readonly StoredModule[],
  { rank, alpha }: { readonly rank: number; readonly alpha: number },
): Readonly<Record<string, unknown>> {
  const most = Math.max(...modules.map(({ stacked }) => stacked));
  const alphaAt = (stacked: number): number => Number((alpha * stacked).toPrecision(15));
  const lower = new Map(
    modules.flatMap(({ name, stacked }) => (stacked < most ? [[name, stacked] as const] : [])),
  );
  const pattern = (valueAt: (stacked: number) => number) =>
    Object.fromEntries([...lower].map(([name, stacked]) => [name, valueAt(stacked)]));
  return {
    r: rank * most,
    lora_alpha: alphaAt(most),
    ...(lower.size === 0
      ? {}
      : { rank_pattern: pattern((stacked) => rank * stacked), alpha_pattern: pattern(alphaAt) }),
  };
}

/** PEFT's target modules: these names or, if vision modules have the same names, Python's regular expression for their paths. */
function targetModules(modules: readonly StoredModule[], prefix: string): readonly string[] | string {
  const names = [...new Set(modules.map(({ name }) => name))];
  if (prefix === "model.") return names;
  const escaped = (text: string): string => text.replaceAll(".", "\\.");
  return `${escaped(prefix)}layers\\.\\d+\\.(\\w+\\.)*(${names.map(escaped).join("|")})`;
}

interface WritePeftOptions {
  readonly dtype: FileDtype;
  /** The base's config: its family decides which linear layers its files keep as one. */
  readonly model: ModelConfig;
  /** Prefix of its linear layers' names in transformers; by default `model.`, as in language models alone. */
  readonly modulePrefix?: string | undefined;
  /** For base_model_name_or_path: where other programs look for the base. */
  readonly baseName: string;
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
  { dtype, model, modulePrefix = "model.", baseName }: WritePeftOptions,
): Promise<void> {
  const { rank } = adapter.config;
  const modules = storedModules(adapter, { dtype, modules: fileModules(model, { prefix: modulePrefix }) });
  const fields = {
    ...commonFields(adapter.config, targetModules(modules, modulePrefix), { peftType: "LORA", baseName }),
    ...rankFields(modules, { rank, alpha }),
    auto_mapping: null,
    fan_in_fan_out: false,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    modules_to_save: null,
    revision: null,
  };
  const tensors = modules.flatMap(({ path, a, b }) => [
    [peftTensorName(path, "A"), a] as const,
    [peftTensorName(path, "B"), b] as const,
  ]);
  await writeFolderAtomic(folder, (into) =>
    writeFolderFiles(into, { fields, tensors: Object.fromEntries(tensors) }),
  );
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
  { adapter, alpha }: AssembledLora,
  { dtype, model }: { readonly dtype: FileDtype; readonly model: ModelConfig },
): Promise<void> {
  const modules = fileModules(model, { place: ggufPlace });
  const tensors = storedModules(adapter, { dtype, modules }).flatMap(
    ({ path: module, parts, stacked, a, b }) => {
      const [{ target }] = parts as [FileModule["parts"][number]];
      const name = `${modulePath(target)}.weight`;
      const scaled = stacked === 1 ? b.data : b.data.map((value) => stacked * value);
      checkRange(scaled, { name: peftTensorName(module, "B"), dtype: b.dtype });
      const order = { config: model, name, direction: "toFile" } as const;
      return [
        [`${ggufName(model, name)}.lora_a`, { ...a, data: reorderColumns(a.data, order) }],
        [`${ggufName(model, name)}.lora_b`, { ...b, data: reorderRows(scaled, order) }],
      ] as const;
    },
  );
  await writeGguf(path, {
    metadata: {
      "general.architecture": { type: "string", value: ggufArchitecture(model) },
      "general.type": { type: "string", value: "adapter" },
      "general.file_type": { type: "uint32", value: FILE_TYPES[dtype] },
      "adapter.type": { type: "string", value: "lora" },
      "adapter.lora.alpha": { type: "float32", value: alpha },
    },
    tensors: Object.fromEntries(tensors),
  });
}
