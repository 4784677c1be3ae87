/** Writes the bundled model's tokenizer; deterministic. */
import { writeFileSync } from "node:fs";
import { byteCharacters, trainMerges } from "./bpe.ts";
import { corpus, renderDocument } from "./documents.ts";

/** Special tokens in the order of their ids, which start at 0. */
const SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] as const;

/** ChatML without a default system message. */
const CHAT_TEMPLATE = [
  "{% for message in messages %}",
  "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}",
  "{% endfor %}",
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
].join("");

const byteLevel = (fields: { add_prefix_space: boolean; trim_offsets: boolean }) => ({
  type: "ByteLevel",
  ...fields,
  use_regex: true,
});

/** `tokenizer.json` of a byte-level BPE with `size` entries: special tokens, 256 bytes, merges. */
function tokenizerJson(texts: Iterable<string>, size: number): object {
  const bytes = [...byteCharacters()].sort((a, b) => (a < b ? -1 : 1));
  const merges = trainMerges(texts, size - SPECIAL_TOKENS.length - bytes.length);
  const tokens = [...SPECIAL_TOKENS, ...bytes, ...merges.map(([left, right]) => left + right)];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: byteLevel({ add_prefix_space: false, trim_offsets: true }),
    post_processor: null,
    decoder: byteLevel({ add_prefix_space: true, trim_offsets: true }),
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

/** `tokenizer_config.json` beside it. A turn ends with `<|im_end|>`, a document with `<|endoftext|>`. */
const tokenizerConfig = {
  tokenizer_class: "PreTrainedTokenizerFast",
  add_bos_token: false,
  add_prefix_space: false,
  bos_token: "<|endoftext|>",
  eos_token: "<|im_end|>",
  pad_token: "<|endoftext|>",
  unk_token: null,
  clean_up_tokenization_spaces: false,
  model_max_length: 512,
  chat_template: CHAT_TEMPLATE,
} as const;

const SEED = 0;
const DOCUMENTS = 30_000;
const VOCABULARY = 1024;
const FOLDER = new URL("../../packages/mos/assets/tiny-english/", import.meta.url);

function* texts(): Generator<string> {
  let left = DOCUMENTS;
  for (const document of corpus(SEED, "tokenizer")) {
    if (left-- === 0) return;
    yield SPECIAL_TOKENS.reduce((text, token) => text.replaceAll(token, ""), renderDocument(document));
  }
}

const write = (name: string, content: object): void =>
  writeFileSync(new URL(name, FOLDER), `${JSON.stringify(content, null, 1)}\n`);

write("tokenizer.json", tokenizerJson(texts(), VOCABULARY));
write("tokenizer_config.json", tokenizerConfig);
console.log(`wrote tokenizer.json and tokenizer_config.json (${VOCABULARY} tokens)`);
