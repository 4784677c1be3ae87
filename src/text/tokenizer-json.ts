import { z } from "zod";
import { MosError, parseWith } from "#core";
import { exactPreTokenizer } from "./pre-tokenizer.ts";
import { hasOwnPattern } from "./time-limit.ts";

/** A token beside the vocabulary of the BPE. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/** A checked tokenizer.json. */
export interface TokenizerDefinition {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly addedTokens: readonly AddedToken[];
  readonly decoder: unknown;
  /** True if it has regular expressions that are not known to terminate. */
  readonly hasOwnPattern: boolean;
  /** The definition that the tokenizer library is given. */
  readonly backendJson: object;
}

/** The largest vocabularies have 300 thousand tokens; a larger id means a broken file. */
const MAX_ID = 4_000_000;

const id = z.int().min(0).max(MAX_ID);
const addedToken = z.looseObject({
  id,
  content: z.string().min(1),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(true),
  special: z.boolean().default(false),
});
const step = z.looseObject({ type: z.string() }).nullish();
const file = z.looseObject({
  added_tokens: z.array(addedToken).nullish(),
  normalizer: step,
  pre_tokenizer: step,
  post_processor: step,
  decoder: step,
  model: z.looseObject({
    type: z.string().optional(),
    unk_token: z.string().nullish(),
    fuse_unk: z.boolean().nullish(),
    byte_fallback: z.boolean().nullish(),
    ignore_merges: z.boolean().nullish(),
    continuing_subword_prefix: z.string().nullish(),
    end_of_word_suffix: z.string().nullish(),
    // validated by hand, since they have hundreds of thousands of entries
    vocab: z.unknown(),
    merges: z.unknown(),
  }),
});
type Model = z.output<typeof file>["model"];

/**
 * Checks the shape of a parsed tokenizer.json.
 *
 * @throws MosError `bad_model` naming the field, `unsupported` for kinds other than BPE.
 */
export function parseTokenizerJson(json: unknown): TokenizerDefinition {
  const { added_tokens, normalizer, pre_tokenizer, post_processor, decoder, model } = parseWith(file, json, {
    code: "bad_model",
    where: "tokenizer.json",
  });
  checkModel(model);
  const vocabulary = parseVocabulary(model.vocab);
  const merges = parseMerges(model.merges);
  const addedTokens = added_tokens ?? [];
  const wholeWord = addedTokens.find((token) => token.single_word);
  if (wholeWord !== undefined)
    throw new MosError(
      "unsupported",
      `tokenizer.json: "${wholeWord.content}" is single_word, which is not supported`,
    );
  return {
    vocabulary,
    addedTokens,
    decoder,
    hasOwnPattern: hasOwnPattern(normalizer) || hasOwnPattern(pre_tokenizer),
    backendJson: {
      added_tokens: addedTokens,
      normalizer: normalizer ?? null,
      pre_tokenizer: exactPreTokenizer(pre_tokenizer ?? null),
      post_processor: post_processor ?? null,
      decoder: null, // decoding is done in token-bytes.ts
      model: {
        type: "BPE",
        vocab: model.vocab,
        merges,
        unk_token: model.unk_token ?? null,
        fuse_unk: model.fuse_unk ?? false,
        byte_fallback: model.byte_fallback ?? false,
        ignore_merges: model.ignore_merges ?? false,
      },
    },
  };
}

function checkModel(model: Model): void {
  if (model.type !== undefined && model.type !== "BPE")
    throw new MosError(
      "unsupported",
      `tokenizer.json: a ${model.type} tokenizer is not supported; only BPE is`,
    );
  for (const field of ["continuing_subword_prefix", "end_of_word_suffix"] as const)
    if (model[field])
      throw new MosError("unsupported", `tokenizer.json: model.${field} "${model[field]}" is not supported`);
}

function parseVocabulary(vocab: unknown): Map<string, number> {
  if (typeof vocab !== "object" || vocab === null || Array.isArray(vocab))
    throw new MosError("bad_model", "tokenizer.json: model.vocab must be an object of token → id");
  const vocabulary = new Map<string, number>();
  for (const [token, value] of Object.entries(vocab)) {
    if (!Number.isInteger(value) || value < 0 || value > MAX_ID)
      throw new MosError(
        "bad_model",
        `tokenizer.json: model.vocab[${JSON.stringify(token)}] is ${String(value)}, not an id`,
      );
    vocabulary.set(token, value);
  }
  return vocabulary;
}

function parseMerges(merges: unknown): (readonly [string, string])[] {
  if (!Array.isArray(merges))
    throw new MosError("bad_model", "tokenizer.json: model.merges must be a list of pairs");
  return merges.map((merge: unknown, index) => {
    const [left, right, more]: unknown[] =
      typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge : [];
    if (typeof left !== "string" || typeof right !== "string" || more !== undefined || !left || !right)
      throw new MosError(
        "bad_model",
        `tokenizer.json: model.merges[${index}] is ${JSON.stringify(merge)}; a merge is two tokens with a blank between`,
      );
    return [left, right];
  });
}

const tokenName = z
  .union([z.string(), z.looseObject({ content: z.string() }).transform((token) => token.content)])
  .nullish();
const configFile = z.looseObject({ bos_token: tokenName, eos_token: tokenName });

/** The fields of tokenizer_config.json that the tokenizer itself needs. */
export interface TokenizerConfig {
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
}

/** Checks the shape of a parsed tokenizer_config.json; errors as for {@link parseTokenizerJson}. */
export function parseTokenizerConfig(json: unknown): TokenizerConfig {
  const { bos_token, eos_token } = parseWith(configFile, json, {
    code: "bad_model",
    where: "tokenizer_config.json",
  });
  return { bosToken: bos_token ?? undefined, eosToken: eos_token ?? undefined };
}
