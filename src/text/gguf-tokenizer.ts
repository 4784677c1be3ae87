import { MosError } from "#core";
import { booleanAt, type GgufMetadata, indexAt, numbersAt, stringAt, stringsAt } from "./gguf-metadata.ts";
import { BYTE_LEVEL_STEP, GPT2_SPLIT, splitStep } from "./pre-tokenizer.ts";
import { type Tokenizer, type TokenizerFiles, tokenizerFromJson } from "./tokenizer.ts";

/** llama.cpp's numbers for kinds of tokens (llama.h, llama_token_type). */
const KIND = { normal: 1, unknown: 2, control: 3, userDefined: 4 } as const;

const LLAMA3_SPLIT =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" +
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const QWEN2_SPLIT = LLAMA3_SPLIT.replace("\\p{N}{1,3}", "\\p{N}");
const TEKKEN_SPLIT =
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" +
  "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" +
  "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

interface PreTokenizer {
  readonly split: string;
  /** A word that is a token becomes that token, whatever the merges say. */
  readonly ignoreMerges: boolean;
  /** Whether BOS is added where the file does not say. */
  readonly addBos: boolean;
}

const gpt2: PreTokenizer = { split: GPT2_SPLIT, ignoreMerges: false, addBos: false };
const llama3: PreTokenizer = { split: LLAMA3_SPLIT, ignoreMerges: true, addBos: true };

/**
 * `tokenizer.ggml.pre` → how text is split before merging.
 *
 * "smollm" is read as transformers 5 reads it from GGUF, as GPT-2's, so that both give the same ids. SmolLM's own
 * tokenizer.json, and llama.cpp, split at every digit first, which gives other ids where two or more blanks precede a
 * number, or where characters such as ½ follow each other. From a Hugging Face folder, its own rule is used.
 */
const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map([
  ["default", gpt2],
  ["gpt-2", gpt2],
  ["smollm", gpt2],
  ["olmo", gpt2],
  ["llama3", llama3],
  ["llama-v3", llama3],
  ["llama-bpe", llama3],
  ["falcon3", llama3],
  ["pixtral", llama3],
  ["smaug-bpe", { ...llama3, ignoreMerges: false, addBos: false }],
  ["tekken", { split: TEKKEN_SPLIT, ignoreMerges: true, addBos: true }],
  ["qwen2", { split: QWEN2_SPLIT, ignoreMerges: false, addBos: false }],
]);

/**
 * The tokenizer that a GGUF file's metadata describes.
 *
 * @throws MosError `bad_model` naming the key, `unsupported` naming the kind of tokenizer or pre-tokenizer.
 * @example
 * const tokenizer = tokenizerFromGguf(metadata);
 */
export function tokenizerFromGguf(metadata: GgufMetadata): Tokenizer {
  return tokenizerFromJson(tokenizerFilesFromGguf(metadata));
}

/**
 * The same as tokenizer.json and tokenizer_config.json, so that a tokenizer is built in one way; complete, so that
 * Hugging Face's own libraries read them too.
 *
 * @throws MosError as `tokenizerFromGguf`.
 */
export function tokenizerFilesFromGguf(metadata: GgufMetadata): TokenizerFiles {
  const kind = stringAt(metadata, "tokenizer.ggml.model");
  if (kind === undefined)
    throw new MosError("bad_model", "GGUF: tokenizer.ggml.model is missing; the file holds no tokenizer");
  const vocabulary = readVocabulary(metadata);
  const { model, addBos, ...steps } = kindOf(kind)(vocabulary, metadata);
  const { tokens } = vocabulary;
  const named = (key: string): string | undefined => {
    const id = indexAt(metadata, `tokenizer.ggml.${key}_token_id`, tokens.length);
    return id === undefined ? undefined : tokens[id];
  };
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: addedTokens(vocabulary, metadata),
      ...steps,
      post_processor: postProcessor(vocabulary, metadata, addBos),
      model: {
        type: "BPE",
        ...PLAIN_BPE,
        ...model,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      },
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: named("bos"),
      eos_token: named("eos"),
      unk_token: named("unknown"),
      pad_token: named("padding"),
      chat_template: stringAt(metadata, "tokenizer.chat_template"),
      clean_up_tokenization_spaces: false,
    },
  };
}

/** The fields of tokenizer.json that are the same for every BPE here. */
const PLAIN_BPE = {
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
};

interface Vocabulary {
  readonly tokens: readonly string[];
  /** One of KIND for each token; all normal where the file does not say. */
  readonly kinds: Float64Array;
}

function readVocabulary(metadata: GgufMetadata): Vocabulary {
  const tokens = stringsAt(metadata, "tokenizer.ggml.tokens");
  if (tokens === undefined || tokens.length === 0)
    throw new MosError("bad_model", "GGUF: tokenizer.ggml.tokens is missing or empty");
  const kinds = numbersAt(metadata, "tokenizer.ggml.token_type", tokens.length);
  return { tokens, kinds: kinds ?? new Float64Array(tokens.length).fill(KIND.normal) };
}

interface Described {
  readonly model: object;
  readonly normalizer: object | null;
  readonly pre_tokenizer: object | null;
  readonly decoder: object;
  readonly addBos: boolean;
}

type Describe = (vocabulary: Vocabulary, metadata: GgufMetadata) => Described;

function kindOf(kind: string): Describe {
  if (kind === "gpt2") return describeByteLevel;
  if (kind === "llama") return describeSentencePiece;
  throw new MosError(
    "unsupported",
    `GGUF: tokenizer.ggml.model "${kind}" is not supported; "gpt2" and "llama" are`,
  );
}

const describeByteLevel: Describe = (_, metadata) => {
  const name = stringAt(metadata, "tokenizer.ggml.pre") ?? "default";
  const pre = PRE_TOKENIZERS.get(name);
  if (pre === undefined)
    throw new MosError(
      "unsupported",
      `GGUF: tokenizer.ggml.pre "${name}" is not supported; known are ${[...PRE_TOKENIZERS.keys()].join(", ")}`,
    );
  const merges = stringsAt(metadata, "tokenizer.ggml.merges");
  if (merges === undefined) throw new MosError("bad_model", "GGUF: tokenizer.ggml.merges is missing");
  return {
    model: { merges, ignore_merges: pre.ignoreMerges },
    normalizer: null,
    pre_tokenizer: { type: "Sequence", pretokenizers: [splitStep(pre.split), BYTE_LEVEL_STEP] },
    decoder: { ...BYTE_LEVEL_STEP, use_regex: true },
    addBos: pre.addBos,
  };
};

const describeSentencePiece: Describe = ({ tokens, kinds }, metadata) => {
  const scores = numbersAt(metadata, "tokenizer.ggml.scores", tokens.length);
  if (scores === undefined) throw new MosError("bad_model", "GGUF: tokenizer.ggml.scores is missing");
  const pieces = tokens.map((token, id) => ({ token, score: scores[id] ?? 0 }));
  const merges = mergesFromScores(pieces.filter((_, id) => kinds[id] === KIND.normal));
  const unknown = indexAt(metadata, "tokenizer.ggml.unknown_token_id", tokens.length);
  const firstUnknown = unknown ?? kinds.indexOf(KIND.unknown);
  const blank = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const prefix = booleanAt(metadata, "tokenizer.ggml.add_space_prefix") ?? true;
  const decoders = [
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
  ];
  return {
    model: { merges, unk_token: tokens[firstUnknown] ?? null, fuse_unk: true, byte_fallback: true },
    normalizer: prefix
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, blank] }
      : blank,
    pre_tokenizer: null,
    decoder: { type: "Sequence", decoders },
    addBos: true,
  };
};

/** SentencePiece's pieces are at most 16 characters by default; the limit bounds the time that a broken file can take. */
const MAX_PIECE_LENGTH = 512;

interface ScoredPiece {
  readonly token: string;
  /** Higher merges first. */
  readonly score: number;
}

/**
 * The merges of a SentencePiece BPE vocabulary, best first.
 *
 * SentencePiece merges the pair whose union has the highest score, the leftmost of equals. So the merges are all ways to
 * cut a piece into two others, by descending score, and those of one piece by descending length of the left part.
 */
function mergesFromScores(pieces: readonly ScoredPiece[]): [string, string][] {
  const known = new Set(pieces.map((piece) => piece.token));
  const merges: { readonly pair: [string, string]; readonly score: number }[] = [];
  for (const { token, score } of pieces) {
    if (token.length > MAX_PIECE_LENGTH)
      throw new MosError(
        "bad_model",
        `tokenizer.ggml.tokens: a piece of ${token.length} characters is not credible`,
      );
    for (let cut = token.length - 1; cut > 0; cut--) {
      const left = token.slice(0, cut);
      const right = token.slice(cut);
      if (known.has(left) && known.has(right)) merges.push({ pair: [left, right], score });
    }
  }
  // the sort is stable, so the order of cuts above is kept
  return merges.sort((a, b) => b.score - a.score).map((merge) => merge.pair);
}

/** Control and unknown tokens and the named ones are special; user-defined ones are only matched whole. */
function addedTokens({ tokens, kinds }: Vocabulary, metadata: GgufMetadata): object[] {
  const special = new Set<number>();
  for (const name of ["bos", "eos", "unknown", "padding", "eot"]) {
    const id = indexAt(metadata, `tokenizer.ggml.${name}_token_id`, tokens.length);
    if (id !== undefined) special.add(id);
  }
  return tokens.flatMap((content, id) => {
    const kind = kinds[id];
    const isSpecial = special.has(id) || kind === KIND.control || kind === KIND.unknown;
    if (content === "" || (!isSpecial && kind !== KIND.userDefined)) return [];
    const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    return [{ id, content, ...plain, special: isSpecial }];
  });
}

function postProcessor({ tokens }: Vocabulary, metadata: GgufMetadata, addBos: boolean): object {
  const idsOf = (key: "bos" | "eos", byDefault: boolean): readonly number[] => {
    if (!(booleanAt(metadata, `tokenizer.ggml.add_${key}_token`) ?? byDefault)) return [];
    const id = indexAt(metadata, `tokenizer.ggml.${key}_token_id`, tokens.length);
    if (id !== undefined) return [id];
    if (byDefault) return [];
    throw new MosError("bad_model", `GGUF: add_${key}_token is true, but there is no ${key}_token_id`);
  };
  const [before, after] = [idsOf("bos", addBos), idsOf("eos", false)];
  /** A text, or the second one of a pair. */
  const around = (sequence: "A" | "B", type: number): object[] => {
    const special = (id: number): object => ({ SpecialToken: { id: tokens[id], type_id: type } });
    return [...before.map(special), { Sequence: { id: sequence, type_id: type } }, ...after.map(special)];
  };
  const used = [...before, ...after].map((id) => {
    const token = tokens[id] ?? "";
    return [token, { id: token, ids: [id], tokens: [token] }] as const;
  });
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(used),
  };
}
