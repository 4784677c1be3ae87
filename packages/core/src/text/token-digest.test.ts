import { expect, test } from "vitest";
import { tokenizerFilesFromGguf, tokenizerFromGguf } from "./gguf-tokenizer.ts";
import { tokenDigest } from "./token-digest.ts";
import { tokenizerFromJson } from "./tokenizer.ts";

// "Ġ Ġ" is a token, so that blanks before a number show where it is split
const metadata = (pre: string) => ({
  "tokenizer.ggml.model": "gpt2",
  "tokenizer.ggml.pre": pre,
  "tokenizer.ggml.tokens": ["x", "=", "1", "0", "2", "a", "|", "Ġ", "ĠĠ"],
  "tokenizer.ggml.merges": ["Ġ Ġ"],
});

test("a digest is that of the ids, from a folder and from GGUF, and tells rules apart", () => {
  const smollm = tokenDigest(tokenizerFromGguf(metadata("smollm")));
  expect(tokenDigest(tokenizerFromJson(tokenizerFilesFromGguf(metadata("smollm"))))).toBe(smollm);
  expect(tokenDigest(tokenizerFromGguf(metadata("starcoder")))).toBe(smollm);
  expect(tokenDigest(tokenizerFromGguf(metadata("gpt-2")))).not.toBe(smollm);
});
