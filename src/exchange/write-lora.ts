// A plain LoRA for other programs: as the folder that Hugging Face PEFT saves, and as the GGUF file that llama.cpp takes.
import { join } from "node:path";
import { type Adapter, methodOf } from "#adapters";
import { type WritableGgufTensor, writeGguf, writeSafetensors } from "#formats";
import { ggufName, type ModelConfig, toGgufRows } from "#models";
import { LINEAR_NAMES, modulePath, type Site } from "#nn";
import { writeFileAtomic, writeFolderAtomic } from "#storage";
import { type AssembledLora, peftTensorName } from "./assemble-lora.ts";
import { checkRange, type FileDtype, STORED } from "./file-dtype.ts";

/** llama.cpp's numbers for a file that is mostly of one type. */
const FILE_TYPES = { float32: 0, float16: 1, bfloat16: 32 } as const;

/** Both factors of every site, in the order of the layers. */
function storedSites(
  { config, geometry, tensors }: Adapter,
  dtype: FileDtype,
): readonly { readonly site: Site; readonly a: WritableGgufTensor; readonly b: WritableGgufTensor }[] {
  const method = methodOf(config);
  const byName = new Map([...tensors].map(([name, tensor]) => [method.tensorName(name), tensor]));
  const read = (site: Site, side: "A" | "B"): WritableGgufTensor | undefined => {
    const found = byName.get(peftTensorName(site, side));
    if (!(found?.data instanceof Float32Array)) return undefined;
    checkRange(found.data, { name: peftTensorName(site, side), dtype: STORED[dtype] });
    return { dtype: STORED[dtype], shape: found.shape, data: found.data };
  };
  const sites = Array.from({ length: geometry.layers }, (_, layer) =>
    LINEAR_NAMES.map((linear) => ({ layer, linear })),
  ).flat();
  return sites.flatMap((site) => {
    const [a, b] = [read(site, "A"), read(site, "B")];
    return a === undefined || b === undefined ? [] : [{ site, a, b }];
  });
}

export interface WritePeftOptions {
  readonly dtype: FileDtype;
  /** For base_model_name_or_path: where other programs look for the base. */
  readonly baseName: string;
}

/**
 * Writes a LoRA as PEFT saves it: adapter_config.json with fields that PEFT has known since 0.4, so that older versions
 * and servers that read the file themselves take it too, and adapter_model.safetensors under PEFT's names.
 *
 * @throws MosError "bad_option" for a number that the dtype cannot hold, "storage".
 */
export async function writePeft(
  folder: string,
  { adapter, alpha }: AssembledLora,
  { dtype, baseName }: WritePeftOptions,
): Promise<void> {
  const { rank, dropout, targets } = adapter.config;
  const sites = storedSites(adapter, dtype);
  const fields = {
    auto_mapping: null,
    base_model_name_or_path: baseName,
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: alpha,
    lora_dropout: dropout,
    modules_to_save: null,
    peft_type: "LORA",
    r: rank,
    revision: null,
    target_modules: targets,
    task_type: "CAUSAL_LM",
  };
  const tensors = sites.flatMap(({ site, a, b }) => [
    [peftTensorName(site, "A"), a] as const,
    [peftTensorName(site, "B"), b] as const,
  ]);
  await writeFolderAtomic(folder, async (into) => {
    await writeSafetensors(join(into, "adapter_model.safetensors"), Object.fromEntries(tensors), {
      format: "pt",
    });
    await writeFileAtomic(join(into, "adapter_config.json"), `${JSON.stringify(fields, null, 2)}\n`);
  });
}

export interface WriteGgufLoraOptions {
  readonly dtype: FileDtype;
  /** The base's config: its heads decide the order of the rows of q and k. */
  readonly model: ModelConfig;
}

/**
 * Writes a LoRA as one GGUF file for llama.cpp, which computes alpha / rank · B A beside a base in GGUF. Rows of B of q
 * and k are in llama.cpp's order, as those of the base are.
 *
 * @throws MosError "bad_option" for a number that the dtype cannot hold, "storage".
 */
export async function writeGgufLora(
  path: string,
  { adapter, alpha }: AssembledLora,
  { dtype, model }: WriteGgufLoraOptions,
): Promise<void> {
  const tensors = storedSites(adapter, dtype).flatMap(({ site, a, b }) => {
    const name = `${modulePath(site)}.weight`;
    return [
      [`${ggufName(model, name)}.lora_a`, a],
      [`${ggufName(model, name)}.lora_b`, { ...b, data: toGgufRows(model, name, b.data) }],
    ] as const;
  });
  await writeGguf(path, {
    metadata: {
      "general.architecture": { type: "string", value: "llama" }, // llama.cpp's name for Mistral, too
      "general.type": { type: "string", value: "adapter" },
      "general.file_type": { type: "uint32", value: FILE_TYPES[dtype] },
      "adapter.type": { type: "string", value: "lora" },
      "adapter.lora.alpha": { type: "float32", value: alpha },
    },
    tensors: Object.fromEntries(tensors),
  });
}
