// A base before its weights are read, for the memory plans of training and serving.
import { type WeightFormat, weightBytes } from "mixture-of-shards-graph/common";
import type { StoredFormat } from "#files";
import { type BaseFormats, chooseFormat } from "./base-dtype.ts";
import type { ModelConfig } from "./config.ts";
import { type BaseModel, type ModelFiles, openModel } from "./load.ts";
import { baseFormats } from "./read-weights.ts";
import { storageFormats } from "./weight.ts";
import { isMatrix, weightShapes } from "./weights.ts";

/** Facts about a base, known before its weights are read. */
export interface PlannedBase {
  readonly name: string;
  readonly config: ModelConfig;
  /** Storage format of each weight. */
  readonly formsOf: (formats: BaseFormats) => ReadonlyMap<string, WeightFormat>;
}

/** The base of an open file. */
export const baseFromFiles = (files: ModelFiles): PlannedBase => ({
  name: files.name,
  config: files.config,
  formsOf: (formats) => baseFormats(files, formats),
});

/** A base that is loaded, or whose files are in a folder or a .gguf file. */
export async function planBase(model: string | BaseModel): Promise<PlannedBase> {
  if (typeof model === "string") {
    await using files = await openModel(model);
    return baseFromFiles(files);
  }
  const { name, config, weights } = model.model;
  return { name, config, formsOf: () => storageFormats(weights) };
}

/** A base without files; published models are stored in 16 bits. */
export const baseFromConfig = (
  name: string,
  config: ModelConfig,
  stored: StoredFormat["format"] = { kind: "bfloat16" },
): PlannedBase => ({
  name,
  config,
  formsOf: (formats) =>
    new Map(
      [...weightShapes(config)].map(([weight, shape]) => [
        weight,
        chooseFormat({ name: weight, shape, stored, where: name }, formats),
      ]),
    ),
});

/** Bytes of a base whose weights are stored in these formats; float32 where one is missing. */
export function baseBytes(config: ModelConfig, formats: ReadonlyMap<string, WeightFormat>): number {
  const formatFor = (name: string, shape: readonly number[]): WeightFormat =>
    (isMatrix(shape) ? formats.get(name) : undefined) ?? { kind: "float32" };
  return [...weightShapes(config)].reduce(
    (sum, [name, shape]) => sum + weightBytes(formatFor(name, shape), shape),
    0,
  );
}
