import { expect, test } from "vitest";
import { type PreviewOptions, previewRun } from "#training";

const pair = (prompt: string, chosen: string, rejected: string) => ({ prompt, chosen, rejected });
const PAIRS = [pair("How are you?", "I am well.", "No."), pair("Who is it?", "The dog.", "The light is on.")];
const preview = (options: Partial<PreviewOptions>) =>
  previewRun({
    model: "assets/tiny-english",
    data: PAIRS,
    adapter: { method: "lora", rank: 2 },
    ...options,
  });
const trained = (line: Awaited<ReturnType<typeof preview>>["lines"][number] | undefined): string =>
  (line?.shown ?? [])
    .filter(({ isTrained }) => isTrained)
    .map(({ text }) => text)
    .join("");

test("both answers of a pair are shown, with what counts of each", async () => {
  const { lines, train } = await preview({ settings: { objective: "dpo", steps: 2 } });
  expect(lines.map(({ line, answer }) => [line, answer])).toEqual([
    [1, "chosen"],
    [1, "rejected"],
    [2, "chosen"],
    [2, "rejected"],
  ]);
  expect(lines.map(trained)).toEqual([
    "I am well.<|im_end|>",
    "No.<|im_end|>",
    "The dog.<|im_end|>",
    "The light is on.<|im_end|>",
  ]);
  expect(train).toMatchObject({ examples: 2, dropped: 0 });
  // both answers share their prompt up to its last token
  const shared = [lines[0], lines[2]].map(
    (one) => (one?.shown.findIndex(({ isTrained }) => isTrained) ?? 0) - 1,
  );
  const total = (numbers: readonly number[]): number => numbers.reduce((sum, n) => sum + n, 0);
  expect(train.tokens).toBe(total(lines.map(({ tokens }) => tokens)) - total(shared));
});

test("for ratings, the answers of pairs are examples of their own", async () => {
  const { lines, train } = await preview({ settings: { objective: "kto", steps: 2 } });
  expect(lines.map(({ answer }) => answer)).toEqual(["desirable", "undesirable", "desirable", "undesirable"]);
  expect(train.examples).toBe(4);
});

test("data of another kind are refused with the objectives that learn from them", async () => {
  await expect(preview({})).rejects.toThrowError(
    /example 1: this is a pair of answers .*, but this run learns from examples; the objective for it is dpo or orpo or simpo \(--objective\)/,
  );
  const data = [{ prompt: "How are you?", completion: "Well." }];
  await expect(preview({ data, settings: { objective: "dpo" } })).rejects.toThrowError(
    /example 1: this is an example .*; the objective for it is sft \(--objective\)/,
  );
});
