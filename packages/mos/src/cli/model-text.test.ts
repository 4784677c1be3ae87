import { expect, test } from "vitest";
import { chatRows, defaultsText } from "./model-text.ts";

const where = "models/tiny/generation_config.json";

test("the temperature that is used is shown, also where nothing sets it", () => {
  expect(defaultsText({ sampling: {}, sources: {} })).toMatch(/^greedy/);
  const narrowed = { sampling: { topP: 0.9, topK: 40 }, sources: { topP: where, topK: "option" } };
  expect(defaultsText(narrowed)).toBe("temperature 1; top-p 0.9 (generation_config.json); top-k 40 (option)");
  const length = { sampling: {}, maxTokens: 512, sources: { maxTokens: where } };
  expect(defaultsText(length)).toBe("temperature 0; max-tokens 512 (generation_config.json)");
  const set = { sampling: { temperature: 0.6, topP: 0.9 }, sources: { temperature: where, topP: where } };
  expect(defaultsText(set)).toBe("temperature 0.6, top-p 0.9 (generation_config.json)");
});

test("what a model says of itself cannot steer the terminal", () => {
  const { isTTY } = process.stdout;
  process.stdout.isTTY = true;
  const rows = chatRows({ template: null, system: "Be\u009b2J brief.", stops: ["<end>", "\u001b[2J"] });
  process.stdout.isTTY = isTTY;
  expect(rows).toEqual([
    ["system message", '"Be\ufffd2J brief.", where none is given'],
    ["answers end at", "<end>, \ufffd[2J"],
  ]);
});
