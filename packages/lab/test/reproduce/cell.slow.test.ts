// Cells that really train, in processes of their own.
import { access, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finetune, loadModel } from "mixture-of-shards";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ReproduceOptions } from "../../src/reproduce/index.ts";
import { collectEvents } from "./events-of.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-cell-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const makeOptions = (out: string, more: Partial<ReproduceOptions> = {}): ReproduceOptions => ({
  experiment: "table2",
  model: "assets/tiny-english",
  train: "assets/quickstart/train.jsonl",
  evaluation: "assets/quickstart/validation.jsonl",
  seeds: 1,
  steps: 3,
  only: ["mos-2"],
  training: { maxLength: 64, batchSize: 2 },
  evaluationExamples: 8,
  answers: 0,
  threads: 1,
  out: join(folder, out),
  version: "1",
  ...more,
});

const readTrial = async (out: string, key: string, rate = 0.001): Promise<Record<string, unknown>> =>
  JSON.parse(await readFile(join(folder, out, "cells", key, `seed-0-rate-${rate}`, "result.json"), "utf8"));

test("a cell is measured as `finetune` measures, and answers are counted", async () => {
  const only = ["base", "lora-2", "mos-2"];
  await collectEvents(
    makeOptions("whole", { only, answers: 3, answerTokens: 4, keepAdapters: true, evaluationExamples: 8 }),
  );
  const cell = await readTrial("whole", "mos-2");
  expect(cell).toMatchObject({
    seed: 0,
    validationExamples: 8,
    answers: { correct: 0, total: 3 },
    threads: 1,
  });
  expect(cell["losses"]).toHaveLength(3);
  expect(cell["peakMemoryBytes"]).toBeGreaterThan(5e7);
  const { total, training, step, load } = cell["seconds"] as Record<string, number>;
  expect(total).toBeGreaterThan(training! + load!);
  expect(training).toBeGreaterThan(step!);
  // the same run by hand, on a file of the same eight examples
  const { adapter, settings } = JSON.parse(
    await readFile(join(folder, "whole", "cells", "mos-2", "seed-0-rate-0.001", "cell.json"), "utf8"),
  );
  const lines = (await readFile("assets/quickstart/validation.jsonl", "utf8")).split("\n").slice(0, 8);
  await writeFile(join(folder, "eight.jsonl"), lines.join("\n"));
  const losses: number[] = [];
  for await (const event of finetune({
    model: await loadModel("assets/tiny-english"),
    data: "assets/quickstart/train.jsonl",
    validationData: join(folder, "eight.jsonl"),
    out: join(folder, "by-hand"),
    adapter,
    settings,
    session: { threads: 1 },
  }))
    if (event.type === "evaluation") losses.push(event.loss);
  expect(cell["validationLoss"]).toBeCloseTo(losses[1]!, 6);
  expect(await readTrial("whole", "base", 0)).toMatchObject({
    validationLoss: expect.closeTo(losses[0]!, 6),
    losses: [],
    trainable: 0,
  });
  const kept = await readdir(join(folder, "whole", "cells", "mos-2", "seed-0-rate-0.001", "run"));
  expect(kept.sort()).toEqual([
    "adapter_config.json",
    "adapter_model.safetensors",
    "metrics.jsonl",
    "run.json",
  ]);
});

test("an adapter of hundreds of ranks is asked too", async () => {
  await collectEvents(makeOptions("ranks", { only: ["vera-equal"], steps: 1, answers: 1, answerTokens: 1 }));
  const cell = await readTrial("ranks", "vera-equal");
  expect(cell).toMatchObject({ answers: { total: 1 } });
});

test("a cell that is killed resumes from its checkpoint, to the same numbers", async () => {
  const steps = { steps: 60, evaluationExamples: 4 };
  await collectEvents(makeOptions("unbroken", steps));
  let pid: number | undefined;
  const events = await collectEvents(makeOptions("killed", steps), (event) => {
    if (event.type === "started") pid = event.attempt === 1 ? event.pid : undefined;
    // the checkpoint of update 40 is written by now
    if (event.type === "progress" && event.step > 52 && pid !== undefined) process.kill(pid, "SIGKILL");
  });
  expect(events.filter(({ type }) => type === "failed")).toMatchObject([{ retried: true }]);
  const [whole, killed] = [await readTrial("unbroken", "mos-2"), await readTrial("killed", "mos-2")];
  expect(killed["resumedAt"]).toBe(40);
  expect(killed["losses"]).toEqual(whole["losses"]);
  expect(killed["validationLoss"]).toBe(whole["validationLoss"]);
  // only the numbers are kept
  await expect(
    access(join(folder, "killed", "cells", "mos-2", "seed-0-rate-0.001", "run")),
  ).rejects.toThrowError(/ENOENT/);
});

test("a cell that is stopped saves its state, and the next run resumes", async () => {
  const controller = new AbortController();
  const options = makeOptions("stopped", { steps: 40, evaluationExamples: 4 });
  const events = await collectEvents({ ...options, signal: controller.signal }, (event) => {
    if (event.type === "progress" && event.step === 5) controller.abort();
  });
  expect(events.at(-1)).toMatchObject({ type: "finish", stopped: true, missing: 1 });
  await collectEvents(options);
  const cell = await readTrial("stopped", "mos-2");
  expect(cell["resumedAt"]).toBeGreaterThanOrEqual(5);
  expect(cell["losses"]).toHaveLength(40);
});
