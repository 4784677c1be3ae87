import { Tokenizer as Backend } from "@huggingface/tokenizers";
import { z } from "zod";
import { errorText, MosError, parseWith } from "#common";
import { pathExists, readJson } from "#files";
import { join, runWithTimeout } from "#platform";
import { knownSplits } from "./gguf-pre-tokenizers.ts";
import { broken, exactPreTokenizer, GPT2_SPLIT, unsupported } from "./pre-tokenizer.ts";
import { byteTable, decodeBytes, parseDecodeRule } from "./token-bytes.ts";

/** Milliseconds for a text, which may be a request's, and for each of its characters: ten times what a slow machine takes. */
const [EACH_TEXT, EACH_CHARACTER] = [50, 0.01];

const KNOWN: ReadonlySet<string> = new Set([GPT2_SPLIT, ...knownSplits()]);

/** Tests whether a part of a tokenizer.json has a regular expression other than those of known models. */
function hasOwnPattern(part: unknown): boolean {
  if (typeof part !== "object" || part === null) return false;
  return Object.entries(part).some(([name, value]) =>
    name === "Regex" ? typeof value !== "string" || !KNOWN.has(value) : hasOwnPattern(value),
  );
}

/**
 * A function of a text that ends within a time that is many times what it should take. A regular expression of a tokenizer.json is
 * a program of whoever made that file, and some take longer than anybody's life on forty characters. While one runs, the process
 * hears no signal, so it runs under a watch that V8 keeps.
 *
 * @throws MosError `bad_model` from that function where it does not.
 */
function withTimeLimit<T>(encode: (text: string) => T): (text: string) => T {
  return (text) => {
    let result: { readonly value: T } | undefined;
    const milliseconds = Math.ceil(EACH_TEXT + EACH_CHARACTER * text.length);
    const isOver = runWithTimeout(() => {
      result = { value: encode(text) };
    }, milliseconds);
    if (!isOver)
      throw new MosError(
        "bad_model",
        `tokenizer.json: its regular expressions take more than ${milliseconds / 1000} s for ${text.length} characters; they may not terminate, so do not use this tokenizer`,
      );
    if (result === undefined) throw new Error("the text was not encoded");
    return result.value;
  };
}

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
 * generated. Neither have `add_bos_token` and `add_eos_token`: tokenizer.json's `post_processor` states the added tokens.
 *
 * @throws MosError `bad_model` for a broken file, `unsupported` for another kind of tokenizer.
 */
export function tokenizerFromJson(files: TokenizerFiles): Tokenizer {
  const definition = parseTokenizerJson(files.tokenizer);
  const { bos_token, eos_token } = parseWith(configFile, files.config, {
    code: "bad_model",
    where: "tokenizer_config.json",
  });
  const rule = parseDecodeRule(definition.decoder);
  const backend = createBackend(definition);
  const tokens = tokensById(definition);
  const { addedTokens } = definition;
  const special = new Set(addedTokens.filter((token) => token.special).map((token) => token.id));
  const idToBytes = byteTable(tokens, new Set(addedTokens.map(({ id }) => id)), rule);
  const named = (field: string, token: string | null | undefined): readonly number[] => {
    if (token === undefined || token === null) return [];
    const id = backend.token_to_id(token);
    if (id !== undefined) return [id];
    throw new MosError(
      "bad_model",
      `tokenizer_config.json: ${field} is "${token}", which is not in the vocabulary`,
    );
  };
  const limited = definition.hasOwnPattern ? withTimeLimit : undefined;
  const encode: Tokenizer["encode"] = (text, { addSpecialTokens: add_special_tokens = true } = {}) => {
    const encodeText = (given: string): number[] => backend.encode(given, { add_special_tokens }).ids;
    return (limited?.(encodeText) ?? encodeText)(wellFormed(text));
  };
  const eosTokens = named("eos_token", eos_token);
  const [bosToken] = named("bos_token", bos_token);
  if (encode("").some((id) => !Number.isInteger(id)))
    throw broken("post_processor adds a token that is not in the vocabulary");
  return {
    vocabularySize: tokens.length,
    bosToken,
    eosTokens,
    strippedBlanks: rule.strippedBlanks,
    encode,
    decode: (ids, { skipSpecialTokens = false } = {}) => {
      const kept = skipSpecialTokens ? ids.filter((id) => !special.has(id)) : ids;
      const text = decodeBytes(kept.map(idToBytes));
      return text.slice(leadingBlanks(text, rule.strippedBlanks));
    },
    idToToken: (id) => tokens[id],
    tokenToId: (token) => backend.token_to_id(token),
    isSpecial: (id) => special.has(id),
    idToBytes,
  };
}

/** Number of blanks among the first `limit` characters. */
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
    const message = `tokenizer.json uses an unsupported feature: ${errorText(cause)}`;
    throw new MosError("unsupported", message, { cause });
  }
}

function tokensById({ vocabulary, addedTokens }: TokenizerDefinition): (string | undefined)[] {
  const all = [...vocabulary, ...addedTokens.map(({ id, content }) => [content, id] as const)];
  const size = all.reduce((most, [, id]) => Math.max(most, id + 1), 0);
  const tokens = new Array<string | undefined>(size).fill(undefined);
  for (const [token, id] of all) tokens[id] = token;
  return tokens;
}

/** Bytes; Llama 3's file has 9 MB. */
const MAX_JSON_BYTES = 256 * 1024 * 1024;

/** The two files of a Hugging Face folder, parsed. Throws `not_found` or `bad_model`, naming the file. */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const read = async (name: string): Promise<unknown> => {
    const path = join(folder, name);
    if (await pathExists(path))
      return readJson(path, z.unknown(), { code: "bad_model", maximumBytes: MAX_JSON_BYTES });
    throw new MosError("not_found", `${folder}: there is no ${name}; download the tokenizer's files too`);
  };
  return { tokenizer: await read("tokenizer.json"), config: await read("tokenizer_config.json") };
}

/** A checked tokenizer.json, with the definition that the tokenizer library is given. */
type TokenizerDefinition = ReturnType<typeof parseTokenizerJson>;

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

/** Checks the shape of a parsed tokenizer.json. Throws `bad_model` naming the field, `unsupported` for kinds other than BPE. */
function parseTokenizerJson(json: unknown) {
  const { added_tokens, normalizer, pre_tokenizer, post_processor, decoder, model } = parseWith(file, json, {
    code: "bad_model",
    where: "tokenizer.json",
  });
  checkModel(model);
  const vocabulary = parseVocabulary(model.vocab);
  const merges = parseMerges(model.merges);
  const addedTokens = added_tokens ?? [];
  const wholeWord = addedTokens.find((token) => token.single_word);
  if (wholeWord !== undefined) throw unsupported(`"${wholeWord.content}" is single_word, which`);
  return {
    vocabulary,
    addedTokens,
    decoder,
    /** True if it has regular expressions that are not known to terminate. */
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

function checkModel(model: z.output<typeof file>["model"]): void {
  if (model.type !== undefined && model.type !== "BPE")
    throw unsupported(`a ${model.type} tokenizer`, "; only BPE is");
  for (const field of ["continuing_subword_prefix", "end_of_word_suffix"] as const)
    if (model[field]) throw unsupported(`model.${field} "${model[field]}"`);
}

function parseVocabulary(vocab: unknown): Map<string, number> {
  if (typeof vocab !== "object" || vocab === null || Array.isArray(vocab))
    throw broken("model.vocab must be an object of token → id");
  const vocabulary = new Map<string, number>();
  for (const [token, value] of Object.entries(vocab)) {
    if (!Number.isInteger(value) || value < 0 || value > MAX_ID)
      throw broken(`model.vocab[${JSON.stringify(token)}] is ${String(value)}, not an id`);
    vocabulary.set(token, value);
  }
  return vocabulary;
}

function parseMerges(merges: unknown): (readonly [string, string])[] {
  if (!Array.isArray(merges)) throw broken("model.merges must be a list of pairs");
  return merges.map((merge: unknown, index) => {
    const [left, right, more]: unknown[] =
      typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge : [];
    if (typeof left !== "string" || typeof right !== "string" || more !== undefined || !left || !right)
      throw broken(
        `model.merges[${index}] is ${JSON.stringify(merge)}; a merge is two tokens separated by a space`,
      );
    return [left, right];
  });
}

const tokenName = z
  .union([z.string(), z.looseObject({ content: z.string() }).transform((token) => token.content)])
  .nullish();
/** The fields of tokenizer_config.json that the tokenizer itself needs. */
const configFile = z.looseObject({ bos_token: tokenName, eos_token: tokenName });
