// Published models by short names, for budgets and plans without their files.
import { MosError } from "#common";
import type { ModelConfig } from "../config.ts";
import { parseHuggingFaceConfig } from "../config-json.ts";
import { earlier } from "./earlier.ts";
import type { Preset } from "./line.ts";
import { recent } from "./recent.ts";

/** Those that people choose now come first. */
const presets = { ...recent, ...earlier };

/** A name that `presetConfig` knows. @inline */
export type PresetName = keyof typeof presets;

/** The names of all presets. */
export const PRESET_NAMES = Object.keys(presets) as readonly PresetName[];

/** The names of those that people choose now. */
export const RECENT_NAMES = Object.keys(recent) as readonly PresetName[];

/** Published models by their short names. */
export const PRESETS: Readonly<Record<PresetName, Preset>> = presets;

/**
 * The config of a published model.
 *
 * @throws MosError "not_found", listing the names.
 */
export function presetConfig(name: string): ModelConfig {
  const preset = Object.hasOwn(presets, name) ? presets[name as PresetName] : undefined;
  if (preset !== undefined) return parseHuggingFaceConfig(preset.config, name);
  throw new MosError("not_found", `there is no preset "${name}"; known are ${PRESET_NAMES.join(", ")}`);
}
