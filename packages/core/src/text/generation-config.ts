// Generation defaults by a model's makers: generation_config.json of a folder, or general.sampling of a GGUF file.
import { z } from "zod";
import { pathExists, readJson } from "#files";
import { join } from "#platform";
import type { GgufMetadata } from "./gguf-metadata.ts";

/**
 * Generation defaults in a model's files, unvalidated: the reader of a field validates it, so that a broken field is in
 * nobody else's way.
 */
export interface GenerationConfig {
  /** The file, for messages. */
  readonly where: string;
  /** Without the fields that the file leaves out. A temperature of 0 is greedy decoding. */
  readonly sampling: {
    readonly temperature?: unknown;
    readonly topP?: unknown;
    readonly topK?: unknown;
    readonly minP?: unknown;
    readonly repetitionPenalty?: unknown;
  };
  /** Most tokens of an answer. */
  readonly maxTokens?: unknown;
  /** Ids that end an answer beside the tokenizer's own. */
  readonly endTokens: readonly number[];
}

const code = "bad_model";
const folderSchema = z.looseObject({ eos_token_id: z.union([z.int(), z.array(z.int())]).nullish() });

/** -1 and 0 keep all tokens, and the smallest set of tokens that reaches 0 is the likeliest one. */
function toSampling({ topK, topP, ...more }: GenerationConfig["sampling"]): GenerationConfig["sampling"] {
  const all = {
    ...more,
    topK: topK === -1 ? 0 : topK,
    ...(topP === 0 ? { temperature: 0 } : { topP }),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined && value !== null));
}

/** Hugging Face writes only what differs from its defaults, of which the temperature is 1. */
function readTemperature(do_sample: unknown, temperature: unknown): unknown {
  if (do_sample === false) return 0;
  if (do_sample === true) return temperature ?? 1;
  // nobody knows what it should be; as a temperature it is refused where one is needed, and shown
  return do_sample === undefined || do_sample === null ? temperature : { do_sample };
}

/** Throws `bad_model` for a file that is no JSON object, and for end tokens that are none. */
export async function generationFromFolder(folder: string): Promise<GenerationConfig> {
  const where = join(folder, "generation_config.json");
  if (!(await pathExists(where))) return { where, sampling: {}, endTokens: [] };
  const found = await readJson(where, folderSchema, { code });
  const { eos_token_id, max_new_tokens, do_sample, temperature } = found;
  return {
    where,
    sampling: toSampling({
      temperature: readTemperature(do_sample, temperature),
      topP: found["top_p"],
      topK: found["top_k"],
      minP: found["min_p"],
      repetitionPenalty: found["repetition_penalty"],
    }),
    ...(max_new_tokens === undefined || max_new_tokens === null ? {} : { maxTokens: max_new_tokens }),
    endTokens: typeof eos_token_id === "number" ? [eos_token_id] : (eos_token_id ?? []),
  };
}

/** GGUF keeps numbers in 32 bits; this is 0.95 again where that was meant. */
function rounded(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  return typeof value === "number" ? Number(value.toPrecision(7)) : value;
}

/** By the keys that llama.cpp reads. */
export function generationFromGguf(metadata: GgufMetadata, endTokens: readonly number[]): GenerationConfig {
  const found = (key: string): unknown => rounded(metadata[`general.sampling.${key}`]);
  return {
    where: "the GGUF file's metadata",
    sampling: toSampling({
      temperature: found("temp"),
      topP: found("top_p"),
      topK: found("top_k"),
      minP: found("min_p"),
      repetitionPenalty: found("penalty_repeat"),
    }),
    endTokens,
  };
}
