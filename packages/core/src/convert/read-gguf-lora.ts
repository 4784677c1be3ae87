// A LoRA in one GGUF file, as llama.cpp takes it, → a plain LoRA of this package.
import { MosError } from "#common";
import { type GgufFile, openGguf } from "#files";
import {
  ggufArchitecture,
  ggufName,
  ggufPlace,
  headerNumber,
  type ModelConfig,
  modulePath,
  reorderColumns,
  reorderRows,
  toLayerShapes,
} from "#models";
import { type AssembledLora, assembleLora, type ModuleFactors } from "./assemble-lora.ts";
import { fileModules } from "./file-modules.ts";
import { layerFactors, printable, readPlainFactors } from "./read-factors.ts";

/** Refuses other files, and adapters of another kind or of models of another type. */
function checkHeader({ path, metadata }: GgufFile, model: ModelConfig): void {
  const expected = {
    "general.type": "adapter",
    "adapter.type": "lora",
    "general.architecture": ggufArchitecture(model),
  };
  for (const [key, value] of Object.entries(expected))
    if (metadata[key] !== value)
      throw new MosError("bad_adapter", `${path}: ${key} is not "${value}"; give a LoRA for this base`);
}

/**
 * Reads a LoRA that `writeGgufLora` or llama.cpp's converter wrote. Rows and columns get the order of transformers.
 *
 * @throws MosError "bad_adapter" for another base or a broken file, "unsupported" by name for what is no linear layer's.
 */
export async function readGgufLora(path: string, model: ModelConfig): Promise<AssembledLora> {
  await using file = await openGguf(path);
  checkHeader(file, model);
  const alpha = headerNumber(file, "adapter.lora.alpha") ?? 0;
  if (!Number.isFinite(alpha))
    throw new MosError("bad_adapter", `${path}: adapter.lora.alpha is ${alpha}; expected a finite number`);
  const left = new Set(file.tensors.keys());
  const factors = new Map<string, ModuleFactors>();
  for (const module of fileModules(model, { place: ggufPlace }).values()) {
    const [first] = module.parts;
    if (first === undefined) continue;
    const name = `${modulePath(first.target)}.weight`;
    const stored = ggufName(model, name);
    const parts = new Map([
      ["lora_A", `${stored}.lora_a`],
      ["lora_B", `${stored}.lora_b`],
    ] as const);
    if ([...parts.values()].filter((tensor) => left.delete(tensor)).length === 0) continue;
    const { rank, a, b } = await readPlainFactors({ module, parts }, file);
    const order = { config: model, name, direction: "fromFile" } as const;
    const own = { rank, a: reorderColumns(a, order), b: reorderRows(b, order) };
    // as in llama.cpp, where no alpha is none
    for (const entry of layerFactors(module, own, alpha === 0 ? 1 : alpha / rank)) factors.set(...entry);
  }
  const [other] = left;
  if (other !== undefined)
    throw new MosError(
      "unsupported",
      `${path}: tensor ${printable(other)} is not a factor of a linear layer of this base`,
    );
  if (factors.size === 0) throw new MosError("bad_adapter", `${path}: the file has no tensors`);
  return assembleLora(factors, { shapes: toLayerShapes(model), dropout: 0, seed: 0 });
}
