import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runs } from "../../../../test/runs.ts";
import { createDetokenizer } from "./detokenizer.ts";
import { type Tokenizer, tokenizerFromJson } from "./tokenizer.ts";

const special = [
  { id: 256, content: "<end>", special: true, normalized: false },
  { id: 257, content: "▁é<x>", special: false, normalized: false },
];

/** fast-check's own take a second to be listed. */
const character = fc
  .integer({ min: 0, max: 0x10f7ff })
  .map((code) => String.fromCodePoint(code < 0xd800 ? code : code + 0x800));

/** One token for each byte, written in GPT-2's alphabet, and two added tokens. */
function byteLevel(): Tokenizer {
  const printable = (byte: number) => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  let next = 0x100;
  const letters = Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(printable(byte) ? byte : next++),
  );
  const vocab = Object.fromEntries(letters.map((letter, byte) => [letter, byte]));
  return tokenizerFromJson({
    tokenizer: {
      added_tokens: special,
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
      decoder: { type: "ByteLevel" },
      model: { type: "BPE", vocab, merges: [] },
    },
    config: { eos_token: "<end>" },
  });
}

/** SentencePiece: 256 byte tokens, two added tokens, and some pieces. */
function sentencePiece(): Tokenizer {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const tokens = [...bytes, "<end>", "▁é<x>", "▁", "▁▁", "▁a", "a", "é", "世", "<0xZZ>"];
  return tokenizerFromJson({
    tokenizer: {
      added_tokens: special,
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: "▁" }, content: " " },
          { type: "ByteFallback" },
          { type: "Fuse" },
          { type: "Strip", content: " ", start: 1, stop: 0 },
        ],
      },
      model: {
        type: "BPE",
        vocab: Object.fromEntries(tokens.map((t, i) => [t, i])),
        merges: [],
        byte_fallback: true,
      },
    },
    config: {},
  });
}

function run(tokenizer: Tokenizer, ids: readonly number[], skipSpecialTokens: boolean): readonly string[] {
  const detokenizer = createDetokenizer(tokenizer, { skipSpecialTokens });
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
}

const utf8 = (text: string): number[] => [...new TextEncoder().encode(text)];

describe.each([
  ["byte-level", byteLevel()],
  ["SentencePiece", sentencePiece()],
])("%s", (_, tokenizer) => {
  // ids beyond the vocabulary too; real text, so that complete characters occur; and bytes that are not UTF-8
  const anyId = fc.integer({ min: 0, max: tokenizer.vocabularySize + 2 });
  const someIds = fc
    .array(
      fc.oneof(
        anyId.map((id) => [id]),
        fc.string({ unit: "grapheme", maxLength: 3 }).map(utf8),
      ),
      { maxLength: 30 },
    )
    .map((parts) => parts.flat());

  test("pieces joined are the text decoded at once", () => {
    fc.assert(
      fc.property(someIds, fc.boolean(), (ids, skipSpecialTokens) => {
        expect(run(tokenizer, ids, skipSpecialTokens).join("")).toBe(
          tokenizer.decode(ids, { skipSpecialTokens }),
        );
      }),
      { numRuns: runs(500) },
    );
  });

  test("no piece of well-formed text has half a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 12 }), (text) => {
        for (const piece of run(tokenizer, utf8(text), false)) {
          if (/\p{Surrogate}/u.test(piece) || (piece.includes("\uFFFD") && !text.includes("\uFFFD")))
            expect.fail(`${JSON.stringify(piece)} of ${JSON.stringify(text)}`);
        }
      }),
      { numRuns: runs(100) },
    );
  });

  test("text comes as soon as it is certain", () => {
    expect(run(tokenizer, utf8("aé世🙂"), false)).toEqual(["a", "", "é", "", "", "世", "", "", "", "🙂", ""]);
  });

  test("what is not UTF-8 becomes U+FFFD as in Python", () => {
    // e2 82 | 41: one U+FFFD for the unfinished character; ff: one; ed a0 80 (a surrogate): three
    expect(tokenizer.decode([0xe2, 0x82, 0x41, 0xff])).toBe("\uFFFDA\uFFFD");
    expect(tokenizer.decode([0xed, 0xa0, 0x80])).toBe("\uFFFD\uFFFD\uFFFD");
    expect(run(tokenizer, [0xe2, 0x82], false)).toEqual(["", "", "\uFFFD"]);
  });

  test("a byte order mark is text", () => {
    expect(run(tokenizer, utf8("\uFEFFa"), false).join("")).toBe("\uFEFFa");
  });
});

test("SentencePiece's first blank is removed once, wherever the text starts", () => {
  const tokenizer = sentencePiece();
  const [end, blank, blanks, a] = [256, 258, 259, 260];
  expect(tokenizer.decode([blanks, a])).toBe("  a");
  expect(run(tokenizer, [blank, a, a], false)).toEqual(["", " a", " a", ""]);
  expect(run(tokenizer, [end, a], true).join("")).toBe("a");
  expect(run(tokenizer, [end, a], false).join("")).toBe("<end> a");
});

test("a detokenizer can be used again after flush", () => {
  const detokenizer = createDetokenizer(sentencePiece());
  expect([detokenizer.push(260), detokenizer.flush(), detokenizer.push(260)]).toEqual(["a", "", "a"]);
});
