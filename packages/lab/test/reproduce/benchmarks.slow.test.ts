// Cells that really train and run benchmarks through the inference engine.
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadText, openEngine } from "mixture-of-shards";
import { type BenchmarkName, createProgramChecker, evaluate } from "mixture-of-shards-lab";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ReproduceEvent, ReproduceOptions } from "../../src/reproduce/index.ts";
import { collectEvents } from "./events-of.ts";

const MODEL = "assets/tiny-english";
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-cell-benchmarks-"));
  await cp("test/fixtures/benchmarks", join(folder, "data"), { recursive: true });
  // one question with each of the answers: a model that does not know gets a quarter of them right
  const choices = ["red", "green", "blue", "white"];
  const asked = choices.map((_, answer) => ({
    subject: "world_religions",
    question: "Why?",
    choices,
    answer,
  }));
  const lines = asked.map((question) => JSON.stringify(question));
  await writeFile(join(folder, "data", "mmlu", "test.jsonl"), `${lines.join("\n")}\n`);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const makeBenchmarks = (...benchmarks: readonly BenchmarkName[]) => ({
  benchmarks,
  benchmarkFolder: () => join(folder, "data"),
  benchmarkSamples: 1,
});

const makeOptions = (out: string, more: Partial<ReproduceOptions> = {}): ReproduceOptions => ({
  experiment: "table2",
  model: MODEL,
  train: "assets/quickstart/train.jsonl",
  evaluation: "assets/quickstart/validation.jsonl",
  seeds: 1,
  steps: 3,
  only: ["mos-2"],
  training: { maxLength: 64, batchSize: 2 },
  evaluationExamples: 4,
  answers: 0,
  threads: 1,
  out: join(folder, out),
  version: "1",
  ...more,
});

const trialPath = (out: string, key: string, rate = 0.001): string =>
  join(folder, out, "cells", key, `seed-0-rate-${rate}`);
const readTrial = async (out: string, key: string, rate?: number): Promise<Record<string, unknown>> =>
  JSON.parse(await readFile(join(trialPath(out, key, rate), "result.json"), "utf8"));

const eventTypes = (events: readonly ReproduceEvent[]): ReadonlySet<string> =>
  new Set(events.map(({ type }) => type));

/** The scores of an adapter by `evaluate`. */
async function scoresByHand(adapters: string, tasks: readonly BenchmarkName[]) {
  await using engine = await openEngine({ model: MODEL, adapters, threads: 1 });
  const { benchmarkSamples: samples, benchmarkFolder: dataFolder } = makeBenchmarks(...tasks);
  const events = evaluate({
    engine,
    text: await loadText(MODEL),
    rules: "open-instruct",
    format: "tulu",
    seed: 0,
    model: {
      name: "tiny",
      fingerprint: engine.model.fingerprint,
      baseDtype: "float32",
      computeDtype: "float32",
    },
    subjects: [{ name: "run", adapter: "run" }],
    tasks,
    dataFolder,
    samples,
    out: join(folder, "by-hand.json"),
    concurrency: 4,
    openChecker: () => createProgramChecker(),
    version: "1",
    now: () => 0,
  });
  for await (const event of events) if (event.type === "finish") return event.result.scores;
  return [];
}

test("a grid of two rows has the paper's seven columns, with the scores of `evaluate`", async () => {
  const tasks = ["mmlu", "bbh", "gsm8k", "tydiqa", "humaneval"] as const;
  const options = makeOptions("columns", {
    only: ["base", "mos-2"],
    ...makeBenchmarks(...tasks),
    answers: 2,
    answerTokens: 4,
    keepAdapters: true,
  });
  const events = await collectEvents(options);
  expect(events.at(-1)).toMatchObject({ type: "finish", missing: 0 });
  const cell = await readTrial("columns", "mos-2");
  const benchmarks = cell["benchmarks"] as { task: string; scores: Record<string, number> }[];
  const byHand = await scoresByHand(trialPath("columns", "mos-2"), tasks);
  expect(benchmarks.map(({ task, scores }) => [task, scores])).toEqual(
    byHand.map(({ task, scores }) => [task, scores]),
  );
  expect(benchmarks[0]!.scores["average_acc"]).toBe(0.25);
  expect(await readTrial("columns", "base", 0)).toMatchObject({ benchmarks: { length: 5 } });
  const table = await readFile(join(folder, "columns", "table2.md"), "utf8");
  expect(table).toContain(
    "| MMLU EM (%) | BBH EM (%) | GSM8K EM (%) | TyDi QA F1 (%) | TyDi QA EM (%) | HumanEval P@1 (%) | Avg. (%) |",
  );
  expect(table).toMatch(/^\| MoS \| 6 \| 23,360 \| \d\.\d{4} \| 0\.0 \| 25 \|/m);
  const again = await collectEvents(options);
  expect(eventTypes(again)).toEqual(new Set(["plan", "finish"]));
});

test("a kept adapter is evaluated without training, and stays", async () => {
  await collectEvents(makeOptions("kept", { keepAdapters: true }));
  const before = await readTrial("kept", "mos-2");
  const adapter = join(trialPath("kept", "mos-2"), "run", "adapter_model.safetensors");
  const { mtimeMs } = await stat(adapter);
  const events = await collectEvents(makeOptions("kept", makeBenchmarks("mmlu")));
  expect(events[0]).toMatchObject({ type: "plan", finished: 0, retrained: 0, updates: { left: 0 } });
  expect(eventTypes(events)).not.toContain("progress");
  const { benchmarks, ...rest } = await readTrial("kept", "mos-2");
  expect(rest).toEqual(before);
  expect(benchmarks).toMatchObject([{ task: "mmlu", questions: 4, scores: { acc: 0.25 } }]);
  expect((await stat(adapter)).mtimeMs).toBe(mtimeMs);
  // another task is added to the earlier ones
  await collectEvents(makeOptions("kept", makeBenchmarks("mmlu", "tydiqa")));
  expect((await readTrial("kept", "mos-2"))["benchmarks"]).toMatchObject([
    { task: "mmlu" },
    { task: "tydiqa" },
  ]);
});

test("an adapter that was not kept is trained again, to the same numbers", async () => {
  await collectEvents(makeOptions("lost"));
  const { validationLoss } = await readTrial("lost", "mos-2");
  const events = await collectEvents(makeOptions("lost", makeBenchmarks("mmlu")));
  expect(events[0]).toMatchObject({ type: "plan", retrained: 1, updates: { left: 3 } });
  expect(eventTypes(events)).toContain("progress");
  expect(await readTrial("lost", "mos-2")).toMatchObject({ validationLoss, benchmarks: [{ task: "mmlu" }] });
  expect(await readdir(trialPath("lost", "mos-2"))).not.toContain("run");
});

test.each(["stopped", "killed"])("an evaluation that is %s resumes with the missing samples", async (how) => {
  const options = makeOptions(how, makeBenchmarks("mmlu", "tydiqa"));
  const controller = new AbortController();
  let pid: number | undefined;
  const events = await collectEvents({ ...options, signal: controller.signal }, (event) => {
    if (event.type === "started") pid = event.attempt === 1 ? event.pid : undefined;
    if (event.type !== "benchmark" || event.task !== "tydiqa" || pid === undefined) return;
    if (how === "stopped") controller.abort();
    else process.kill(pid, "SIGKILL");
    pid = undefined;
  });
  if (how === "stopped") {
    expect(events.at(-1)).toMatchObject({ type: "finish", stopped: true, missing: 1 });
    expect((await readTrial(how, "mos-2"))["benchmarks"]).toMatchObject([{ task: "mmlu" }]);
  } else expect(events.filter(({ type }) => type === "failed")).toMatchObject([{ retried: true }]);
  const again =
    how === "stopped"
      ? await collectEvents(options)
      : events.slice(events.findIndex(({ type }) => type === "failed"));
  expect(eventTypes(again)).not.toContain("progress");
  expect(again.filter((event) => event.type === "benchmark" && event.task === "mmlu")).toEqual([]);
  expect((await readTrial(how, "mos-2"))["benchmarks"]).toMatchObject([{ task: "mmlu" }, { task: "tydiqa" }]);
  expect(await readdir(trialPath(how, "mos-2"))).not.toContain("run");
});
