import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { openGguf } from "#formats";

import { createDetokenizer, type LoadedText, textFromGguf } from "#text";

// Texts with the ids that transformers gives for them: scripts/verify/tokenizer_text.py
interface Line {
  readonly text: string;
  readonly ids: readonly number[];
  readonly decoded?: string;
  readonly plain?: string;
}

const path = process.env["MOS_TEST_MODEL"];
const reason =
  path === undefined ? " (skipped: set MOS_TEST_MODEL to SmolLM2-135M-Instruct's GGUF file)" : "";
const needsModel = test.skipIf(path === undefined);

function readLines(): readonly Line[] {
  const packed = readFileSync(new URL("./fixtures/smollm2-tokens.jsonl.gz", import.meta.url));
  const lines = gunzipSync(packed).toString("utf8").trimEnd().split("\n");
  return lines.slice(1).map((line): Line => JSON.parse(line));
}

async function load(): Promise<LoadedText> {
  await using file = await openGguf(path!);
  return textFromGguf(file.metadata);
}

needsModel(`SmolLM2: every text has transformers' ids, and they decode to its text${reason}`, async () => {
  const { tokenizer } = await load();
  const lines = readLines();
  expect(lines.length).toBeGreaterThanOrEqual(2500);
  expect(lines.filter(({ text, ids }) => tokenizer.encode(text).join() !== ids.join())).toEqual([]);
  expect(lines.filter(({ text, ids, decoded = text }) => tokenizer.decode(ids) !== decoded)).toEqual([]);
  const plainly = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecialTokens: true });
  expect(lines.filter(({ text, ids, decoded = text, plain = decoded }) => plainly(ids) !== plain)).toEqual(
    [],
  );
  const streamed = (ids: readonly number[]): string => {
    const detokenizer = createDetokenizer(tokenizer);
    return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
  };
  expect(lines.filter(({ text, ids, decoded = text }) => streamed(ids) !== decoded)).toEqual([]);
});

needsModel(`SmolLM2: special ids and the chat template${reason}`, async () => {
  const { tokenizer, template } = await load();
  expect(tokenizer.vocabularySize).toBe(49152);
  // <|im_start|>; <|im_end|> and <|endoftext|>
  expect([tokenizer.bosToken, ...tokenizer.eosTokens]).toEqual([1, 2, 0]);
  expect(template.source).toBe("model");
  expect(template.render([{ role: "user", content: "Hi" }], { addGenerationPrompt: true })).toBe(
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n" +
      "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
  );
});
