// The bundled model's tokenizer with as many further tokens as a vocabulary has, which no text becomes.

import { MosError } from "mixture-of-shards-core/common";
import { readJson } from "mixture-of-shards-core/files";
import { z } from "zod";

const FOLDER = new URL("../../packages/mos/assets/tiny-english/", import.meta.url);

const tokenizerSchema = z.looseObject({
  model: z.looseObject({
    vocab: z.record(z.string(), z.int()),
    merges: z.array(z.tuple([z.string(), z.string()])),
  }),
});
const configSchema = z.looseObject({ chat_template: z.string(), model_max_length: z.int() });

/** The ids that the tokenizer gives its special tokens. */
export const SPECIAL = { start: 0, turn: 1, end: 2 } as const;

export interface PaddedTokenizer {
  /** tokenizer.json. */
  readonly json: object;
  /** tokenizer_config.json. */
  readonly config: object;
  readonly tokens: readonly string[];
  readonly merges: readonly (readonly [string, string])[];
  /** Tokens from here on are never the result of a text. */
  readonly used: number;
  readonly chatTemplate: string;
}

/**
 * The bundled tokenizer as one of `size` tokens.
 *
 * @throws MosError "bad_option" if `size` is less than the bundled vocabulary.
 */
export async function paddedTokenizer(
  size: number,
  { maxPositions }: { readonly maxPositions: number },
): Promise<PaddedTokenizer> {
  const code = "bad_model";
  const at = (name: string): string => new URL(name, FOLDER).pathname;
  const json = await readJson(at("tokenizer.json"), tokenizerSchema, { code });
  const config = await readJson(at("tokenizer_config.json"), configSchema, { code });
  const known = Object.entries(json.model.vocab).sort(([, a], [, b]) => a - b);
  if (size < known.length)
    throw new MosError(
      "bad_option",
      `a vocabulary of ${size} is too small; it has at least ${known.length} tokens`,
    );
  const tokens = known.map(([token]) => token);
  for (let id = tokens.length; id < size; id++) tokens.push(`<|unused_${id}|>`);
  return {
    json: {
      ...json,
      model: { ...json.model, vocab: Object.fromEntries(tokens.map((token, id) => [token, id])) },
    },
    config: { ...config, model_max_length: maxPositions },
    tokens,
    merges: json.model.merges,
    used: known.length,
    chatTemplate: config.chat_template,
  };
}
