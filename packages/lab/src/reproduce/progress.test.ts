import { expect, test } from "vitest";
import type { ReproduceEvent } from "./index.ts";
import { reproduceProgress } from "./progress.ts";

test("shows the progress of cells, the time left, and failures", () => {
  let time = 0;
  const progress = reproduceProgress({ jobs: 2, now: () => time });
  const plan = {
    type: "plan",
    experiment: "table1",
    title: "Table 1",
    rows: [],
    trials: 5,
    finished: 1,
    retrained: 0,
    updates: { tune: 5, measure: 10, left: 35 },
  } as const;
  expect(progress.take(plan)).toBe("Table 1: 0 rows, 5 cells, 1 of them finished before, 2 at a time");
  expect(progress.text()).toBe("1/5");
  const trial = { key: "mos-2", purpose: "measure", learningRate: 1e-3, seed: 0 } as const;
  const other = { ...trial, key: "lora-2", purpose: "tune" } as const;
  progress.take({ type: "started", trial, attempt: 1, pid: 1 });
  progress.take({ type: "started", trial: other, attempt: 1, pid: 2 });
  progress.take({ type: "progress", trial, step: 5, steps: 10, loss: 1.23456 });
  time = 45_000;
  // 4.5 updates in 45 s, and 30.5 are left
  expect(progress.text()).toBe(
    "1/5  5 min 05 s left  ·  mos-2 seed 0 5/10 loss 1.235  ·  lora-2 tuning at 0.001 seed 0 starting",
  );
  const answers = { correct: 3, total: 32 };
  expect(progress.take({ type: "result", trial, validationLoss: 0.71234, answers, seconds: 75 })).toBe(
    "mos-2 seed 0: validation loss 0.7123, 3 of 32 answers right, 1 min 15 s",
  );
  progress.take({ type: "benchmark", trial, task: "gsm8k", done: 3, total: 8 });
  expect(progress.text()).toContain("mos-2 seed 0 gsm8k 3/8");
  const scores = { "GSM8K EM": 12.5, "Avg.": 7 };
  const questions = { "GSM8K EM": 1319, "Avg.": 164 };
  expect(progress.take({ type: "result", trial, validationLoss: 0.7, scores, questions, seconds: 75 })).toBe(
    "mos-2 seed 0: validation loss 0.7000, GSM8K EM 12.50 %, Avg. 7.0 %, 1 min 15 s",
  );
  expect(progress.take({ ...plan, retrained: 2 })).toMatch(
    /, 2 finished cells retrained for the benchmarks, as no adapter was kept$/,
  );
  progress.take({ type: "started", trial: other, attempt: 1, pid: 2 });
  progress.take({ type: "failed", trial, message: "…", retried: false });
  expect(progress.take({ type: "failed", trial: other, message: "it crashed", retried: true })).toBe(
    "lora-2 tuning at 0.001 seed 0 failed, trying once more: it crashed",
  );
  expect(progress.text()).toMatch(/^2\/5 {2}.* left$/);
  progress.take({ type: "failed", trial: other, message: "it crashed", retried: false });
  expect(progress.text()).toMatch(/^3\/5/);
});

const end: Extract<ReproduceEvent, { type: "finish" }> = {
  type: "finish",
  stopped: false,
  files: ["out/table1.md", "out/table1.json"],
  missing: 0,
  table: [
    ["Method", "Validation loss"],
    ["LoRA", "0.7100 ± 0.0100"],
  ],
  rates: [],
  warnings: [],
};
const formatSummary = (more: Partial<typeof end>): string =>
  reproduceProgress({ jobs: 1, now: () => 0 }).summary({ ...end, ...more });

test("ends with the table, warnings, files, and missing results", () => {
  const table = "Method  Validation loss\nLoRA    0.7100 ± 0.0100";
  const files = "out/table1.md\nout/table1.json";
  expect(formatSummary({})).toBe(`${table}\n\n${files}`);
  const rates = [
    ["Method", "Best rate"],
    ["LoRA", "0.01"],
  ];
  expect(formatSummary({ rates, warnings: ["One.", "Two."], missing: 2 })).toBe(
    `${table}\n\nMethod  Best rate\nLoRA         0.01\n\nwarning: One.\nwarning: Two.\n\n${files}\n\n2 results missing; see the table's list of failed cells`,
  );
  expect(formatSummary({ missing: 1, stopped: true })).toContain(
    "1 result missing; the same command resumes",
  );
});

test("labels tuning losses, and counts the cells that a search adds", () => {
  let time = 0;
  const progress = reproduceProgress({ jobs: 1, now: () => time });
  const updates = { tune: 10, measure: 10, left: 40 };
  progress.take({
    type: "plan",
    experiment: "table1",
    title: "Table 1",
    rows: [],
    trials: 4,
    finished: 0,
    retrained: 0,
    updates,
  });
  const trial = { key: "lora-2", purpose: "tune", learningRate: 0.01, seed: 1_000_003 } as const;
  time = 10_000;
  expect(progress.take({ type: "result", trial, validationLoss: 0.71234, seconds: 10 })).toBe(
    "lora-2 tuning at 0.01 seed 1000003: tuning loss 0.7123, 10 s",
  );
  expect(progress.text()).toBe("1/4  30 s left");
  const learningRates = [0.0144, 0.0208];
  expect(progress.take({ type: "refine", key: "lora-2", learningRates, trials: 2, updates: 20 })).toBe(
    "lora-2: next rates 0.0144, 0.0208",
  );
  expect(progress.text()).toBe("1/6  50 s left");
});
