import { expect, test } from "vitest";
import { BENCHMARK_NAMES, type BenchmarkName } from "#evaluation";
import type { BenchmarkScore, TrialResult } from "./cell.ts";
import { columnValue, listColumns } from "./summary.ts";

const score = (
  task: BenchmarkName,
  metric: string,
  scores: Readonly<Record<string, number>>,
): BenchmarkScore => ({
  task,
  identity: task,
  metric,
  scores: { ...scores },
  questions: 4,
  tooLong: 0,
  rules: "open-instruct",
  format: "tulu",
  shots: 0,
  seconds: 1,
});

const trial: TrialResult = {
  format: 1,
  identity: "",
  key: "mos-2",
  purpose: "measure",
  learningRate: 1e-3,
  seed: 0,
  trainable: 1,
  losses: [1],
  validationLoss: 1,
  validationExamples: 1,
  tokens: 10,
  peakMemoryBytes: 1e9,
  jobs: 1,
  seconds: { total: 1, load: 1, training: 1, step: 1, evaluation: 1, answers: 1 },
  // LoRA of rank 2 in the paper
  benchmarks: [
    score("humaneval", "pass@1", { "pass@1": 0.1824, "pass@10": 0.3 }),
    score("tydiqa", "f1", { f1: 48.67, exact_match: 35.7 }),
    score("gsm8k", "exact_match", { exact_match: 0.2628 }),
    score("bbh", "average_exact_match", { exact_match: 0.9, average_exact_match: 0.3622 }),
    {
      ...score("facts", "exact_match", { exact_match: 0.5 }),
      groups: {
        "trained wording": { scores: { exact_match: 0.75 }, questions: 4 },
        "second wording": { scores: { exact_match: 0.25 }, questions: 4 },
      },
    },
    score("mmlu", "average_acc", { average_acc: 0.4477, acc: 0.4477, "cat_acc/STEM": 0.9 }),
  ],
};

test("seven columns in the paper's order and two of facts, in per cent, with the paper's average", () => {
  const columns = listColumns(BENCHMARK_NAMES).map(
    ({ key, title }) => [title, columnValue(trial, key, BENCHMARK_NAMES)?.toFixed(2)] as const,
  );
  expect(columns).toEqual([
    ["MMLU EM", "44.77"],
    ["BBH EM", "36.22"],
    ["GSM8K EM", "26.28"],
    ["TyDi QA F1", "48.67"],
    ["TyDi QA EM", "35.70"],
    ["HumanEval P@1", "18.24"],
    ["Facts kept", "75.00"],
    ["Second wording", "25.00"],
    ["Avg.", "34.98"],
  ]);
});

test("one column has no average, and TyDi QA has two", () => {
  expect(listColumns(["gsm8k"]).map(({ key }) => key)).toEqual(["gsm8k"]);
  expect(listColumns(["humaneval", "tydiqa"]).map(({ key }) => key)).toEqual([
    ...["tydiqa-f1", "tydiqa-em", "humaneval", "average"],
  ]);
  expect(listColumns(["facts", "gsm8k"]).map(({ key }) => key)).toEqual(["gsm8k", "facts", "facts-reworded"]);
  expect(listColumns([])).toEqual([]);
  expect(columnValue(trial, "average", ["tydiqa"])).toBeCloseTo((48.67 + 35.7) / 2, 10);
});

test("an average needs all its columns, and a column needs its task", () => {
  const part: TrialResult = { ...trial, benchmarks: trial.benchmarks!.slice(0, 2) };
  expect(columnValue(part, "humaneval", BENCHMARK_NAMES)).toBeCloseTo(18.24, 10);
  expect(columnValue(part, "mmlu", BENCHMARK_NAMES)).toBeUndefined();
  expect(columnValue(part, "average", BENCHMARK_NAMES)).toBeUndefined();
  expect(columnValue(trial, "gsm8k", ["bbh"])).toBeUndefined();
});
