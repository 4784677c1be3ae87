import { expect, test } from "vitest";
import { tokenizerFilesFromGguf, tokenizerFromGguf } from "./gguf-tokenizer.ts";
import { tokenMarks } from "./token-marks.ts";
import { tokenizerFromJson } from "./tokenizer.ts";

// "Ġ Ġ" is a token, so that blanks before a number show where it is split
const metadata = (pre: string) => ({
  "tokenizer.ggml.model": "gpt2",
  "tokenizer.ggml.pre": pre,
  "tokenizer.ggml.tokens": ["x", "=", "1", "0", "2", "a", "|", "Ġ", "ĠĠ"],
  "tokenizer.ggml.merges": ["Ġ Ġ"],
});

test("marks are those of the ids, from a folder and from GGUF, and tell rules apart", () => {
  const smollm = tokenMarks(tokenizerFromGguf(metadata("smollm")));
  expect(tokenMarks(tokenizerFromJson(tokenizerFilesFromGguf(metadata("smollm")))).digest).toBe(
    smollm.digest,
  );
  expect(tokenMarks(tokenizerFromGguf(metadata("starcoder"))).digest).toBe(smollm.digest);
  expect(tokenMarks(tokenizerFromGguf(metadata("gpt-2"))).digest).not.toBe(smollm.digest);
});

test("the rules that gave other ids before say so", () => {
  const changed = ["smollm", "default", "gpt-2", "starcoder"].filter(
    (pre) => tokenMarks(tokenizerFromGguf(metadata(pre))).hadOtherIds,
  );
  expect(changed).toEqual(["smollm", "default"]);
});
