// `tokenizer.ggml.pre`: how a byte-level GGUF tokenizer splits text before merging. The names are llama.cpp's
// (llama-vocab.cpp), the patterns those of the models' own tokenizer.json; docs/reference/models.md says where llama.cpp differs.
import { MosError } from "#common";
import { GPT2_SPLIT } from "./pre-tokenizer.ts";

/** Text is split by each pattern in turn, every match and every gap a piece. */
interface GgufPreTokenizer {
  readonly splits: readonly string[];
  /** A word that is a token becomes that token, whatever the merges say. */
  readonly ignoreMerges: boolean;
  /** True if BOS is added unless the file says otherwise. */
  readonly addBos: boolean;
  /** True if text is normalised to Unicode's composed form (NFC) first. */
  readonly composes: boolean;
}

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const BLANKS = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const LLAMA3_SPLIT =
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}` + `| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${BLANKS}`;
const QWEN2_SPLIT = LLAMA3_SPLIT.replace("\\p{N}{1,3}", "\\p{N}");
const QWEN35_SPLIT =
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}` +
  `| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${BLANKS}`;

const UPPER = "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}";
const LOWER = "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}";
/** A new word begins where a capital follows a lower-case letter. */
const cased = (ending: string, digits: string): string =>
  `[^\\r\\n\\p{L}\\p{N}]?[${UPPER}]*[${LOWER}]+${ending}|[^\\r\\n\\p{L}\\p{N}]?[${UPPER}]+[${LOWER}]*${ending}` +
  `|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${BLANKS}`;

const plain = (...splits: readonly string[]): GgufPreTokenizer => ({
  splits,
  ignoreMerges: false,
  addBos: false,
  composes: false,
});
const PRE_TOKENIZERS: ReadonlyMap<string, GgufPreTokenizer> = new Map(
  [
    // llama.cpp's rule for files of which it does not know the model; no model was trained with it
    { names: ["default"], rule: plain("[\\p{P}$+<=>^~|]+", GPT2_SPLIT, "\\p{N}+", "[0-9][0-9][0-9]") },
    { names: ["gpt-2", "phi-2", "olmo"], rule: plain(GPT2_SPLIT) },
    {
      names: ["llama3", "llama-v3", "llama-bpe", "falcon3", "pixtral", "lfm2"],
      rule: { ...plain(LLAMA3_SPLIT), ignoreMerges: true, addBos: true },
    },
    // SmolLM3; OLMo 2, Phi-4, Granite 4
    { names: ["smaug-bpe", "dbrx"], rule: plain(LLAMA3_SPLIT) },
    { names: ["tekken"], rule: { ...plain(cased("", "\\p{N}")), ignoreMerges: true, addBos: true } },
    // Qwen 2 to 3
    { names: ["qwen2"], rule: { ...plain(QWEN2_SPLIT), composes: true } },
    { names: ["deepseek-r1-qwen"], rule: plain(QWEN2_SPLIT) },
    { names: ["qwen35"], rule: { ...plain(QWEN35_SPLIT), composes: true } },
    // Phi-4-mini
    { names: ["gpt-4o", "llama4"], rule: plain(cased(`${CONTRACTIONS}?`, "\\p{N}{1,3}")) },
    // SmolLM, SmolLM2; Granite 3
    { names: ["smollm", "refact", "starcoder"], rule: plain("\\p{N}", GPT2_SPLIT) },
  ].flatMap(({ names, rule }) => names.map((name) => [name, rule] as const)),
);

/** The patterns of all of them, which end in time on any text. */
export const knownSplits = (): readonly string[] =>
  [...PRE_TOKENIZERS.values()].flatMap(({ splits }) => splits);

/** @throws MosError `bad_model` where the file names none, `unsupported` for a name that is not in the table. */
export function ggufPreTokenizer(name: string | undefined): GgufPreTokenizer {
  if (name === undefined)
    throw new MosError(
      "bad_model",
      "GGUF: tokenizer.ggml.pre is missing, so it is not known how the model splits text; llama.cpp's converter has written it since May 2024: convert the model again, or download a newer file",
    );
  const found = PRE_TOKENIZERS.get(name);
  if (found !== undefined) return found;
  throw new MosError(
    "unsupported",
    `GGUF: tokenizer.ggml.pre "${name}" is not supported; supported are ${[...PRE_TOKENIZERS.keys()].join(", ")}`,
  );
}
