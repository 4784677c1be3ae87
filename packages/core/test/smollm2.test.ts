import { expect, test } from "vitest";
import { expectGoldens } from "./greedy-goldens.ts";
import { compareStored } from "./stored-base.ts";
import { readGgufText, readLines, wrongLines } from "./tokenizer-lines.ts";

const path = process.env["MOS_TEST_MODEL"];
const reason =
  path === undefined ? " (skipped: set MOS_TEST_MODEL to SmolLM2-135M-Instruct's GGUF file)" : "";
const needsModel = test.skipIf(path === undefined);

needsModel(
  `SmolLM2-135M from GGUF continues greedily as transformers does${reason}`,
  { timeout: 300_000 },
  () => expectGoldens(path!, "test/fixtures/smollm2-greedy.json"),
);

needsModel(
  `SmolLM2 as its file stores it has the logits, loss and gradients of its float32 expansion${reason}`,
  { timeout: 300_000 },
  async () => {
    // "A lighthouse shows ships where they are."
    const { loss, differences } = await compareStored(path!, [49, 335, 4168, 7086, 5283, 837, 502, 359, 30]);
    expect(loss).toBeGreaterThan(1);
    for (const [what, share] of Object.entries(differences)) expect(share, what).toBeLessThan(1e-4);
  },
);

needsModel(
  `SmolLM2: every text has the ids of its own tokenizer, and they decode to its text${reason}`,
  async () => {
    const { tokenizer } = await readGgufText(path!);
    const lines = readLines("test/fixtures/smollm2-tokens.jsonl.gz");
    expect(lines.length).toBeGreaterThanOrEqual(2600);
    expect(wrongLines(tokenizer, lines)).toEqual({ ids: [], decoded: [], plain: [], streamed: [] });
  },
);

needsModel(`SmolLM2: special ids and the chat template${reason}`, async () => {
  const { tokenizer, template } = await readGgufText(path!);
  expect(tokenizer.vocabularySize).toBe(49152);
  // <|im_start|>; <|im_end|> and <|endoftext|>
  expect([tokenizer.bosToken, ...tokenizer.eosTokens]).toEqual([1, 2, 0]);
  expect(template.source).toBe("model");
  expect(template.render([{ role: "user", content: "Hi" }], { addGenerationPrompt: true })).toBe(
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n" +
      "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
  );
});
