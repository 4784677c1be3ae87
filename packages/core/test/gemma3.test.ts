import { expect, test } from "vitest";
import { openModel, presetConfig } from "#models";
import { expectGoldens } from "./greedy-goldens.ts";
import { readGgufText, readLines, wrongLines } from "./tokenizer-lines.ts";

const path = process.env["MOS_TEST_GEMMA"];
const reason = path === undefined ? " (skipped: set MOS_TEST_GEMMA to the Q4_K_M GGUF file)" : "";
const needsModel = test.skipIf(path === undefined);

needsModel(
  `Gemma 3 270M from GGUF continues greedily as transformers does${reason}`,
  {
    timeout: 300_000,
  },
  () => expectGoldens(path!, "test/fixtures/gemma3-greedy.json"),
);

needsModel(
  `Gemma 3: every text has the ids of its own tokenizer, and they decode to its text${reason}`,
  async () => {
    const { tokenizer } = await readGgufText(path!);
    const lines = readLines("test/fixtures/gemma3-tokens.jsonl.gz");
    expect(lines.length).toBeGreaterThanOrEqual(2600);
    expect(wrongLines(tokenizer, lines)).toEqual({ ids: [], decoded: [], plain: [], streamed: [] });
  },
);

needsModel(`Gemma 3: special ids and the geometry of its preset${reason}`, async () => {
  const { tokenizer } = await readGgufText(path!);
  await using model = await openModel(path!);
  expect(tokenizer.vocabularySize).toBe(262144);
  // <bos>; <eos> and <end_of_turn>
  expect([tokenizer.bosToken, ...tokenizer.eosTokens]).toEqual([2, 1, 106]);
  expect(model.config).toEqual(presetConfig("gemma3-270m"));
});
