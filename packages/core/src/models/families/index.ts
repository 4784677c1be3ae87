import type { Family } from "./family.ts";
import { gemma2, gemma3 } from "./gemma.ts";
import { gemma4 } from "./gemma4.ts";
import { granite, graniteHybrid, graniteSwa } from "./granite.ts";
import { lfm2, lfm3 } from "./lfm.ts";
import { llama } from "./llama.ts";
import { ministral3, mistral } from "./mistral.ts";
import { olmo2, olmo3 } from "./olmo2.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { qwen35 } from "./qwen3-5.ts";
import { smollm3 } from "./smollm3.ts";

/**
 * The families that can be run, by their `model_type` in config.json, those that people choose now first. One more is a file of
 * this folder and a row here. A GGUF file of an architecture that several have is of the first, unless another says that it is its.
 */
export const FAMILIES = {
  qwen3_5_text: qwen35,
  gemma4_text: gemma4,
  lfm2,
  lfm3,
  ministral3,
  granite,
  granitemoehybrid: graniteHybrid,
  granite_swa: graniteSwa,
  olmo2,
  olmo3,
  qwen3,
  smollm3,
  gemma3_text: gemma3,
  phi3,
  llama,
  mistral,
  qwen2,
  gemma2,
} as const satisfies Readonly<Record<string, Family>>;

/** The name of one. */
export type FamilyName = keyof typeof FAMILIES;

/** Their names. */
export const FAMILY_NAMES = Object.keys(FAMILIES) as readonly FamilyName[];

export type { Family, GgufHeader } from "./family.ts";
