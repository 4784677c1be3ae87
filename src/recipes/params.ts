import { stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import {
  type AdapterConfig,
  type AdapterConfigInput,
  type Budget,
  budget,
  parseAdapterConfig,
} from "#adapters";
import {
  geometryOf,
  type LocateCalls,
  locatedPath,
  type ModelConfig,
  openModel,
  parseHuggingFaceConfig,
  weightShapes,
} from "#models";
import type { LinearName } from "#nn";
import { pathExists, readJson } from "#storage";

/** The part of one type of linear layers, over all decoder layers. */
export interface TypeParams {
  readonly linear: LinearName;
  readonly in: number;
  readonly out: number;
  /** Undefined where types share what is trained. */
  readonly trainable: number | undefined;
}

/** What an adapter costs beside the model that it is for. */
export interface AdapterParams {
  readonly adapter: AdapterConfig;
  readonly budget: Budget;
  readonly layers: number;
  /** Numbers of the model. */
  readonly parameters: number;
  readonly types: readonly TypeParams[];
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Numbers of a whole model. */
export const parameterCount = (model: ModelConfig): number =>
  [...weightShapes(model).values()].reduce((sum, shape) => sum + product(shape), 0);

/**
 * What an adapter will cost, from the model's config alone. Throws `bad_config` for settings that contradict
 * each other or do not fit the model.
 *
 * @example
 * adapterParams(presetConfig("llama2-7b"), { method: "mos", equivalentRank: 2, rank: 8 }).budget.trainable; // 4997120
 */
export function adapterParams(model: ModelConfig, input: AdapterConfigInput): AdapterParams {
  const adapter = parseAdapterConfig(input, "adapter");
  const geometry = geometryOf(model);
  const whole = budget(adapter, geometry);
  const parts = adapter.targets.map(
    (linear) => budget({ ...adapter, targets: [linear] }, geometry).trainable,
  );
  const areSeparate = parts.reduce((a, b) => a + b, 0) === whole.trainable;
  return {
    adapter,
    budget: whole,
    layers: model.layers,
    parameters: parameterCount(model),
    types: adapter.targets.map((linear, i) => ({
      linear,
      ...(geometry.widths[linear] ?? { in: 0, out: 0 }),
      trainable: areSeparate ? parts[i] : undefined,
    })),
  };
}

/**
 * The config of a model folder, a config.json, a GGUF file or `org/name` of the hub. Of a folder the weights need not be
 * there, and of the hub only config.json is downloaded, unless a file is named.
 *
 * @throws MosError `not_found`, `bad_model`, `unsupported`, and what a download throws.
 */
export async function readModelConfig(model: string, options: LocateCalls = {}): Promise<ModelConfig> {
  const include = model.includes(":") ? undefined : ["config.json"];
  const path = await locatedPath(model, { ...options, include });
  const found = await stat(path);
  const file = found.isDirectory() ? join(path, "config.json") : path;
  if (file.endsWith(".json") && (await pathExists(file)))
    return parseHuggingFaceConfig(await readJson(file, z.unknown(), { code: "bad_model" }), file);
  await using files = await openModel(path);
  return files.config;
}
