import { join } from "node:path";
import { Tokenizer as Backend } from "@huggingface/tokenizers";
import { z } from "zod";
import { errorText, MosError, parseWith } from "#core";
import { pathExists, readJson } from "#files";
import { exactPreTokenizer } from "./pre-tokenizer.ts";
import { hasOwnPattern, withTimeLimit } from "./time-limit.ts";
import { byteTable, type DecodeRule, decodeBytes, parseDecodeRule } from "./token-bytes.ts";

/** Text to token ids and back, with the same ids as Hugging Face's tokenizers. */
export interface Tokenizer {
  /** One more than the largest id. The model's embedding may have more rows (padding), never fewer. */
  readonly vocabularySize: number;
  /** The id that begins a text, if the tokenizer has one. */
  readonly bosToken: number | undefined;
  /** Ids that end a generation; the first is the end-of-text token. */
  readonly eosTokens: readonly number[];
  /** Number of leading blanks that `decode` removes: 1 for SentencePiece kinds, which prepend one, else 0. */
  readonly strippedBlanks: number;
  /** Token ids. Special tokens in the text become their ids; `addSpecialTokens` (true) adds BOS and the like. */
  encode(text: string, options?: { readonly addSpecialTokens?: boolean }): number[];
  /** Ids outside the vocabulary are skipped; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: readonly number[], options?: { readonly skipSpecialTokens?: boolean }): string;
  /** A token as the vocabulary spells it. */
  idToToken(id: number): string | undefined;
  /** Undefined where the vocabulary has no such token. */
  tokenToId(token: string): number | undefined;
  /** True for tokens of control, such as the end of a turn. */
  isSpecial(id: number): boolean;
  /** The UTF-8 bytes that this token stands for, not to be changed; empty for an id outside the vocabulary. */
  idToBytes(id: number): Uint8Array;
}

/** The two parsed JSON files that describe a tokenizer, not validated yet. */
export interface TokenizerFiles {
  /** tokenizer.json */
  readonly tokenizer: unknown;
  /** tokenizer_config.json */
  readonly config: unknown;
}

/** Bytes that a tokenizer takes in memory for each token of its vocabulary: measured, Gemma's. */
export const TOKENIZER_BYTES = 1500;

/**
 * A tokenizer from parsed tokenizer.json and tokenizer_config.json.
 *
 * Only two kinds of BPE are supported: byte-level, and SentencePiece with byte fallback.
 * `clean_up_tokenization_spaces` has no effect, as in transformers 5: for BPE it would remove blanks that the model
 * generated; so have `add_bos_token` and `add_eos_token`, since tokenizer.json's `post_processor` says what is added.
 *
 * @throws MosError `bad_model` for a broken file, `unsupported` for another kind of tokenizer.
 * @example
 * const tokenizer = tokenizerFromJson({ tokenizer: JSON.parse(text), config: JSON.parse(configText) });
 * tokenizer.decode(tokenizer.encode("Hello"), { skipSpecialTokens: true }); // "Hello"
 */
export function tokenizerFromJson(files: TokenizerFiles): Tokenizer {
  const definition = parseTokenizerJson(files.tokenizer);
  const config = parseTokenizerConfig(files.config);
  const rule = parseDecodeRule(definition.decoder);
  const backend = createBackend(definition);
  const tokens = tokensById(definition);
  const tokenToId = (token: string): number | undefined => backend.token_to_id(token);
  const named = (field: string, token: string | undefined): number | undefined => {
    if (token === undefined) return undefined;
    const id = tokenToId(token);
    if (id === undefined)
      throw new MosError(
        "bad_model",
        `tokenizer_config.json: ${field} is "${token}", which is not in the vocabulary`,
      );
    return id;
  };
  const eos = named("eos_token", config.eosToken);
  return assemble({
    backend,
    definition,
    rule,
    tokens,
    bosToken: named("bos_token", config.bosToken),
    eos,
    tokenToId,
  });
}

interface TokenizerParts {
  readonly backend: Backend;
  readonly definition: TokenizerDefinition;
  readonly rule: DecodeRule;
  readonly tokens: readonly (string | undefined)[];
  readonly bosToken: number | undefined;
  readonly eos: number | undefined;
  readonly tokenToId: (token: string) => number | undefined;
}

function assemble({
  backend,
  definition,
  rule,
  tokens,
  bosToken,
  eos,
  tokenToId,
}: TokenizerParts): Tokenizer {
  const special = new Set(definition.addedTokens.filter((token) => token.special).map((token) => token.id));
  const added = new Set(definition.addedTokens.map((token) => token.id));
  const idToBytes = byteTable({ tokens, added, rule });
  const limited = definition.hasOwnPattern ? withTimeLimit : undefined;
  const encode: Tokenizer["encode"] = (text, { addSpecialTokens: add_special_tokens = true } = {}) => {
    const encodeText = (given: string): number[] => backend.encode(given, { add_special_tokens }).ids;
    return (limited?.(encodeText) ?? encodeText)(wellFormed(text));
  };
  if (encode("").some((id) => !Number.isInteger(id)))
    throw new MosError(
      "bad_model",
      "tokenizer.json: post_processor adds a token that is not in the vocabulary",
    );
  return {
    vocabularySize: tokens.length,
    bosToken,
    eosTokens: eos === undefined ? [] : [eos],
    strippedBlanks: rule.strippedBlanks,
    encode,
    decode: (ids, { skipSpecialTokens = false } = {}) => {
      const kept = skipSpecialTokens ? ids.filter((id) => !special.has(id)) : ids;
      const text = decodeBytes(kept.map(idToBytes));
      return text.slice(leadingBlanks(text, rule.strippedBlanks));
    },
    idToToken: (id) => tokens[id],
    tokenToId,
    isSpecial: (id) => special.has(id),
    idToBytes,
  };
}

/** How many of the first `limit` characters are blanks. */
export function leadingBlanks(text: string, limit: number): number {
  let count = 0;
  while (count < limit && text[count] === " ") count++;
  return count;
}

/** A lone surrogate has no UTF-8 form and becomes U+FFFD, as when Python encodes with errors="replace". */
const wellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, "\uFFFD");

function createBackend(definition: TokenizerDefinition): Backend {
  try {
    return new Backend(definition.backendJson, {});
  } catch (cause) {
    const reason = errorText(cause);
    throw new MosError("unsupported", `tokenizer.json asks for something not supported here: ${reason}`, {
      cause,
    });
  }
}

function tokensById({ vocabulary, addedTokens }: TokenizerDefinition): (string | undefined)[] {
  let size = 0;
  for (const id of vocabulary.values()) size = Math.max(size, id + 1);
  for (const { id } of addedTokens) size = Math.max(size, id + 1);
  const tokens = new Array<string | undefined>(size).fill(undefined);
  for (const [token, id] of vocabulary) tokens[id] = token;
  for (const { id, content } of addedTokens) tokens[id] = content;
  return tokens;
}

/** Bytes; Llama 3's file has 9 MB. */
const MAX_JSON_BYTES = 256 * 1024 * 1024;

/** The two files of a Hugging Face folder, parsed; errors as for {@link loadTokenizer}. */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const read = async (name: string): Promise<unknown> => {
    const path = join(folder, name);
    if (await pathExists(path))
      return readJson(path, z.unknown(), { code: "bad_model", maximumBytes: MAX_JSON_BYTES });
    throw new MosError("not_found", `${folder}: there is no ${name}; fetch the tokenizer's files too`);
  };
  return { tokenizer: await read("tokenizer.json"), config: await read("tokenizer_config.json") };
}

/**
 * The tokenizer of a Hugging Face folder: tokenizer.json and tokenizer_config.json.
 *
 * @throws MosError `not_found`, `bad_model` or `unsupported`, naming the file.
 */
export const loadTokenizer = async (folder: string): Promise<Tokenizer> =>
  tokenizerFromJson(await readTokenizerFiles(folder));

/** A checked tokenizer.json. */
interface TokenizerDefinition {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly addedTokens: readonly {
    readonly id: number;
    readonly content: string;
    readonly special: boolean;
  }[];
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
function parseTokenizerJson(json: unknown): TokenizerDefinition {
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

/** Checks the shape of a parsed tokenizer_config.json; errors as for {@link parseTokenizerJson}. */
function parseTokenizerConfig(json: unknown): {
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
} {
  const { bos_token, eos_token } = parseWith(configFile, json, {
    code: "bad_model",
    where: "tokenizer_config.json",
  });
  return { bosToken: bos_token ?? undefined, eosToken: eos_token ?? undefined };
}
