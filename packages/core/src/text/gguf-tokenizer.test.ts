import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tokenizerFilesFromGguf, tokenizerFromGguf } from "./gguf-tokenizer.ts";
import { textFromGguf } from "./load-text.ts";
import { type TokenizerFiles, tokenizerFromJson } from "./tokenizer.ts";

// A vocabulary trained by sentencepiece, and its own ids for generated texts: scripts/verify/sentencepiece_text.py
interface Fixture {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly lines: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly decoded?: string;
  }[];
}

const readFixture = (name: string) =>
  JSON.parse(
    gunzipSync(readFileSync(new URL(`../../../../test/fixtures/${name}.json.gz`, import.meta.url))).toString(
      "utf8",
    ),
  );
const fixture: Fixture = readFixture("sentencepiece");

// Vocabularies trained by tokenizers in the layouts of these models, and its own ids: scripts/verify/bpe_text.py
describe.each(["gemma4", "lfm2"])("the layout of %s", (name) => {
  const { metadata, tokenizer: json, config, lines }: Fixture & TokenizerFiles = readFixture(`${name}-bpe`);

  test.each([
    ["tokenizer.json", tokenizerFromJson({ tokenizer: json, config })],
    ["a GGUF file", tokenizerFromGguf(metadata)],
  ])("from %s has the ids of tokenizers, and decodes them as it does", (_, tokenizer) => {
    expect(lines.length).toBeGreaterThan(100);
    expect(lines.filter(({ text, ids }) => tokenizer.encode(text).join() !== ids.join())).toEqual([]);
    expect(lines.filter(({ text, ids, decoded = text }) => tokenizer.decode(ids) !== decoded)).toEqual([]);
  });
});

test("a turn of Gemma 4 ends where a result of a tool would begin, and BOS is added whatever the file says", () => {
  const { metadata }: Fixture = readFixture("gemma4-bpe");
  const { tokenizer, generation } = textFromGguf({ ...metadata, "tokenizer.ggml.add_bos_token": false });
  expect(generation.endTokens.map((id) => tokenizer.idToToken(id))).toEqual(
    expect.arrayContaining(["<eos>", "<turn|>", "<|tool_response>"]),
  );
  expect(tokenizer.encode("Hi")[0]).toBe(tokenizer.tokenToId("<bos>"));
});

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
    expect(ids).not.toContain(tokenizer.tokenToId("<0x0A>"));
    expect([...tokenizer.idToBytes(tokenizer.tokenToId("<0x0A>")!)]).toEqual([10]);
  });

  test("without a template takes Tulu's, which ends turns with </s>", () => {
    const { template, tokenizer: ends } = textFromGguf(fixture.metadata);
    expect(template.source).toBe("fallback");
    expect(template.render([{ role: "assistant", content: " Hi \n" }])).toBe("<|assistant|>\nHi</s>\n");
    expect(ends.eosTokens).toEqual([2]);
  });

  test("comes with the sampling that the file asks for", () => {
    const asked = { ...fixture.metadata, "general.sampling.temp": Math.fround(0.7) };
    expect(textFromGguf(asked).generation).toMatchObject({ sampling: { temperature: 0.7 } });
    expect(textFromGguf(fixture.metadata).generation.sampling).toEqual({});
  });
});

describe("Gemma 4's kind", () => {
  const files = tokenizerFilesFromGguf(fixture.metadata);
  const { merges } = (files.tokenizer as { readonly model: { readonly merges: readonly string[][] } }).model;
  const metadata = {
    ...fixture.metadata,
    "tokenizer.ggml.model": "gemma4",
    "tokenizer.ggml.merges": merges.map((pair) => pair.join(" ")),
    "tokenizer.ggml.add_space_prefix": undefined,
  };

  test("merges as the file says, with no blank in front", () => {
    const bare = tokenizerFromGguf({ ...fixture.metadata, "tokenizer.ggml.add_space_prefix": false });
    const tokenizer = tokenizerFromGguf(metadata);
    const [one, other] = [tokenizer, bare].map((each) => fixture.lines.map(({ text }) => each.encode(text)));
    expect(one).toEqual(other);
  });

  test("adds BOS even if the file says no", () => {
    expect(tokenizerFromGguf({ ...metadata, "tokenizer.ggml.add_bos_token": false }).encode("Hi")[0]).toBe(1);
  });

  test("needs merges", () => {
    expect(() => tokenizerFromGguf({ ...metadata, "tokenizer.ggml.merges": undefined })).toThrow(
      "tokenizer.ggml.merges is missing",
    );
  });
});

/** Byte-level: the letters a–d, the blank, and a few words. */
const gpt2 = {
  "tokenizer.ggml.model": "gpt2",
  "tokenizer.ggml.pre": "gpt-2",
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

/** Gemma's kind: no blank in front, and HTML tags and runs of white space that are read whole. */
const gemma = {
  "tokenizer.ggml.model": "llama",
  "tokenizer.ggml.tokens": [
    ...["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "\n", "\n\n", "  ", "</s>"],
    ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
    ...["a", "b", "▁", "▁a", "ab"],
  ],
  "tokenizer.ggml.scores": [...new Array<number>(269).fill(0), -1, -2],
  "tokenizer.ggml.token_type": [
    ...[3, 3, 3, 2, 3, 3, 4, 4, 4, 4],
    ...new Array<number>(256).fill(6),
    ...[1, 1, 1, 1, 1],
  ],
  "tokenizer.ggml.bos_token_id": 2,
  "tokenizer.ggml.eos_token_id": 1,
  "tokenizer.ggml.add_space_prefix": false,
};

describe("Gemma's kind", () => {
  const { tokenizer, generation } = textFromGguf(gemma);
  const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });

  test("has no blank in front, and takes the longest run of white space", () => {
    expect(encode("ab a")).toEqual([270, 269]);
    expect(encode("a\n\n\n  b")).toEqual([266, 7, 6, 8, 267]);
    expect(encode("<start_of_turn>a</s>é")).toEqual([4, 266, 9, 10 + 0xc3, 10 + 0xa9]);
    expect(tokenizer.encode("a")).toEqual([2, 266]);
  });

  test("takes the sign for a blank as the model's own file does, whose runs are spelt with it", () => {
    // tokenizer.json: the longest run of the sign as it stands, else as blanks
    expect(encode("  ")).toEqual([8]);
    expect(encode("▁▁")).toEqual([8]);
    expect(encode("▁▁a▁a")).toEqual([8, 266, 269]);
    expect(encode(" ▁a")).toEqual([8, 266]);
    expect(encode(" ▁▁")).toEqual([268, 8]);
    expect(tokenizer.decode([266, 8, 267])).toBe("a  b");
  });

  test("a run of blanks fills the longest pieces from the left", () => {
    const longer = gemma["tokenizer.ggml.tokens"].with(0, "   ");
    const kinds = gemma["tokenizer.ggml.token_type"].with(0, 4);
    const { tokenizer: three } = textFromGguf({
      ...gemma,
      "tokenizer.ggml.tokens": longer,
      "tokenizer.ggml.token_type": kinds,
    });
    const ids = (blanks: number) => three.encode(`${" ".repeat(blanks)}a`, { addSpecialTokens: false });
    expect([1, 2, 3, 4, 5, 8].map(ids)).toEqual([
      [269],
      [8, 266],
      [0, 266],
      [0, 269],
      [0, 8, 266],
      [0, 0, 8, 266],
    ]);
  });

  test("ends an answer at the end of a turn, too, and not at an HTML tag", () => {
    expect(tokenizer.eosTokens).toEqual([1, 5]);
    expect(generation.endTokens).toEqual([1, 5]);
  });

  test("gives back every text without its own sign for a blank", () => {
    const piece = fc.constantFrom("a", "b", " ", "  ", "\n", "</s>", "<end_of_turn>", "é", "😀");
    const text = fc.array(piece).map((pieces) => pieces.join(""));
    fc.assert(
      fc.property(text, (one) => {
        expect(tokenizer.decode(encode(one))).toBe(one);
      }),
    );
  });
});

describe("how a byte-level tokenizer splits, by tokenizer.ggml.pre", () => {
  /** Every part of the text is a token here, and a word that is one is taken whole. */
  const pieces = (pre: string, text: string): string => {
    const tokens = [...splitText(byteLevel(text)), ...splitText(byteLevel(text.normalize("NFC")))];
    const { tokenizer: described, config } = tokenizerFilesFromGguf({
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": pre,
      "tokenizer.ggml.tokens": [...new Set(tokens)],
      "tokenizer.ggml.merges": [],
    });
    const { model, ...steps } = Object(described);
    const tokenizer = tokenizerFromJson({
      tokenizer: { ...steps, model: { ...model, ignore_merges: true } },
      config,
    });
    return tokenizer
      .encode(text)
      .map((id) => tokenizer.decode([id]))
      .join("|");
  };

  test.each([
    ["gpt-2", "ab 123  LT'd", "ab| 123| | LT|'d"],
    ["smollm", "x =  10", "x| =|  |1|0"],
    ["smollm", "  1. a\n 2", "  |1|.| a|\n |2"],
    ["smollm", "| 1 |  ½½ |", "|| |1| ||  |½|½| |"],
    ["starcoder", "x =  10", "x| =|  |1|0"],
    ["default", "x==  1234", "x|==| | |123|4"],
    ["smaug-bpe", "ab 1234_/\n", "ab| |123|4|_/\n"],
    ["dbrx", "abLT'D 12", "abLT|'D| |12"],
    ["qwen2", "ab 12", "ab| |1|2"],
    ["qwen2", "e\u0301a", "éa"],
    ["qwen35", "xe\u0323\u0302", "xệ"],
    ["deepseek-r1-qwen", "ae\u0301", "ae|\u0301"],
    ["tekken", "abLTab 12/\n/", "ab|LTab| |1|2|/\n/"],
    ["gpt-4o", "abLTa'd 1234", "ab|LTa'd| |123|4"],
    ["refact", "ab  12", "ab|  |1|2"],
  ])("%s: %j", (pre, text, expected) => {
    expect(pieces(pre, text)).toBe(expected);
  });
});

const isPrintable = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
const hidden = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !isPrintable(byte));
/** A text in GPT-2's alphabet of bytes. */
const byteLevel = (text: string): string =>
  Array.from(new TextEncoder().encode(text), (byte) =>
    String.fromCharCode(isPrintable(byte) ? byte : 0x100 + hidden.indexOf(byte)),
  ).join("");
const splitText = (text: string): readonly string[] =>
  Array.from({ length: text.length }, (_, from) =>
    Array.from({ length: text.length - from }, (_, more) => text.slice(from, from + more + 1)),
  ).flat();

describe("what ends an answer", () => {
  const ends = {
    ...gpt2,
    "tokenizer.ggml.tokens": ["<|im_end|>", "a", "b", "c", "d", "Ġ", "ab", "abc", "<|endoftext|>", "<|end|>"],
  };

  test("is what the file names, and what is spelt so and is no ordinary text", () => {
    const kinds = [3, 1, 1, 1, 1, 1, 1, 1, 4, 1];
    const { tokenizer } = textFromGguf({ ...ends, "tokenizer.ggml.token_type": kinds });
    expect(tokenizer.eosTokens).toEqual([0, 8]);
    expect(tokenizer.isSpecial(8)).toBe(true);
  });

  test("is named by eot and eom, too", () => {
    const named = { "tokenizer.ggml.eot_token_id": 7, "tokenizer.ggml.eom_token_id": 6 };
    expect(textFromGguf({ ...gpt2, ...named }).tokenizer.eosTokens).toEqual([0, 7, 6]);
  });
});

test("Phi-3's special tokens take the white space behind them, others do not", () => {
  const encode = (text: string, architecture: string) =>
    tokenizerFromGguf({ ...fixture.metadata, "general.architecture": architecture }).encode(text);
  expect(encode("</s> \n Hi", "phi3")).toEqual(encode("</s>Hi", "phi3"));
  expect(encode("<s> Hi", "phi3")).not.toEqual(encode("<s>Hi", "phi3"));
  expect(encode("</s> \n Hi", "llama")).not.toEqual(encode("</s>Hi", "llama"));
  // Phi-4's tokenizer is byte-level
  const phi4 = tokenizerFromGguf({ ...gpt2, "general.architecture": "phi3" });
  expect(phi4.encode("<|end|> a")).toEqual(tokenizerFromGguf(gpt2).encode("<|end|> a"));
});

describe("what cannot be used is refused", () => {
  const cases: readonly [string, Record<string, unknown>, string, RegExp][] = [
    ["no tokenizer", { "tokenizer.ggml.model": undefined }, "bad_model", /tokenizer\.ggml\.model is missing/],
    ["another kind", { "tokenizer.ggml.model": "bert" }, "unsupported", /"bert" is not supported/],
    [
      "another pre-tokenizer",
      { "tokenizer.ggml.pre": "viking" },
      "unsupported",
      /"viking".*supported are default/,
    ],
    ["no pre-tokenizer", { "tokenizer.ggml.pre": undefined }, "bad_model", /pre is missing.*convert/],
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
