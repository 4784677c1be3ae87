import { describe, expect, test } from "vitest";
import type { TrialResult } from "./cell.ts";
import { measuringTrials, planGrid } from "./grid.ts";
import { listWarnings } from "./main-table.ts";
import { findBest } from "./rate-search.ts";
import { formatReport } from "./report.ts";
import { compareRows, type RowOutcome, summarizeRows } from "./summary.ts";

const grid = await planGrid({
  experiment: "table2",
  model: "assets/tiny-english",
  train: "assets/quickstart/train.jsonl",
  evaluation: "assets/quickstart/validation.jsonl",
  seeds: 3,
  steps: 10,
  training: { maxLength: 64, maxExamples: 100 },
  out: "out",
  version: "1",
});
const { references } = grid.experiment;
const asked = await planGrid({
  ...grid.options,
  benchmarks: ["tydiqa", "gsm8k"],
  benchmarkFolder: () => "test/fixtures/benchmarks",
  benchmarkLimit: 2,
});

const cell = (key: string, seed: number, validationLoss: number): TrialResult => ({
  format: 1,
  identity: "",
  key,
  purpose: "measure",
  learningRate: 1e-3,
  seed,
  trainable: 1,
  losses: [1],
  validationLoss,
  validationExamples: 1,
  answers: { correct: 0, total: 4 },
  tokens: 10,
  seconds: { total: 1, load: 1, training: 1, step: 1, evaluation: 1, answers: 1 },
  peakMemoryBytes: 1e9,
  jobs: 1,
});

/** Outcomes of rows of which some seeds are missing: their losses by seed. */
const outcomes = (losses: Readonly<Record<string, readonly (number | undefined)[]>>): readonly RowOutcome[] =>
  grid.experiment.rows
    .filter(({ key }) => key in losses)
    .map((row) => ({
      row,
      learningRate: 1e-3,
      expected: 3,
      failures: [],
      tuning: [],
      trials: losses[row.key]!.flatMap((loss, seed) =>
        loss === undefined ? [] : [cell(row.key, seed, loss)],
      ),
    }));

test("only seeds that both rows have make pairs, ours − theirs", () => {
  const found = compareRows(outcomes({ "lora-2": [1, undefined, 3], "mos-2": [0.5, 7, 2] }), references);
  expect(found[0]).toMatchObject({
    metric: "validationLoss",
    ours: "mos-2",
    theirs: "lora-2",
    pairs: 2,
    difference: -0.75,
    test: { difference: -0.75, pairs: 2 },
  });
  expect(compareRows(outcomes({ "lora-2": [1], "mos-2": [undefined, 2] }), references)).toEqual([]);
});

test("the base and the other reference are not tested, ablations against their own row only", () => {
  const keys = ["base", "lora-2", "mos-2", "mos-8", "mos-8-sp"];
  const found = compareRows(outcomes(Object.fromEntries(keys.map((key) => [key, [1, 2]]))), references);
  expect(
    found.filter(({ metric }) => metric === "validationLoss").map(({ ours, theirs }) => [ours, theirs]),
  ).toEqual([
    ["mos-2", "lora-2"],
    ["mos-8", "lora-2"],
    ["mos-8", "mos-8-sp"],
  ]);
});

test("a report with one pair, a row without cells, and no right answers", () => {
  const made = outcomes({ "lora-2": [1], "lora-8": [], "mos-2": [0.5, 2] });
  const text = formatReport(grid, {
    rows: summarizeRows(made),
    comparisons: compareRows(made, references),
    pictures: [],
  });
  expect(text).toContain("trained on the first 100 examples of train.jsonl");
  expect(text).not.toContain("found in the training file");
  const leaking = formatReport({ ...grid, repeatedExamples: 1 }, { rows: [], comparisons: [], pictures: [] });
  expect(leaking).toContain("\n1 test example can also be found in the training file.\n");
  expect(text).toContain("| LoRA r=2 | 1 | -0.5000 | – | – | not available | not available |");
  expect(text).toContain("MoS r=6, exact match in points of % (positive is better): no pair differs.");
  expect(text).toMatch(/\| LoRA \| 8 \| 93,440 \| – \| – \| – \| – \| – \| 0\.001 \| 0 of 3 \|/);
  expect(text).not.toMatch(/NaN|undefined|Infinity/);
  const rows = summarizeRows([{ ...made[1]!, expected: 0, learningRate: undefined }]);
  const searching = formatReport(grid, { rows, comparisons: [], pictures: [] });
  expect(searching).toMatch(/^\| LoRA \| 8 \| 93,440 (\| – )+\|$/m);
});

test("results without times, as from another machine, count for everything but the times", () => {
  const [row] = outcomes({ "lora-2": [1, 2] });
  const zeros = { total: 0, load: 0, training: 0, step: 0, evaluation: 0, answers: 0 };
  const [first, second] = row!.trials;
  const trials = [first!, { ...second!, seconds: zeros, peakMemoryBytes: 0 }];
  const [mixed] = summarizeRows([{ ...row!, trials }]);
  expect(mixed).toMatchObject({ validationLoss: { count: 2, mean: 1.5 }, tokensPerSecond: { mean: 10 } });
  expect(mixed).toMatchObject({ stepSeconds: { count: 1 }, peakMemoryBytes: { mean: 1e9 } });
  const only = summarizeRows([{ ...row!, trials: trials.slice(1) }]);
  const text = formatReport(grid, { rows: only, comparisons: [], pictures: [] });
  expect(text).toContain("| LoRA | 2 | 23,360 | 2.0000 | 0.0 | – | – | – | 0.001 | 1 of 3 |");
});

test("benchmarks are columns in the paper's order after the losses, with tests of their own", () => {
  const scored = (one: TrialResult, gsm8k: number, f1: number): TrialResult => ({
    ...one,
    benchmarks: [
      { ...score, task: "tydiqa", metric: "f1", scores: { f1, exact_match: f1 / 2 } },
      { ...score, task: "gsm8k", metric: "exact_match", scores: { exact_match: gsm8k }, tooLong: 1 },
    ],
  });
  const score = {
    identity: "",
    questions: 2,
    tooLong: 0,
    rules: "open-instruct",
    format: "tulu",
    shots: 8,
    seconds: 1,
  };
  const made = outcomes({ base: [3], "lora-2": [1, 2], "mos-2": [0.5, 2] }).map((outcome) => ({
    ...outcome,
    trials: outcome.trials.map((one, i) =>
      outcome.row.key === "base" ? one : scored(one, i / 4, outcome.row.key === "mos-2" ? 30 + i : 20),
    ),
  }));
  const { tasks } = asked.settings.benchmarks!;
  const comparisons = compareRows(made, references, tasks);
  const text = formatReport(asked, { rows: summarizeRows(made, tasks), comparisons, pictures: [] });
  expect(text).toContain(
    "| Validation loss | Exact match (%) | GSM8K EM (%) | TyDi QA F1 (%) | TyDi QA EM (%) | Avg. (%) | Time per step |",
  );
  expect(text).toContain("| 13 ± 18 | 31 ± 1 | 15 ± 0 | 19 ± 6 | 1.00 × |");
  expect(text).toContain("| Base model | – | – | 3.0000 | 0.0 | – | – | – | – | – |");
  expect(text).toContain("gsm8k (2 questions, 8-shot), tydiqa (2 questions, 1-shot)");
  expect(text).toContain("All use the same adapters, trained on train.jsonl. In the paper");
  expect(text).toContain("- gsm8k: 1 of 2 questions without room for an answer, which count as wrong");
  expect(text).toContain("- tydiqa: 3 questions of TyDi QA instead of 5077");
  expect(text).toContain("MoS r=6, GSM8K EM in points of % (positive is better): no pair differs.");
  expect(text).toMatch(
    /TyDi QA F1 in points of % \(positive is better\):\n\n.*\n.*\n\| LoRA r=2 \| 2 \| 11 \|/,
  );
  expect(text).not.toMatch(/NaN|undefined|Infinity/);
});

test("the base is also evaluated without a chat format, where adapters use one", async () => {
  const keys = asked.experiment.rows.map(({ key }) => key);
  expect(keys.slice(0, 3)).toEqual(["base", "base-no-chat", "lora-2"]);
  expect(grid.experiment.rows.map(({ key }) => key)).not.toContain("base-no-chat");
  const formats = asked.experiment.rows
    .slice(0, 3)
    .map((row) => measuringTrials(asked, row, 1e-3)[0]!.benchmarks.map(({ format }) => format));
  expect(formats).toEqual([
    ["tulu", "tulu"],
    ["none", "none"],
    ["tulu", "tulu"],
  ]);
});

test("settings of benchmarks are part of the identity of scores, not of cells", () => {
  const [row] = grid.experiment.rows.filter(({ key }) => key === "mos-2");
  const [plain] = measuringTrials(grid, row!, 1e-3);
  const [scored] = measuringTrials(asked, row!, 1e-3);
  expect(scored!.identity).toBe(plain!.identity);
  expect(plain!.benchmarks).toEqual([]);
  expect(scored!.benchmarks.map(({ task, limit }) => [task, limit])).toEqual([
    ["gsm8k", 2],
    ["tydiqa", 2],
  ]);
});

test("a benchmark that cannot run is reported before training starts", async () => {
  const plan = (more: object) =>
    planGrid({
      ...grid.options,
      benchmarks: ["gsm8k"],
      benchmarkFolder: () => "test/fixtures/benchmarks",
      ...more,
    });
  await expect(plan({ benchmarkFolder: () => "test/fixtures" })).rejects.toMatchObject({ code: "not_found" });
  await expect(plan({ benchmarkLimit: 0 })).rejects.toMatchObject({
    code: "bad_option",
    message: "benchmarkLimit: 0 is invalid; give a whole number, 1 or more",
  });
  await expect(plan({ benchmarks: ["gsm8k", "gsm8k"] })).rejects.toMatchObject({
    code: "bad_option",
    message: expect.stringMatching(/^benchmarks: .* give one or more different ones of mmlu, bbh/),
  });
  await expect(plan({ benchmarks: ["tydiqa"], benchmarkRules: "lm-eval" })).rejects.toMatchObject({
    code: "bad_option",
  });
  await expect(plan({ benchmarkFolder: undefined })).rejects.toMatchObject({ code: "bad_option" });
});

const tuned = await planGrid({ ...grid.options, learningRates: [1e-3, 1e-2], tuneSteps: 10 });

describe("rates that were searched for", () => {
  const tuning = (losses: readonly number[]) =>
    losses.map((loss, i) => ({ learningRate: [0.01, 0.015, 0.0225, 0.03][i]!, loss }));
  const rowsWith = (found: Readonly<Record<string, readonly number[]>>) =>
    outcomes({ "lora-2": [1, 1.1], "mos-2": [0.9, 1.05] }).map((outcome) => {
      const tried = tuning(found[outcome.row.key]!);
      return { ...outcome, tuning: tried, learningRate: findBest(tried)!.learningRate };
    });
  const makeReport = (found: Readonly<Record<string, readonly number[]>>) => {
    const rows = summarizeRows(rowsWith(found));
    const comparisons = compareRows(rows, references);
    const text = formatReport(tuned, { rows, comparisons, pictures: [] });
    return { text, comparisons, warnings: listWarnings(tuned, rows, comparisons) };
  };

  test("a difference is compared with the larger step of both rows", () => {
    const { comparisons, warnings, text } = makeReport({
      "lora-2": [1.02, 1, 1.01],
      "mos-2": [1.2, 1, 1.1],
    });
    expect(comparisons[0]).toMatchObject({ metric: "validationLoss", ours: "mos-2", theirs: "lora-2" });
    expect(comparisons[0]!.rateStep).toBeCloseTo(0.2);
    expect(comparisons.filter(({ metric }) => metric !== "validationLoss")[0]?.rateStep).toBeUndefined();
    expect(warnings).toEqual([
      expect.stringMatching(
        /^The validation loss of MoS r=6 differs .* from that of LoRA r=2 \(-0\.0750, a step 0\.2000\)\. /,
      ),
    ]);
    expect(text).toContain("| MoS r=6 | 0.015 | 1.0000 | 0.01: +0.2000 | 0.0225: +0.1000 |");
    expect(text).toContain("0.2000 (more than the difference) |");
    expect(text).toContain(`- ${warnings[0]}`);
    expect(makeReport({ "lora-2": [1.07, 1, 1.06], "mos-2": [1.02, 1, 1.01] }).warnings).toEqual([]);
  });

  test("a best rate at the end of the range, or next to one that diverged, is reported as such", () => {
    const { warnings, text } = makeReport({
      "lora-2": [1, 1.01, 1.02, 2],
      "mos-2": [1.01, 1, Number.POSITIVE_INFINITY],
    });
    expect(warnings).toEqual([
      expect.stringMatching(/^Best at the lowest rate tried: LoRA r=2 \(0\.01\)\. These may do better/),
    ]);
    expect(text).toContain("| LoRA r=2 | 0.01 | 1.0000 | – | 0.015: +0.0100 |");
    expect(text).toContain("| MoS r=6 | 0.015 | 1.0000 | 0.01: +0.0100 | 0.0225: diverged |");
    expect(text).not.toMatch(/NaN|undefined|Infinity/);
  });
});
