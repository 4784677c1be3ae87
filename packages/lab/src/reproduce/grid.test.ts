import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { TrialSpec } from "./cell.ts";
import { type Grid, measuringTrials, planGrid } from "./grid.ts";
import { searchRate } from "./rate-search.ts";
import type { ReproduceOptions } from "./settings.ts";

const options: ReproduceOptions = {
  experiment: "table2",
  model: "assets/tiny-english",
  train: "assets/quickstart/train.jsonl",
  evaluation: "assets/quickstart/validation.jsonl",
  seeds: 2,
  steps: 10,
  learningRates: [1e-3, 1e-2],
  training: { maxLength: 64 },
  out: "out",
  version: "1",
};

const tuningTrials = (grid: Grid, row: Grid["selected"][number]): readonly TrialSpec[] =>
  searchRate(grid, row, new Map()).trials;
const listTrials = (grid: Grid): readonly TrialSpec[] =>
  grid.selected.flatMap((row) => [...tuningTrials(grid, row), ...measuringTrials(grid, row, 1e-3)]);
const identities = async (more: Partial<ReproduceOptions> = {}): Promise<ReadonlyMap<string, string>> =>
  new Map(
    listTrials(await planGrid({ ...options, ...more })).map(({ folder, identity }) => [folder, identity]),
  );

const TUNING = "test/fixtures/tuning.jsonl";

let before: ReadonlyMap<string, string>;
beforeAll(async () => {
  before = await identities();
});

/** The kinds of cells whose identity changes. */
const changedBy = async (more: Partial<ReproduceOptions>): Promise<string> => {
  const after = await identities(more);
  const changed = [...before].filter(([folder, identity]) => after.get(folder) !== identity);
  const kinds = changed.map(([folder]) =>
    folder.includes("base") ? "base" : folder.includes("tuning") ? "tuning" : "measuring",
  );
  return [...new Set(kinds)].sort().join(" ");
};

describe("a cell's identity changes with everything that decides its result:", () => {
  test.each<[string, Partial<ReproduceOptions>, string]>([
    ["nothing", {}, ""],
    ["updates", { steps: 11, tuneSteps: 10 }, "measuring"],
    ["updates of tuning", { tuneSteps: 5 }, "tuning"],
    ["examples to choose rates on", { tuneExamples: 5 }, "tuning"],
    ["a file to choose rates on", { tuneEvaluation: TUNING }, "tuning"],
    ["seeds to choose rates with", { tuneSeeds: 3 }, ""],
    ["the program's version", { version: "2" }, "base measuring tuning"],
    ["dropout", { dropout: 0 }, "measuring tuning"],
    ["sequences per batch", { training: { maxLength: 64, batchSize: 2 } }, "base measuring tuning"],
    ["examples to train on", { training: { maxLength: 64, maxExamples: 100 } }, "measuring tuning"],
    ["examples to measure on", { evaluationExamples: 5 }, "base measuring"],
    ["answers", { answers: 5 }, "base measuring"],
    ["length of answers", { answerTokens: 5 }, "base measuring"],
    ["the file to measure on", { evaluation: "test/fixtures/none.jsonl" }, "refused"],
    [
      "the file to train on",
      { train: "assets/quickstart/validation.jsonl", evaluation: options.train },
      "base measuring tuning",
    ],
    ["jobs, threads, and what is kept", { jobs: 2, threads: 3, keepAdapters: true, command: "mos" }, ""],
    ["how the base is kept", { baseDtype: "nf4" }, "base measuring tuning"],
    ["what its products are computed in", { computeDtype: "int8" }, "base measuring tuning"],
    ["more seeds", { seeds: 5 }, ""],
  ])("%s", async (_, more, kinds) => {
    if (kinds === "refused") await expect(changedBy(more)).rejects.toMatchObject({ code: "not_found" });
    else expect(await changedBy(more)).toBe(kinds);
  });

  test("alpha, except for VeRA, which has none", async () => {
    const after = await identities({ alpha: 8 });
    const same = [...before].filter(([folder, identity]) => after.get(folder) === identity);
    expect(new Set(same.map(([folder]) => folder.split("/")[2]))).toEqual(
      new Set(["base", "vera-256", "vera-equal"]),
    );
  });

  test("cells are all different, except those of rows that are equal on this model", () => {
    expect(new Set(before.values()).size).toBe(before.size);
  });
});

test("examples that are both trained and measured on are counted", async () => {
  expect((await planGrid(options)).repeatedExamples).toBe(0);
  const folder = await mkdtemp(join(tmpdir(), "mos-grid-"));
  try {
    const lines = (await readFile(options.train, "utf8")).split("\n");
    const own = '{"messages":[{"role":"user","content":"No?"},{"role":"assistant","content":"Yes."}]}';
    const evaluation = join(folder, "some.jsonl");
    await writeFile(evaluation, ["", lines[3], lines[8], own].join("\n"));
    const count = async (more: Partial<ReproduceOptions>): Promise<number> =>
      (await planGrid({ ...options, evaluation, ...more })).repeatedExamples;
    expect(await count({})).toBe(2);
    expect(await count({ evaluationExamples: 1 })).toBe(1);
    expect(await count({ training: { maxLength: 64, maxExamples: 8 } })).toBe(1);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe("cells", () => {
  test("with the same seed see the same data in the same order in every row", async () => {
    const grid = await planGrid({ ...options, seeds: 1 });
    const trials = grid.selected.flatMap((row) => measuringTrials(grid, row, 1e-3));
    expect(new Set(trials.slice(1).map(({ settings }) => JSON.stringify(settings))).size).toBe(1);
    for (const { settings, adapter } of trials) {
      expect(settings).toMatchObject({ seed: 0, validationSplit: 0 });
      if (adapter !== null) expect(adapter.seed).toBe(0);
    }
  });

  test("for tuning have their own seeds and never see the evaluation file", async () => {
    const grid = await planGrid(options);
    const tuning = grid.selected.flatMap((row) => tuningTrials(grid, row));
    expect(tuning).toHaveLength(16 * 2 * 2); // the base is not tuned
    expect(new Set(tuning.map(({ seed }) => seed)).size).toBe(2);
    for (const { seed, train, evaluation, settings, benchmarks } of tuning) {
      // at full length by default
      expect(settings.steps).toBe(10);
      expect(benchmarks).toEqual([]);
      expect(grid.seeds).not.toContain(seed);
      expect([train, evaluation.file]).toEqual(["out/tuning/train.jsonl", "out/tuning/validation.jsonl"]);
      expect(settings.validationSplit).toBe(0);
    }
    const single = await planGrid({ ...options, learningRates: [1e-3] });
    expect(single.selected.flatMap((row) => tuningTrials(single, row))).toEqual([]);
  });

  test("for tuning with their own evaluation file use the whole training file, or their own", async () => {
    const cellsWith = async (more: Partial<ReproduceOptions>) => {
      const grid = await planGrid({ ...options, tuneEvaluation: TUNING, ...more });
      return tuningTrials(grid, grid.selected[1]!).map(({ train, evaluation }) => [
        train,
        evaluation.file,
        evaluation.examples,
      ]);
    };
    const twice = (...one: readonly unknown[]) => [one, one, one, one];
    expect(await cellsWith({})).toEqual(twice(options.train, TUNING, 3));
    expect(await cellsWith({ tuneExamples: 2 })).toEqual(twice(options.train, TUNING, 2));
    const tuneTrain = "test/fixtures/other-training.jsonl";
    expect(await cellsWith({ tuneTrain })).toEqual(twice(tuneTrain, TUNING, 3));
  });

  test.each<[Partial<ReproduceOptions>, RegExp]>([
    [{ tuneEvaluation: options.evaluation }, /is also the test data; choose learning rates on other/],
    [{ tuneEvaluation: options.train }, /and assets.* have the same contents; tune on other examples/],
    [{ tuneTrain: options.train }, /tuneTrain requires tuneEvaluation/],
    [{ tuneSeeds: 0 }, /^tuneSeeds: 0 is invalid/],
  ])("refuses to tune with %o", async (more, message) => {
    await expect(planGrid({ ...options, ...more })).rejects.toMatchObject({
      code: "bad_option",
      message: expect.stringMatching(message),
    });
  });
});
