import { stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { countElements } from "#core";
import { pathExists, readJson } from "#files";
import type { ModelConfig } from "./config.ts";
import { parseHuggingFaceConfig } from "./config-json.ts";
import { openModel } from "./load.ts";
import { type LocateCalls, locatedPath } from "./locate.ts";
import { weightShapes } from "./weights.ts";

/** All weights of a model, counted. */
export const parameterCount = (model: ModelConfig): number =>
  [...weightShapes(model).values()].reduce((sum, shape) => sum + countElements(shape), 0);

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
