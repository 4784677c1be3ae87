import { expect, test } from "vitest";
import type { CellResult } from "./cell.ts";
import { planGrid } from "./grid.ts";
import { markdownOf } from "./markdown.ts";
import { comparisonsOf, type RowOutcome, summariesOf } from "./report.ts";

const grid = await planGrid({
  experiment: "table2",
  model: "assets/tiny-english",
  train: "assets/quickstart/train.jsonl",
  evaluation: "assets/quickstart/heldout.jsonl",
  seeds: 3,
  steps: 10,
  training: { maxLength: 64, examples: 100 },
  out: "out",
  version: "1",
});
const { references } = grid.experiment;

const cell = (key: string, seed: number, heldOutLoss: number): CellResult => ({
  ...{ format: 1, identity: "", key, purpose: "measure", learningRate: 1e-3, seed, trainable: 1 },
  ...{ losses: [1], heldOutLoss, heldOutExamples: 1, answers: { correct: 0, total: 4 }, tokens: 10 },
  seconds: { total: 1, load: 1, training: 1, step: 1, evaluation: 1, answers: 1 },
  ...{ peakMemoryBytes: 1e9, jobs: 1 },
});

/** Outcomes of rows of which some seeds are missing: their losses by seed. */
const outcomes = (losses: Readonly<Record<string, readonly (number | undefined)[]>>): readonly RowOutcome[] =>
  grid.experiment.rows
    .filter(({ key }) => key in losses)
    .map((row) => ({
      ...{ row, learningRate: 1e-3, expected: 3, failures: [], tuning: [] },
      cells: losses[row.key]!.flatMap((loss, seed) =>
        loss === undefined ? [] : [cell(row.key, seed, loss)],
      ),
    }));

test("only seeds that both rows have make pairs, ours − theirs", () => {
  const found = comparisonsOf(outcomes({ "lora-2": [1, undefined, 3], "mos-2": [0.5, 7, 2] }), references);
  expect(found[0]).toMatchObject({
    ...{ metric: "heldOutLoss", ours: "mos-2", theirs: "lora-2", pairs: 2, difference: -0.75 },
    test: { difference: -0.75, pairs: 2 },
  });
  expect(comparisonsOf(outcomes({ "lora-2": [1], "mos-2": [undefined, 2] }), references)).toEqual([]);
});

test("the base and the other reference are not tested, ablations against their own row only", () => {
  const keys = ["base", "lora-2", "mos-2", "mos-8", "mos-8-sp"];
  const found = comparisonsOf(outcomes(Object.fromEntries(keys.map((key) => [key, [1, 2]]))), references);
  expect(
    found.filter(({ metric }) => metric === "heldOutLoss").map(({ ours, theirs }) => [ours, theirs]),
  ).toEqual([
    ["mos-2", "lora-2"],
    ["mos-8", "lora-2"],
    ["mos-8", "mos-8-sp"],
  ]);
});

test("the report of one pair, of a row without cells, and of answers that are all wrong", () => {
  const made = outcomes({ "lora-2": [1], "lora-8": [], "mos-2": [0.5, 2] });
  const text = markdownOf(grid, {
    ...{ rows: summariesOf(made), comparisons: comparisonsOf(made, references), pictures: [] },
  });
  expect(text).toContain("trained on the first 100 examples of train.jsonl");
  expect(text).not.toContain("can be found in the training file");
  const leaking = markdownOf({ ...grid, repeatedExamples: 1 }, { rows: [], comparisons: [], pictures: [] });
  expect(leaking).toContain("\n1 example of those measured on can be found in the training file, too.\n");
  expect(text).toContain("| LoRA r=2 | 1 | -0.5000 | – | – | not available | not available |");
  expect(text).toContain("MoS r=6, exact match in points of % (positive is better): no pair differs.");
  expect(text).toMatch(/\| LoRA \| 8 \| 93,440 \| – \| – \| – \| – \| – \| 0\.001 \| 0 of 3 \|/);
  expect(text).not.toMatch(/NaN|undefined|Infinity/);
});
