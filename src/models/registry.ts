import { MosError } from "#core";
import type { ModelConfig } from "./config.ts";
import { gemmas } from "./presets/gemma.ts";
import { granite } from "./presets/granite.ts";
import { llama } from "./presets/llama.ts";
import { mistral } from "./presets/mistral.ts";
import { olmo } from "./presets/olmo.ts";
import { phis } from "./presets/phi.ts";
import { qwens } from "./presets/qwen.ts";
import { smollm } from "./presets/smollm.ts";

/** Published models by short names, for budgets without their files. Values from their config.json on the hub. */
export const presets = {
  ...llama,
  ...smollm,
  ...mistral,
  ...qwens,
  ...gemmas,
  ...phis,
  ...olmo,
  ...granite,
} as const satisfies Readonly<Record<string, ModelConfig>>;

/** A name that `presetConfig` knows. */
export type PresetName = keyof typeof presets;

/**
 * The config of a published model.
 *
 * @throws MosError "not_found", listing the names.
 */
export function presetConfig(name: string): ModelConfig {
  const table: Readonly<Record<string, ModelConfig>> = presets;
  const config = Object.hasOwn(table, name) ? table[name] : undefined;
  if (config) return config;
  throw new MosError("not_found", `there is no preset "${name}"; known are ${Object.keys(table).join(", ")}`);
}
