import { MosError } from "#common";
import { booleanAt, type GgufMetadata, indexAt, numbersAt, stringAt, stringsAt } from "./gguf-metadata.ts";
import { ggufPreTokenizer } from "./gguf-pre-tokenizers.ts";
import { BYTE_LEVEL_STEP, splitStep } from "./pre-tokenizer.ts";
import { type Tokenizer, type TokenizerFiles, tokenizerFromJson } from "./tokenizer.ts";

/** llama.cpp's numbers for kinds of tokens (llama.h, llama_token_type). */
const KIND = { normal: 1, unknown: 2, control: 3, userDefined: 4 } as const;

/**
 * The tokenizer that a GGUF file's metadata describes.
 *
 * @throws MosError `bad_model` naming the key, `unsupported` naming the kind of tokenizer or pre-tokenizer.
 */
export const tokenizerFromGguf = (metadata: GgufMetadata): Tokenizer =>
  tokenizerFromJson(tokenizerFilesFromGguf(metadata));

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
  const { model, addBos, ...steps } = describeSteps(kind, vocabulary, metadata);
  // early files of Gemma 4 say that BOS is not added, which llama.cpp overrides, too
  const said = kind === "gemma4" ? { ...metadata, "tokenizer.ggml.add_bos_token": true } : metadata;
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
      post_processor: postProcessor(vocabulary, said, addBos),
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
  const known = kinds ?? new Float64Array(tokens.length).fill(KIND.normal);
  if (stringAt(metadata, "tokenizer.ggml.model") !== "llama") return { tokens, kinds: known };
  // the model's own file spells these with ▁ like all others, GGUF with blanks
  const spelled = tokens.map((token, id) =>
    known[id] === KIND.userDefined ? token.replaceAll(" ", "▁") : token,
  );
  return { tokens: spelled, kinds: known };
}

function describeSteps(kind: string, vocabulary: Vocabulary, metadata: GgufMetadata) {
  if (kind === "gpt2") return describeByteLevel(metadata);
  if (kind === "llama") return describeSentencePiece(vocabulary, metadata);
  if (kind === "gemma4") return describeGemma4(vocabulary, metadata);
  throw new MosError(
    "unsupported",
    `GGUF: tokenizer.ggml.model "${kind}" is not supported; "gpt2", "llama" and "gemma4" are`,
  );
}

function describeByteLevel(metadata: GgufMetadata) {
  const pre = ggufPreTokenizer(stringAt(metadata, "tokenizer.ggml.pre"));
  return {
    model: { merges: readMerges(metadata), ignore_merges: pre.ignoreMerges },
    normalizer: pre.composes ? { type: "NFC" } : null,
    pre_tokenizer: { type: "Sequence", pretokenizers: [...pre.splits.map(splitStep), BYTE_LEVEL_STEP] },
    decoder: { ...BYTE_LEVEL_STEP, use_regex: true },
    addBos: pre.addBos,
  };
}

function readMerges(metadata: GgufMetadata): readonly string[] {
  const merges = stringsAt(metadata, "tokenizer.ggml.merges");
  if (merges === undefined) throw new MosError("bad_model", "GGUF: tokenizer.ggml.merges is missing");
  return merges;
}

function describeSentencePiece(vocabulary: Vocabulary, metadata: GgufMetadata) {
  const { tokens, kinds } = vocabulary;
  const scores = numbersAt(metadata, "tokenizer.ggml.scores", tokens.length);
  if (scores === undefined) throw new MosError("bad_model", "GGUF: tokenizer.ggml.scores is missing");
  const ofKind = (kind: number): readonly number[] => [...tokens.keys()].filter((id) => kinds[id] === kind);
  const score = (id: number): number => scores[id] ?? 0;
  const normal = ofKind(KIND.normal).toSorted((a, b) => score(b) - score(a));
  const merges = deriveMerges([...blankRuns(vocabulary), ...normal.map((id) => tokens[id] ?? "")]);
  const prefix = booleanAt(metadata, "tokenizer.ggml.add_space_prefix") ?? true;
  return describePieces(vocabulary, metadata, { merges, prefix });
}

/** Gemma 4's pieces are SentencePiece's, with merges of their own. */
const describeGemma4 = (vocabulary: Vocabulary, metadata: GgufMetadata) =>
  describePieces(vocabulary, metadata, { merges: readMerges(metadata), prefix: false });

interface Pieces {
  readonly merges: readonly (string | readonly [string, string])[];
  /** A blank is put in front of the text. */
  readonly prefix: boolean;
}

/** Pieces of text in which blanks are ▁, and bytes where there is none. */
function describePieces({ tokens, kinds }: Vocabulary, metadata: GgufMetadata, { merges, prefix }: Pieces) {
  const unknown = indexAt(metadata, "tokenizer.ggml.unknown_token_id", tokens.length);
  const firstUnknown = unknown ?? kinds.indexOf(KIND.unknown);
  const blank = { type: "Replace", pattern: { String: " " }, content: "▁" };
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
}

/** SentencePiece's pieces are at most 16 characters by default; the limit bounds the time that a broken file can take. */
const MAX_PIECE_LENGTH = 512;

/**
 * User-defined pieces with blanks, which merge before all others. The longest come first: a run grows to the longest
 * piece before the next run begins, as where SentencePiece looks for user-defined pieces. Those without blanks need no
 * merges, since they are added tokens and cut out of the text as they stand.
 */
const blankRuns = ({ tokens, kinds }: Vocabulary): readonly string[] =>
  tokens
    .filter((token, id) => kinds[id] === KIND.userDefined && token.includes("▁"))
    .toSorted((a, b) => b.length - a.length);

/**
 * The merges of a SentencePiece BPE vocabulary, whose pieces are given best first.
 *
 * SentencePiece merges the pair whose union has the highest score, the leftmost of equals. So the merges are all ways to
 * cut a piece into two others, by descending score, and those of one piece by descending length of the left part.
 */
function deriveMerges(pieces: readonly string[]): (readonly [string, string])[] {
  // parts are the vocabulary's own strings, so that half a million merges hold no copies
  const known = new Map(pieces.map((token) => [token, token]));
  const merges: [string, string][] = [];
  for (const token of pieces) {
    if (token.length > MAX_PIECE_LENGTH)
      throw new MosError(
        "bad_model",
        `tokenizer.ggml.tokens: a token of ${token.length} characters exceeds the limit`,
      );
    for (let cut = token.length - 1; cut > 0; cut--) {
      const left = known.get(token.slice(0, cut));
      const right = left === undefined ? undefined : known.get(token.slice(cut));
      if (left !== undefined && right !== undefined) merges.push([left, right]);
    }
  }
  return merges;
}

/**
 * Control and unknown tokens, the named ones and those that end an answer are special; user-defined ones are only matched
 * whole. GGUF does not say which take the blanks after them; as in llama.cpp, Phi-3's do; those of Phi-4, whose
 * architecture is the same, are byte-level and do not.
 */
function addedTokens({ tokens, kinds }: Vocabulary, metadata: GgufMetadata): object[] {
  const special = new Set(endsByText({ tokens, kinds }));
  for (const name of ["bos", "eos", "unknown", "padding", "eot", "eom"]) {
    const id = indexAt(metadata, `tokenizer.ggml.${name}_token_id`, tokens.length);
    if (id !== undefined) special.add(id);
  }
  const isPhi3 =
    stringAt(metadata, "general.architecture") === "phi3" &&
    stringAt(metadata, "tokenizer.ggml.model") === "llama";
  return tokens.flatMap((content, id) => {
    const kind = kinds[id];
    const isSpecial = special.has(id) || kind === KIND.control || kind === KIND.unknown;
    if (content === "" || (!isSpecial && kind !== KIND.userDefined)) return [];
    const rstrip = isPhi3 && !["<unk>", "<s>", "<|endoftext|>"].includes(content);
    return [
      { id, content, single_word: false, lstrip: false, rstrip, normalized: false, special: isSpecial },
    ];
  });
}

/** Spellings that end an answer in any model, by llama.cpp's list; without </s>, which is an HTML tag to Gemma. */
const END_TEXTS: ReadonlySet<string> = new Set([
  ...["<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<eos>"],
  ...["<|eot_id|>", "<|eom_id|>", "<EOT>", "<end_of_utterance>", "<turn|>", "<|tool_response>"],
]);

/** Tokens that are not pieces of ordinary text, and are spelt as an end. */
const endsByText = ({ tokens, kinds }: Vocabulary): number[] =>
  tokens.flatMap((token, id) => (END_TEXTS.has(token) && kinds[id] !== KIND.normal ? [id] : []));

/**
 * Ids that end an answer: those that the file names, then those that are spelt so, since converters often name only one.
 *
 * @throws MosError `bad_model` naming the key.
 */
export function endTokensFromGguf(metadata: GgufMetadata): readonly number[] {
  const vocabulary = readVocabulary(metadata);
  const named = ["eos", "eot", "eom"].flatMap((name) => {
    const id = indexAt(metadata, `tokenizer.ggml.${name}_token_id`, vocabulary.tokens.length);
    return id === undefined ? [] : [id];
  });
  return [...new Set([...named, ...endsByText(vocabulary)])];
}

function postProcessor({ tokens }: Vocabulary, metadata: GgufMetadata, addBos: boolean): object {
  const specialIds = (key: "bos" | "eos", byDefault: boolean): readonly number[] => {
    if (!(booleanAt(metadata, `tokenizer.ggml.add_${key}_token`) ?? byDefault)) return [];
    const id = indexAt(metadata, `tokenizer.ggml.${key}_token_id`, tokens.length);
    if (id !== undefined) return [id];
    if (byDefault) return [];
    throw new MosError("bad_model", `GGUF: add_${key}_token is true, but there is no ${key}_token_id`);
  };
  const [before, after] = [specialIds("bos", addBos), specialIds("eos", false)];
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
