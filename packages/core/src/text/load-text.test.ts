import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startCpuTimer } from "../../../../test/cpu-time.ts";
import { loadTextFromFolder } from "./load-text.ts";
import { readTokenizerFiles, tokenizerFromJson } from "./tokenizer.ts";

const special = (id: number, content: string) => ({ id, content, special: true, normalized: false });
const tokenizerJson = {
  version: "1.0",
  added_tokens: [special(4, "<|im_start|>"), special(5, "<|im_end|>"), special(6, "</s>"), special(7, "<s>")],
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: null,
  decoder: { type: "ByteLevel" },
  model: { type: "BPE", vocab: { a: 0, b: 1, Ġ: 2, ab: 3 }, merges: [["a", "b"]] },
};
const config = { bos_token: null, eos_token: { content: "</s>" }, clean_up_tokenization_spaces: true };

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-text-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function write(files: Readonly<Record<string, unknown>>): Promise<void> {
  const all = { "tokenizer.json": tokenizerJson, "tokenizer_config.json": config, ...files };
  for (const [name, content] of Object.entries(all))
    if (content !== undefined)
      await writeFile(join(folder, name), typeof content === "string" ? content : JSON.stringify(content));
}

describe("a folder", () => {
  test("gives tokenizer and default template; the turn's end ends a generation too", async () => {
    await write({});
    const { tokenizer, template } = await loadTextFromFolder(folder);
    expect(tokenizer.encode("ab a<|im_end|>")).toEqual([3, 2, 0, 5]);
    expect(tokenizer.decode([3, 2, 0, 5], { skipSpecialTokens: true })).toBe("ab a");
    expect([tokenizer.vocabularySize, tokenizer.bosToken]).toEqual([8, undefined]);
    expect(template.source).toBe("default");
    expect(tokenizer.eosTokens).toEqual([6, 5]);
  });

  test("takes the default of several templates, and generation_config's end tokens", async () => {
    const chat_template = [
      { name: "tool_use", template: "no" },
      { name: "default", template: "{{ messages[0].content }}" },
    ];
    await write({
      "tokenizer_config.json": { ...config, chat_template },
      "generation_config.json": { eos_token_id: [6, 7, 999] },
    });
    const { tokenizer, template } = await loadTextFromFolder(folder);
    expect(template.source).toBe("model");
    expect(template.render([{ role: "user", content: "x" }])).toBe("x");
    expect(tokenizer.eosTokens).toEqual([6, 7]);
  });

  test("takes the first of several templates where none is the default", async () => {
    const chat_template = [
      { name: "rag", template: "first" },
      { name: "tool_use", template: "second" },
    ];
    await write({ "tokenizer_config.json": { ...config, chat_template } });
    expect((await loadTextFromFolder(folder)).template.render([])).toBe("first");
  });

  test("chat_template.jinja wins over tokenizer_config.json", async () => {
    await write({
      "tokenizer_config.json": { ...config, chat_template: "old" },
      "chat_template.jinja": "new{{ eos_token }}\n",
    });
    expect((await loadTextFromFolder(folder)).template.render([])).toBe("new</s>");
  });
});

describe("broken files are refused, by name", () => {
  const model = (change: object) => ({
    "tokenizer.json": { ...tokenizerJson, model: { ...tokenizerJson.model, ...change } },
  });
  const change = (part: object) => ({ "tokenizer.json": { ...tokenizerJson, ...part } });
  const cases: readonly [string, Record<string, unknown>, string, RegExp][] = [
    ["no tokenizer.json", { "tokenizer.json": undefined }, "not_found", /tokenizer\.json/],
    ["no config", { "tokenizer_config.json": undefined }, "not_found", /tokenizer_config\.json/],
    ["not JSON", { "tokenizer.json": "{" }, "bad_model", /tokenizer\.json: not valid JSON/],
    ["a list", { "tokenizer.json": [] }, "bad_model", /tokenizer\.json: /],
    ["no model", change({ model: undefined }), "bad_model", /field "model"/],
    ["Unigram", model({ type: "Unigram" }), "unsupported", /a Unigram tokenizer is not supported/],
    ["vocabulary as list", model({ vocab: ["a"] }), "bad_model", /model\.vocab must be/],
    [
      "an id that is a text",
      model({ vocab: { a: "0" } }),
      "bad_model",
      /model\.vocab\["a"\] is 0, not an id/,
    ],
    ["a huge id", model({ vocab: { a: 1e12 } }), "bad_model", /not an id/],
    ["merges as object", model({ merges: {} }), "bad_model", /model\.merges must be a list/],
    ["a merge of three", model({ merges: ["a b a"] }), "bad_model", /model\.merges\[0\] is "a b a"/],
    ["a suffix", model({ end_of_word_suffix: "</w>" }), "unsupported", /end_of_word_suffix "<\/w>"/],
    ["a decoder", change({ decoder: { type: "WordPiece" } }), "unsupported", /decoder "WordPiece"/],
    ["no decoder", change({ decoder: null }), "unsupported", /no decoder/],
    ["a pre-tokenizer", change({ pre_tokenizer: { type: "Foo" } }), "unsupported", /Foo/],
    [
      "a split",
      change({ pre_tokenizer: { type: "Split", pattern: { String: "a" }, behavior: "MergedWithNext" } }),
      "unsupported",
      /MergedWithNext/,
    ],
    [
      "a pattern",
      change({ pre_tokenizer: { type: "Split", pattern: { Regex: "(" }, behavior: "Isolated" } }),
      "unsupported",
      /regular expression/i,
    ],
    [
      "an added token without id",
      change({ added_tokens: [{ content: "x" }] }),
      "bad_model",
      /added_tokens\.0\.id/,
    ],
    [
      "a BOS that is not a token",
      change({
        post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "<bos>" } }], pair: [] },
      }),
      "bad_model",
      /post_processor adds a token/,
    ],
    [
      "an EOS that is not a token",
      { "tokenizer_config.json": { eos_token: "<eos>" } },
      "bad_model",
      /eos_token is "<eos>"/,
    ],
    [
      "a template that is a number",
      { "tokenizer_config.json": { chat_template: 3 } },
      "bad_model",
      /chat_template/,
    ],
    [
      "a template that does not parse",
      { "chat_template.jinja": "{% for %}" },
      "bad_model",
      /chat_template\.jinja does not parse/,
    ],
    [
      "end tokens that are texts",
      { "generation_config.json": { eos_token_id: "x" } },
      "bad_model",
      /generation_config\.json.*eos_token_id/,
    ],
  ];
  test.each(cases)("%s", async (_, files, code, message) => {
    await write(files);
    await expect(loadTextFromFolder(folder)).rejects.toThrowError(
      expect.objectContaining({ name: "MosError", code, message: expect.stringMatching(message) }),
    );
  });
});

describe("pre-tokenizers are run as in Rust", () => {
  const load = async (pre_tokenizer: object) => {
    await write({ "tokenizer.json": { ...tokenizerJson, pre_tokenizer, model: wide } });
    return tokenizerFromJson(await readTokenizerFiles(folder));
  };
  // a vocabulary in which each merge shows that its two halves were in one piece
  const wide = {
    type: "BPE",
    vocab: {
      Ġ: 0,
      "1": 1,
      "2": 2,
      "12": 3,
      ĠĠ: 8,
      Ġ1: 9,
      Â: 10,
      ħ: 11,
      Âħ: 12,
      ĠÂħ: 13,
      ï: 14,
      "»": 15,
      "¿": 16,
      "ï»¿": 17,
      "ï»": 18,
      "Ġï»¿": 19,
    },
    merges: ["Ġ Ġ", "1 2", "Ġ 1", "Â ħ", "Ġ Âħ", "ï »", "ï» ¿", "Ġ ï»¿"],
  };

  test("U+0085 is white space, U+FEFF is not", async () => {
    const tokenizer = await load({ type: "ByteLevel", add_prefix_space: false, use_regex: true });
    expect(tokenizer.encode(" \u0085")).toEqual([13]);
    expect(tokenizer.encode(" \u00851")).toEqual([0, 12, 1]);
    expect(tokenizer.encode(" \uFEFF")).toEqual([19]);
  });

  test("Digits cuts at each digit", async () => {
    const digits = { type: "Digits", individual_digits: true };
    const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: true };
    const tokenizer = await load({ type: "Sequence", pretokenizers: [digits, byteLevel] });
    expect(tokenizer.encode("12")).toEqual([1, 2]);
    expect(tokenizer.encode("  1")).toEqual([8, 1]);
    const plain = await load(byteLevel);
    expect(plain.encode("12")).toEqual([3]);
    expect(plain.encode("  1")).toEqual([0, 9]);
  });

  test("a split before which a piece ends with its character, as Gemma's files have it for blanks", async () => {
    const split = { type: "Split", pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false };
    const encode = async (pre_tokenizer: object | null) => {
      const blank = { type: "Replace", pattern: { String: "▁" }, content: " " };
      const decoder = { type: "Sequence", decoders: [blank, { type: "ByteFallback" }, { type: "Fuse" }] };
      // each merge shows that its two halves were in one piece
      const vocab = { a: 0, " ": 1, "a ": 2, " a": 3, "  ": 4, aa: 5 };
      const merges = [
        ["a", " "],
        [" ", "a"],
        [" ", " "],
        ["a", "a"],
      ];
      const changed = { ...tokenizerJson, added_tokens: [special(6, "</s>")], pre_tokenizer, decoder };
      await write({ "tokenizer.json": { ...changed, model: { type: "BPE", vocab, merges } } });
      const tokenizer = tokenizerFromJson(await readTokenizerFiles(folder));
      return ["a a", "a  a", " a", "aa", "  "].map((text) => tokenizer.encode(text));
    };
    expect(await encode(split)).toEqual([[2, 0], [2, 1, 0], [1, 0], [5], [1, 1]]);
  });
});

describe("a regular expression that would not end", () => {
  const evil = "(?:a+)+$";
  const normalizer = { type: "Replace", pattern: { Regex: evil }, content: "b" };
  const split = { type: "Split", pattern: { Regex: evil }, behavior: "Isolated", invert: false };
  const preTokenizer = {
    type: "Sequence",
    pretokenizers: [split, { ...tokenizerJson.pre_tokenizer, use_regex: false }],
  };

  const giveUp = async (change: object): Promise<void> => {
    await write({ "tokenizer.json": { ...tokenizerJson, ...change } });
    const tokenizer = tokenizerFromJson(await readTokenizerFiles(folder));
    const spent = startCpuTimer();
    expect(() => tokenizer.encode(`${"a".repeat(60)}!`)).toThrowError(
      expect.objectContaining({
        name: "MosError",
        code: "bad_model",
        message: expect.stringMatching(/^tokenizer\.json: .* more than 0\.051 s for 61 characters/),
      }),
    );
    expect(spent()).toBeLessThan(1000); // it would take years
    expect(tokenizer.encode("ab")).toEqual([3]);
  };
  test("of the normalizer is given up, and what ends is encoded", () => giveUp({ normalizer }));
  test("of the pre-tokenizer is, too", { tags: "thorough" }, () => giveUp({ pre_tokenizer: preTokenizer }));
});
