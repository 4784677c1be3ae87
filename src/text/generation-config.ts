// How a model's makers would have it answer: generation_config.json of a folder, or general.sampling of a GGUF file.
import { join } from "node:path";
import { z } from "zod";
import { parseWith } from "#core";
import { pathExists, readJson } from "#storage";
import type { GgufMetadata } from "./gguf-metadata.ts";

/** What a model's files say about its answers. Whether the numbers are in range is for who uses them to say. */
export interface GenerationConfig {
  /** The file, for messages. */
  readonly where: string;
  /** Without the fields that the file leaves out. A temperature of 0 is greedy decoding. */
  readonly sampling: {
    readonly temperature?: number;
    readonly topP?: number;
    readonly topK?: number;
    readonly minP?: number;
    readonly repetitionPenalty?: number;
  };
  /** Most tokens of an answer. */
  readonly maxTokens?: number;
  /** Ids that end an answer beside the tokenizer's own. */
  readonly endTokens: readonly number[];
}

const code = "bad_model";
const number = z.number().nullish();
const integer = z.int().nullish();

const folderSchema = z.looseObject({
  eos_token_id: z.union([z.int(), z.array(z.int())]).nullish(),
  do_sample: z.boolean().nullish(),
  temperature: number,
  top_p: number,
  top_k: integer,
  min_p: number,
  repetition_penalty: number,
  max_new_tokens: integer,
});

/** The numbers that a file has, by the names of the sampler. */
type Found = Readonly<Record<keyof GenerationConfig["sampling"], number | null | undefined>>;

/** -1 and 0 keep all tokens, and the smallest set of tokens that reaches 0 is the likeliest one. */
function samplingOf({ topK, topP, ...more }: Found): GenerationConfig["sampling"] {
  const all = {
    ...more,
    topK: topK === -1 ? 0 : topK,
    ...(topP === 0 ? { temperature: 0 } : { topP }),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined && value !== null));
}

/** Throws `bad_model`, naming the field. */
export async function generationOfFolder(folder: string): Promise<GenerationConfig> {
  const where = join(folder, "generation_config.json");
  if (!(await pathExists(where))) return { where, sampling: {}, endTokens: [] };
  const found = await readJson(where, folderSchema, { code });
  const { eos_token_id, do_sample, max_new_tokens } = found;
  // Hugging Face writes only what differs from its defaults, of which the temperature is 1
  const sampled = do_sample === true ? (found.temperature ?? 1) : found.temperature;
  return {
    where,
    sampling: samplingOf({
      temperature: do_sample === false ? 0 : sampled,
      ...{ topP: found.top_p, topK: found.top_k, minP: found.min_p },
      repetitionPenalty: found.repetition_penalty,
    }),
    ...(typeof max_new_tokens === "number" ? { maxTokens: max_new_tokens } : {}),
    endTokens: typeof eos_token_id === "number" ? [eos_token_id] : (eos_token_id ?? []),
  };
}

const PREFIX = "general.sampling.";
/** GGUF keeps numbers in 32 bits; this is 0.95 again where that was meant. */
const rounded = z
  .number()
  .transform((value) => Number(value.toPrecision(7)))
  .optional();
const ggufSchema = z.object({
  temp: rounded,
  top_p: rounded,
  top_k: z.preprocess((value) => (typeof value === "bigint" ? Number(value) : value), z.int().optional()),
  min_p: rounded,
  penalty_repeat: rounded,
});

/** By the keys that llama.cpp reads. Throws `bad_model`, naming the key. */
export function generationOfGguf(metadata: GgufMetadata, endTokens: readonly number[]): GenerationConfig {
  const given = Object.fromEntries(
    Object.entries(metadata).flatMap(([key, value]) =>
      key.startsWith(PREFIX) ? [[key.slice(PREFIX.length), value]] : [],
    ),
  );
  const found = parseWith(ggufSchema, given, { code, where: `GGUF: ${PREFIX.slice(0, -1)}` });
  return {
    where: "the GGUF file's metadata",
    sampling: samplingOf({
      temperature: found.temp,
      ...{ topP: found.top_p, topK: found.top_k, minP: found.min_p },
      repetitionPenalty: found.penalty_repeat,
    }),
    endTokens,
  };
}
