import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { tokenizerFromGguf } from "./gguf-tokenizer.ts";
import { textFromGguf } from "./load-text.ts";

// A vocabulary trained by sentencepiece, and its own ids for generated texts: scripts/verify/sentencepiece_text.py
interface Fixture {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly lines: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly decoded?: string;
  }[];
}

const fixture: Fixture = JSON.parse(
  gunzipSync(readFileSync(new URL("../../test/fixtures/sentencepiece.json.gz", import.meta.url))).toString(
    "utf8",
  ),
);

describe("the SentencePiece kind", () => {
  const tokenizer = tokenizerFromGguf(fixture.metadata);

  test("has sentencepiece's ids for every text", () => {
    expect(fixture.lines.length).toBeGreaterThan(700);
    const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false }).join();
    expect(fixture.lines.filter(({ text, ids }) => encode(text) !== ids.join())).toEqual([]);
  });

  test("decodes them as sentencepiece does", () => {
    expect(
      fixture.lines.filter(({ text, ids, decoded = text }) => tokenizer.decode(ids) !== decoded),
    ).toEqual([]);
  });

  test("adds BOS unless the file says no, and EOS if it says yes", () => {
    const inner = tokenizer.encode("Hi", { addSpecialTokens: false });
    expect(tokenizer.encode("Hi")).toEqual([1, ...inner]);
    const ends = { "tokenizer.ggml.add_bos_token": false, "tokenizer.ggml.add_eos_token": true };
    expect(tokenizerFromGguf({ ...fixture.metadata, ...ends }).encode("Hi")).toEqual([...inner, 2]);
  });

  test("puts no blank in front when add_space_prefix is false", () => {
    const bare = tokenizerFromGguf({ ...fixture.metadata, "tokenizer.ggml.add_space_prefix": false });
    expect(bare.encode(" Hi", { addSpecialTokens: false })).toEqual(
      tokenizer.encode("Hi", { addSpecialTokens: false }),
    );
    expect(bare.decode(bare.encode("  x"), { skipSpecialTokens: true })).toBe("  x");
  });

  test("reads special tokens in the text, and not byte tokens", () => {
    const ids = tokenizer.encode("</s><0x0A>", { addSpecialTokens: false });
    expect(ids[0]).toBe(2);
    expect(ids).not.toContain(tokenizer.idOf("<0x0A>"));
    expect([...tokenizer.bytesOf(tokenizer.idOf("<0x0A>")!)]).toEqual([10]);
  });

  test("without a template takes Tulu's, which ends turns with </s>", () => {
    const { template, tokenizer: ends } = textFromGguf(fixture.metadata);
    expect(template.source).toBe("default");
    expect(template.render([{ role: "assistant", content: " Hi \n" }])).toBe("<|assistant|>\nHi</s>\n");
    expect(ends.eosTokens).toEqual([2]);
  });

  test("comes with the sampling that the file asks for", () => {
    const asked = { ...fixture.metadata, "general.sampling.temp": Math.fround(0.7) };
    expect(textFromGguf(asked).generation).toMatchObject({ sampling: { temperature: 0.7 } });
    expect(textFromGguf(fixture.metadata).generation.sampling).toEqual({});
  });
});

/** Byte-level: the letters a–d, the blank, and a few words. */
const gpt2 = {
  "tokenizer.ggml.model": "gpt2",
  "tokenizer.ggml.pre": "default",
  "tokenizer.ggml.tokens": ["<|end|>", "a", "b", "c", "d", "Ġ", "ab", "abc", "Ġab", "<think>"],
  "tokenizer.ggml.token_type": [3, 1, 1, 1, 1, 1, 1, 1, 1, 4],
  "tokenizer.ggml.merges": ["a b", "Ġ ab"],
  "tokenizer.ggml.bos_token_id": 0,
  "tokenizer.ggml.eos_token_id": 0n,
};

describe("the byte-level kind", () => {
  test("merges, and reads control and user-defined tokens whole", () => {
    const tokenizer = tokenizerFromGguf(gpt2);
    expect(tokenizer.encode("abc ab<think><|end|>d")).toEqual([6, 3, 8, 9, 0, 4]);
    expect(tokenizer.isSpecial(0)).toBe(true);
    expect(tokenizer.isSpecial(9)).toBe(false);
    expect(tokenizer.decode([8, 9, 0], { skipSpecialTokens: true })).toBe(" ab<think>");
  });

  test("llama-bpe takes a word that is a token whole, and adds BOS", () => {
    const tokenizer = tokenizerFromGguf({ ...gpt2, "tokenizer.ggml.pre": "llama-bpe" });
    expect(tokenizer.encode("abc")).toEqual([0, 7]);
  });
});

describe("what cannot be used is refused", () => {
  const cases: readonly [string, Record<string, unknown>, string, RegExp][] = [
    ["no tokenizer", { "tokenizer.ggml.model": undefined }, "bad_model", /tokenizer\.ggml\.model is missing/],
    ["another kind", { "tokenizer.ggml.model": "bert" }, "unsupported", /"bert" is not supported/],
    [
      "another pre-tokenizer",
      { "tokenizer.ggml.pre": "viking" },
      "unsupported",
      /"viking".*known are default/,
    ],
    ["no tokens", { "tokenizer.ggml.tokens": [] }, "bad_model", /tokens is missing or empty/],
    [
      "tokens that are numbers",
      { "tokenizer.ggml.tokens": ["a", 3] },
      "bad_model",
      /tokens\[1\] is not a string/,
    ],
    ["no merges", { "tokenizer.ggml.merges": undefined }, "bad_model", /merges is missing/],
    ["a merge of one", { "tokenizer.ggml.merges": ["a b", "ab"] }, "bad_model", /merges\[1\] is "ab"/],
    ["too few types", { "tokenizer.ggml.token_type": [1] }, "bad_model", /token_type.*it has 1/],
    ["an id outside", { "tokenizer.ggml.eos_token_id": 10 }, "bad_model", /eos_token_id.*below 10, but 10/],
    ["scores missing", { "tokenizer.ggml.model": "llama" }, "bad_model", /scores is missing/],
    [
      "a text as flag",
      { "tokenizer.ggml.add_bos_token": "yes" },
      "bad_model",
      /add_bos_token is not true or false/,
    ],
  ];
  test.each(cases)("%s", (_, change, code, message) => {
    const refused = expect(() => tokenizerFromGguf({ ...gpt2, ...change }));
    refused.toThrowError(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});
