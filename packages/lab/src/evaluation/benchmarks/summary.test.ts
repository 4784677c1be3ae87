import type { ProgramChecker } from "mixture-of-shards-core/graders";
import { expect, test } from "vitest";
import { type ScoredQuestion, scorePrediction } from "../benchmark.ts";
import { benchmarks } from "./index.ts";

const scored = (group: string, ...answers: Readonly<Record<string, number>>[]): ScoredQuestion => ({
  id: group,
  group,
  verdicts: answers.map((scores) => ({ extracted: "", scores })),
});
const toGroups = (groups: ReadonlyMap<string, unknown>) => Object.fromEntries(groups);

test("MMLU counts every question alike, in all and in categories", () => {
  const { overall, groups } = benchmarks.mmlu.summarise([
    scored("virology", { acc: 0 }),
    scored("abstract_algebra", { acc: 1 }),
    scored("college_mathematics", { acc: 0 }),
    scored("college_mathematics", { acc: 0 }),
    scored("college_physics", { acc: 1 }),
    scored("a_new_subject", { acc: 1 }),
  ]);
  expect(overall.questions).toBe(6);
  expect(overall.right).toMatchObject({ average_acc: 3, acc: 3, "cat_acc/STEM": 2, "subcat_acc/health": 0 });
  expect(overall.errors["average_acc"]).toBeCloseTo(Math.sqrt(0.25 / 5), 12);
  expect(Object.keys(overall.errors)).not.toContain("subcat_acc/physics"); // of one question
  expect(overall).toMatchObject({
    scores: {
      average_acc: 0.5,
      acc: 0.5,
      "cat_acc/STEM": 0.5,
      "cat_acc/other (business, health, misc.)": 0,
      "subcat_acc/health": 0,
      "subcat_acc/math": 1 / 3,
      "subcat_acc/physics": 1,
    },
  });
  expect([...groups.keys()]).toEqual([
    "a_new_subject",
    "abstract_algebra",
    "college_mathematics",
    "college_physics",
    "virology",
  ]);
  expect(groups.get("college_mathematics")).toEqual({
    questions: 2,
    scores: { acc: 0 },
    errors: { acc: 0 },
    right: { acc: 0 },
  });
});

test("BBH's mean counts tasks alike, the harness's questions", () => {
  const navigate = [0, 0, 1].map((exact_match) => scored("navigate", { exact_match }));
  const { overall, groups } = benchmarks.bbh.summarise([scored("snarks", { exact_match: 1 }), ...navigate]);
  expect(overall).toMatchObject({
    questions: 4,
    scores: { average_exact_match: 2 / 3, exact_match: 0.5 },
    right: { exact_match: 2 },
  });
  // of one question there is no error, and so none of the mean of tasks
  expect(Object.keys(overall.errors)).toEqual(["exact_match"]);
  expect(overall.errors["exact_match"]).toBeCloseTo(Math.sqrt(0.25 / 3), 12);
  const more = [1, 0].map((exact_match) => scored("snarks", { exact_match }));
  const { errors } = benchmarks.bbh.summarise([...more, ...navigate]).overall;
  // variances of the means: 1/4 of one task, 1/9 of the other
  expect(errors["average_exact_match"]).toBeCloseTo(Math.sqrt(1 / 4 + 1 / 9) / 2, 12);
  expect(toGroups(groups)).toMatchObject({
    navigate: { questions: 3, scores: { exact_match: 1 / 3 } },
    snarks: { questions: 1, scores: { exact_match: 1 } },
  });
});

test("TyDi QA's means count languages alike", () => {
  const { overall } = benchmarks.tydiqa.summarise([
    scored("korean", { f1: 50, exact_match: 0 }),
    scored("english", { f1: 100, exact_match: 100 }),
    scored("english", { f1: 0, exact_match: 0 }),
    scored("english", { f1: 0, exact_match: 0 }),
  ]);
  expect(overall.questions).toBe(4);
  expect(overall.scores["f1"]).toBeCloseTo((100 / 3 + 50) / 2);
  expect(overall.scores["exact_match"]).toBeCloseTo(100 / 6);
  expect(overall.errors).toEqual({});
  expect(overall.right).toEqual({});
});

test("HumanEval reports pass@k only where every problem has k answers", () => {
  const answers = (samples: number, passed: number) =>
    scored("humaneval", ...Array.from({ length: samples }, (_, i) => ({ passed: i < passed ? 1 : 0 })));
  const { scores } = benchmarks.humaneval.summarise([answers(20, 3)]).overall;
  expect(Object.keys(scores)).toEqual(["pass@1", "pass@5", "pass@10", "pass@20"]);
  expect(scores["pass@1"]).toBeCloseTo(0.15);
  expect(scores["pass@5"]).toBeCloseTo(0.600877, 6);
  expect(benchmarks.humaneval.summarise([answers(20, 0), answers(5, 5)]).overall).toEqual({
    questions: 2,
    scores: { "pass@1": 0.5, "pass@5": 0.5 },
    errors: { "pass@1": 0.5, "pass@5": 0.5 },
    right: { "pass@1": 1, "pass@5": 1 },
  });
  // 20 answers to a problem are one value of it
  const { errors, right } = benchmarks.humaneval.summarise([answers(20, 5), answers(20, 15)]).overall;
  expect(errors["pass@1"]).toBeCloseTo(0.25, 12);
  expect(right).not.toHaveProperty("pass@1");
});

test("no questions have no scores", () => {
  for (const task of Object.values(benchmarks))
    expect(task.summarise([])).toEqual({
      overall: { questions: 0, scores: {}, errors: {}, right: {} },
      groups: new Map(),
    });
});

test("the figures of the tables are among those that a summary has", () => {
  const scores = { acc: 1, ast: 1, exact_match: 1, f1: 1, passed: 1, "strict-match": 1 };
  for (const task of Object.values(benchmarks))
    for (const metric of Object.values(task.metric))
      expect(
        task.summarise([scored("english", scores)]).overall.scores[metric],
        `${task.name} ${metric}`,
      ).toBe(1);
});

test("predictions are scored by the rules that are asked for", async () => {
  const score = (name: "gsm8k" | "mmlu" | "bbh", rules: "open-instruct" | "lm-eval", prediction: string) =>
    scorePrediction(benchmarks[name], { prediction, references: ["5"] }, { rules });
  expect(await score("gsm8k", "open-instruct", "4 and then 5")).toEqual({
    extracted: "5",
    scores: { exact_match: 1 },
  });
  expect((await score("gsm8k", "lm-eval", "4 and then 5")).scores["strict-match"]).toBe(0);
  const choice = { prediction: "B", references: ["B"] };
  expect(await scorePrediction(benchmarks.mmlu, choice, { rules: "open-instruct" })).toEqual({
    extracted: "B",
    scores: { acc: 1 },
  });
});

test("HumanEval's completions are run with their tests", async () => {
  const programs: string[] = [];
  const checker: ProgramChecker = {
    check: async (program) => {
      programs.push(program);
      return { passed: program.includes("return 1"), reason: "failed: why" };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  const references = ["def f():\n", "def check(f): pass", "f"];
  const score = (prediction: string, tools: { readonly checker?: ProgramChecker }) =>
    scorePrediction(benchmarks.humaneval, { prediction, references }, { rules: "open-instruct", ...tools });
  for (const [prediction, passed] of [
    ["    return 1", 1],
    ["    return 2", 0],
  ] as const)
    expect(await score(prediction, { checker })).toEqual({
      extracted: prediction,
      scores: { passed },
      reason: "failed: why",
    });
  expect(programs[0]).toBe("def f():\n    return 1\ndef check(f): pass\ncheck(f)");
  await expect(score("x", {})).rejects.toThrow(/requires a checker/);
});
