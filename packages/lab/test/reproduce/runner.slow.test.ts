// The runner of experiments, with fake cells that do not train (fake-cell.mjs).
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { lockFolder } from "mixture-of-shards-core/files";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ReproduceEvent, type ReproduceOptions, reproduce } from "../../src/reproduce/index.ts";
import { collectEvents } from "./events-of.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-reproduce-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const makeOptions = (more: Partial<ReproduceOptions> = {}): ReproduceOptions => ({
  experiment: "table2",
  model: "assets/tiny-english",
  train: "assets/quickstart/train.jsonl",
  evaluation: "assets/quickstart/validation.jsonl",
  seeds: 2,
  steps: 2,
  only: ["base", "lora-2", "mos-2"],
  training: { maxLength: 64 },
  answers: 4,
  out: join(folder, "out"),
  version: "1",
  entry: "packages/lab/test/reproduce/fake-cell.mjs",
  ...more,
});
const wishing = (system: string, more: Partial<ReproduceOptions> = {}): ReproduceOptions =>
  makeOptions({ ...more, training: { maxLength: 64, system } });

const ofType = <T extends ReproduceEvent["type"]>(events: readonly ReproduceEvent[], type: T) =>
  events.filter((event): event is Extract<ReproduceEvent, { type: T }> => event.type === type);
const finishEvent = (events: readonly ReproduceEvent[]) => ofType(events, "finish")[0]!;
const read = (name: string): Promise<string> => readFile(join(folder, "out", name), "utf8");
const order = async (): Promise<readonly string[]> => (await read("order.txt")).trim().split("\n");

describe("cells", () => {
  test("run seed by seed over all rows, and the tables have their results", async () => {
    const events = await collectEvents(makeOptions());
    expect(await order()).toEqual([
      "base measure 0 0 false",
      "lora-2 measure 0 0.001 false",
      "mos-2 measure 0 0.001 false",
      "lora-2 measure 1 0.001 false",
      "mos-2 measure 1 0.001 false",
    ]);
    expect(finishEvent(events)).toMatchObject({ stopped: false, missing: 0 });
    expect(finishEvent(events).files.map((path) => path.slice(folder.length + 5))).toEqual([
      "table2.json",
      "table2-loss.svg",
      "table2-answers.svg",
      "table2.md",
    ]);
    const table = await read("table2.md");
    expect(table).toContain(
      "| MoS | 6 | 23,360 | 1.5200 ± 0.0283 | 75.0 ± 0.0 | 1.00 × | 100 | 2.00 | 0.001 | 2 of 2 |",
    );
    expect(table).toContain("| Base model | – | – | 2.5000 | 25.0 | – |");
    // every pair of losses differs by as much; answers by 50 and 25 points
    expect(table).toContain("| LoRA r=2 | 2 | -1.0000 | – | – | not available | not available |");
    expect(table).toContain("| LoRA r=2 | 2 | 37.5 | 2.12 | 3.00 | 0.2048 | 0.2048 |");
    const { rows, comparisons, settings } = JSON.parse(await read("table2.json"));
    expect(rows.map(({ key }: { key: string }) => key)).toEqual(["base", "lora-2", "mos-2"]);
    expect(rows[1].cells[1]).toMatchObject({ seed: 1, losses: [3, 2], trainable: 10 });
    expect(settings).toMatchObject({ seeds: 2, alpha: 16, dropout: 0.1, training: { maxGradientNorm: 0.3 } });
    expect(comparisons).toContainEqual(
      expect.objectContaining({ metric: "validationLoss", ours: "mos-2", theirs: "lora-2", pairs: 2 }),
    );
  });

  test("with one seed no test is possible, and the table says so", async () => {
    await collectEvents(makeOptions({ seeds: 1 }));
    expect(await read("table2.md")).toMatch(
      /\| LoRA r=2 \| 1 \| -1\.0000 \| – \| – \| not available \| not available \|/,
    );
  });

  test("are not run again once finished, also for another choice of rows", async () => {
    await collectEvents(makeOptions());
    const again = await collectEvents(makeOptions());
    expect(ofType(again, "started")).toEqual([]);
    expect(ofType(again, "plan")[0]).toMatchObject({
      trials: 5,
      finished: 5,
      updates: { tune: 2, measure: 2, left: 0 },
    });
    const more = await collectEvents(makeOptions({ only: ["lora-8"], seeds: 3 }));
    expect(ofType(more, "started").map(({ trial }) => trial.key)).toEqual(["lora-8", "lora-8", "lora-8"]);
    // rows of earlier runs stay in the table
    expect(await read("table2.md")).toContain("| MoS | 6 |");
  });

  test("are run again when a setting that decides their result changes, and only then", async () => {
    await collectEvents(makeOptions());
    expect(
      ofType(await collectEvents(makeOptions({ steps: 3 })), "started").map(({ trial }) => trial.key),
    ).toEqual([...["lora-2", "mos-2"], ...["lora-2", "mos-2"]]);
  });

  test("are run again when the content of a file changes, not when its name or time does", async () => {
    const train = join(folder, "train.jsonl");
    const lines = (await readFile("assets/quickstart/train.jsonl", "utf8")).split("\n");
    await writeFile(train, lines.join("\n"));
    await collectEvents(makeOptions({ train }));
    await writeFile(train, lines.join("\n"));
    expect(ofType(await collectEvents(makeOptions({ train })), "started")).toHaveLength(0);
    await writeFile(train, lines.slice(1).join("\n"));
    // the base is not trained
    expect(ofType(await collectEvents(makeOptions({ train })), "started")).toHaveLength(4);
  });

  test("give the same results for any number of jobs", async () => {
    await collectEvents(makeOptions());
    const alone = JSON.parse(await read("table2.json"));
    await collectEvents(makeOptions({ jobs: 3, out: join(folder, "jobs") }));
    const beside = JSON.parse(await readFile(join(folder, "jobs", "table2.json"), "utf8"));
    const bare = ({ rows }: { rows: { cells: object[] }[] }) =>
      rows.map(({ cells }) => cells.map((cell) => ({ ...cell, jobs: 0 })));
    expect(bare(beside)).toEqual(bare(alone));
  });
});

describe("a cell that fails", () => {
  test("once is retried from its checkpoint", async () => {
    const events = await collectEvents(wishing("crash once"));
    expect(ofType(events, "failed")).toMatchObject(
      [{ trial: { key: "lora-2", seed: 0 }, retried: true, message: /code 7.*out of cheese/ }].map(
        ({ message, ...rest }) => ({ ...rest, message: expect.stringMatching(message) }),
      ),
    );
    expect(finishEvent(events).missing).toBe(0);
    expect((await order()).filter((line) => line.startsWith("lora-2 measure 0"))).toEqual([
      "lora-2 measure 0 0.001 false",
      "lora-2 measure 0 0.001 false",
    ]);
    expect(await read("table2.md")).not.toContain("Failed");
  });

  test("because it was killed is retried, too", async () => {
    const events = await collectEvents(wishing("kill once"));
    expect(ofType(events, "failed")[0]!.message).toMatch(/killed \(SIGKILL\).*memory/);
    expect(finishEvent(events).missing).toBe(0);
  });

  test("because another process stopped it is resumed", async () => {
    const events = await collectEvents(wishing("stop once"));
    expect(ofType(events, "failed")).toMatchObject([
      { retried: true, message: "its process was stopped by another program" },
    ]);
    expect(finishEvent(events)).toMatchObject({ stopped: false, missing: 0 });
  });

  test("with an error of its own starts over", async () => {
    await collectEvents(wishing("refuse once"));
    expect((await order()).filter((line) => line.startsWith("lora-2 measure 0"))).toEqual([
      "lora-2 measure 0 0.001 false",
      "lora-2 measure 0 0.001 true",
    ]);
  });

  test("twice is left out, and retried by the next run", async () => {
    const events = await collectEvents(wishing("crash"));
    expect(ofType(events, "failed").map(({ retried }) => retried)).toEqual([true, false]);
    expect(finishEvent(events)).toMatchObject({ stopped: false, missing: 1 });
    expect(ofType(events, "result")).toHaveLength(4);
    const table = await read("table2.md");
    expect(table).toMatch(/\| LoRA \| 2 \|.*\| 1 of 2 \|/);
    expect(table).toMatch(/- lora-2, seed 0, learning rate 0.001: .*code 7/);
    expect(ofType(await collectEvents(wishing("crash")), "started")).toHaveLength(2);
  });

  test("because it diverged is a result, and not retried", async () => {
    const events = await collectEvents(wishing("diverge"));
    expect(ofType(events, "failed")).toMatchObject([{ retried: false, message: "step 2: the loss is NaN" }]);
    expect(finishEvent(events).missing).toBe(1);
    const again = await collectEvents(wishing("diverge"));
    expect(ofType(again, "started")).toEqual([]);
    expect(finishEvent(again).missing).toBe(1);
    expect(await read("table2.md")).toMatch(/- lora-2, seed 0, .*the loss is NaN/);
  });

  test("with a broken result file does not count as finished", async () => {
    await collectEvents(makeOptions());
    const path = join(folder, "out", "cells", "mos-2", "seed-1-rate-0.001", "result.json");
    await writeFile(path, (await readFile(path, "utf8")).slice(0, 40));
    expect(ofType(await collectEvents(makeOptions()), "started").map(({ trial }) => trial)).toEqual([
      { key: "mos-2", purpose: "measure", learningRate: 0.001, seed: 1 },
    ]);
  });
});

describe("stopping", () => {
  test("stops the running cells and starts no others; the next run resumes", async () => {
    const controller = new AbortController();
    const events: ReproduceEvent[] = [];
    for await (const event of reproduce(wishing("hang", { signal: controller.signal }))) {
      events.push(event);
      if (event.type === "progress" && event.trial.key === "lora-2") controller.abort();
    }
    expect(finishEvent(events)).toMatchObject({ stopped: true, missing: 4 });
    expect(ofType(events, "result").map(({ trial }) => trial.key)).toEqual(["base"]);
    expect(await read("table2.md")).toContain("| LoRA | 2 |");
    expect(finishEvent(await collectEvents(makeOptions())).missing).toBe(0);
  });

  test("leaving the loop ends the cells' processes", async () => {
    let pid: number | undefined;
    for await (const event of reproduce(wishing("hang"))) {
      if (event.type === "started") pid = event.pid;
      if (event.type === "progress" && event.trial.key === "lora-2") break;
    }
    expect(() => process.kill(pid!, 0)).toThrowError(/ESRCH/);
  });
});

describe("several rates", () => {
  const rates = { learningRates: [0.001, 0.01, 0.1], tuneSteps: 1 };
  const refined = [0.00681, 0.0147];
  const tuned = (keys: readonly string[], of: readonly number[], seeds = [1_000_003, 1_000_004]) =>
    keys.flatMap((key) => of.flatMap((rate) => seeds.map((seed) => `${key} tune ${seed} ${rate}`)));
  const cellsRun = async () => (await order()).map((line) => line.split(" ").slice(0, 4).join(" "));

  test("are tried on a part of the training file, refined around the best, and the best is used", async () => {
    const events = await collectEvents(makeOptions({ ...rates, seeds: 1 }));
    expect(ofType(events, "plan")[0]).toMatchObject({ trials: 2 * 3 * 2 + 3, updates: { left: 12 + 4 } });
    expect(ofType(events, "refine")).toEqual(
      ["lora-2", "mos-2"].map((key) => ({
        type: "refine",
        key,
        learningRates: refined,
        trials: 4,
        updates: 4,
      })),
    );
    expect(ofType(events, "tuned")).toEqual([
      { type: "tuned", key: "lora-2", learningRate: 0.01 },
      { type: "tuned", key: "mos-2", learningRate: 0.01 },
    ]);
    expect(await cellsRun()).toEqual([
      ...tuned(["lora-2", "mos-2"], rates.learningRates),
      ...tuned(["lora-2", "mos-2"], refined),
      "base measure 0 0",
      "lora-2 measure 0 0.01",
      "mos-2 measure 0 0.01",
    ]);
    const table = await read("table2.md");
    // a mean over both seeds
    expect(table).toContain(
      "| LoRA r=2 | 0.01 | 2.0700 | 0.00681: +0.5000 | 0.0147: +0.5000 | 0.001: 2.5700, 0.00681: 2.5700, 0.01: 2.0700, 0.0147: 2.5700, 0.1: 2.5700 |",
    );
    expect(table).not.toContain("Best at");
    const spec = JSON.parse(await read("table2.json"));
    const { tuningExamples } = spec.settings;
    expect(tuningExamples).toBeGreaterThan(0);
    const lines = async (name: string) => (await read(`tuning/${name}`)).trim().split("\n");
    const [train, validation] = [await lines("train.jsonl"), await lines("validation.jsonl")];
    expect(validation).toHaveLength(tuningExamples);
    const all = (await readFile("assets/quickstart/train.jsonl", "utf8")).trim().split("\n");
    expect([...train, ...validation].sort()).toEqual(all.sort());
    const again = await collectEvents(makeOptions({ ...rates, seeds: 1 }));
    expect(ofType(again, "started")).toEqual([]);
    expect(ofType(again, "plan")[0]).toMatchObject({ trials: 2 * 5 * 2 + 3, finished: 23 });
  });

  test("resume where a search was stopped, to the same rates", async () => {
    const controller = new AbortController();
    const seen: ReproduceEvent[] = [];
    for await (const event of reproduce(makeOptions({ ...rates, signal: controller.signal }))) {
      seen.push(event);
      if (event.type === "refine") controller.abort();
    }
    expect(finishEvent(seen).stopped).toBe(true);
    expect(ofType(seen, "tuned")).toEqual([]);
    const events = await collectEvents(makeOptions(rates));
    expect(ofType(events, "plan")[0]).toMatchObject({ trials: 2 * 5 * 2 + 5, finished: 12 });
    // what is left of the search is in the plan already
    expect(ofType(events, "refine")).toEqual([]);
    expect(finishEvent(events).missing).toBe(0);
    expect((await cellsRun()).slice(12, 20)).toEqual(tuned(["lora-2", "mos-2"], refined));
    expect(new Set(await cellsRun()).size).toBe((await cellsRun()).length);
  });

  test("are tried at full length, with the given number of seeds, on a separate file", async () => {
    const tuneEvaluation = "test/fixtures/tuning.jsonl";
    await collectEvents(
      makeOptions({ learningRates: [0.001, 0.01, 0.1], tuneSeeds: 1, tuneEvaluation, seeds: 1 }),
    );
    expect((await cellsRun()).filter((line) => line.startsWith("lora-2 tune"))).toEqual(
      tuned(["lora-2"], [...rates.learningRates, ...refined], [1_000_003]),
    );
    const cell = "cells/lora-2/tuning-seed-1000003-rate-0.01/result.json";
    expect(JSON.parse(await read(cell))).toMatchObject({ purpose: "tune", seed: 1_000_003 });
    expect(await readdir(join(folder, "out"))).not.toContain("tuning");
    const table = await read("table2.md");
    expect(table).toMatch(/on 3 examples of tuning\.jsonl, after 2 updates with 1 seed of its own\.$/m);
    expect(table).not.toContain("shorter runs often have other best rates");
  });

  test("give warnings where their choice is doubtful: fewer updates, and differences within a step", async () => {
    const events = await collectEvents(makeOptions(rates));
    const { warnings, table, rates: found } = finishEvent(events);
    // mos-2 is better by 1, a step changes 0.5
    expect(warnings).toEqual([
      "Learning rates were chosen after 1 update and used for 2: shorter runs often have other best rates.",
    ]);
    expect(table.map(([method, , , loss]) => [method, loss])).toEqual([
      ["Method", "Validation loss"],
      ["Base model", "2.5000"],
      ["LoRA", "2.0200 ± 0.0283"],
      ["MoS", "1.0200 ± 0.0283"],
    ]);
    expect(found[1]).toEqual(["LoRA r=2", "0.01", "2.0700", "0.00681: +0.5000", "0.0147: +0.5000"]);
    const close = await collectEvents(makeOptions({ ...rates, only: ["mos-2", "mos-8", "mos-8-sp"] }));
    expect(finishEvent(close).warnings.join("\n")).toMatch(
      /^The validation loss of MoS r=32 differs by less than the effect of one learning rate step from that of MoS-sp r=32 \(0\.0000, a step 0\.5000\)\. /m,
    );
    expect(await read("table2.md")).toMatch(/\| 0\.5000 \(more than the difference\) \|/);
  });

  test("are not chosen when tuning is stopped", async () => {
    const controller = new AbortController();
    const events: ReproduceEvent[] = [];
    for await (const event of reproduce(wishing("hang", { ...rates, signal: controller.signal }))) {
      events.push(event);
      if (event.type === "progress") controller.abort();
    }
    expect(ofType(events, "tuned")).toEqual([]);
    expect(finishEvent(events)).toMatchObject({ stopped: true, missing: 5 });
  });

  test("are extended where the best one is at an end", async () => {
    await collectEvents(makeOptions({ learningRates: [0.01, 0.1], tuneSteps: 1, tuneSeeds: 1, seeds: 1 }));
    expect((await cellsRun()).filter((line) => line.startsWith("mos-2 tune"))).toEqual(
      tuned(["mos-2"], [0.01, 0.1, 0.001, ...refined], [1_000_003]),
    );
    expect(await read("table2.md")).not.toContain("Best at");
  });

  test("that diverge are not chosen, and are not failures", async () => {
    const events = await collectEvents(wishing("rate 0.1 diverges", { ...rates, seeds: 1 }));
    expect(finishEvent(events).missing).toBe(0);
    const { rows } = JSON.parse(await read("table2.json"));
    expect(rows.map((row: { learningRate?: number }) => row.learningRate)).toEqual([undefined, 0.01, 0.01]);
  });
});

describe("another process", () => {
  const out = (): string => join(folder, "out");

  test("that runs in the folder keeps this one out", async () => {
    await mkdir(out());
    await using _lock = await lockFolder(out());
    await expect(collectEvents(makeOptions())).rejects.toMatchObject({
      code: "bad_option",
      message: expect.stringMatching(`is in use by process ${process.pid} on ${hostname()}: .*running.json$`),
    });
    expect(await readdir(out())).toEqual(["running.json"]);
  });

  test.each([
    ["that was killed", { pid: 4_194_305 }],
    ["of this number, from before a restart", { start: "1" }],
  ])("%s does not", async (_, other) => {
    await mkdir(out());
    const lock = await lockFolder(out());
    const holder = JSON.parse(await read("running.json"));
    await lock[Symbol.asyncDispose]();
    await writeFile(join(out(), "running.json"), JSON.stringify({ ...holder, ...other }));
    expect(finishEvent(await collectEvents(makeOptions({ seeds: 1 }))).missing).toBe(0);
    expect(await readdir(out())).not.toContain("running.json");
  });
});

test("figure 1 is drawn, with the points that do not fit left empty", async () => {
  const options = makeOptions({
    experiment: "figure1",
    only: [],
    seeds: 1,
    privateRanks: [0, 3],
    shards: [1, 3],
  });
  const events = await collectEvents(options);
  // 3 shards divide none of the widths
  expect(ofType(events, "result").map(({ trial }) => trial.key)).toEqual(["mos-p0-l1", "mos-p3-l1"]);
  expect(finishEvent(events)).toMatchObject({ missing: 0 });
  expect(await read("figure1-loss.svg")).toContain("<svg");
  expect(await read("figure1.md")).toMatch(/\| MoS p=0 l=3 \|.*does not fit/);
});

test("a picture from other settings is removed", async () => {
  await collectEvents(makeOptions({ seeds: 1 }));
  await collectEvents(makeOptions({ seeds: 1, answers: 0 }));
  const names = await readdir(join(folder, "out"));
  expect(names).toContain("table2-loss.svg");
  expect(names).not.toContain("table2-answers.svg");
});

test("the folder has only the files of the report", async () => {
  await collectEvents(makeOptions({ seeds: 1 }));
  expect((await readdir(join(folder, "out"))).sort()).toEqual([
    "cells",
    "order.txt",
    "table2-answers.svg",
    "table2-loss.svg",
    "table2.json",
    "table2.md",
  ]);
});

describe("benchmarks", () => {
  const benchmarks: Partial<ReproduceOptions> = {
    benchmarkFolder: () => "test/fixtures/benchmarks",
    benchmarkLimit: 2,
    benchmarks: ["mmlu", "gsm8k"],
  };
  const only = ["lora-2", "mos-2"];

  test("run on finished cells, too, which are trained again where no adapter was kept", async () => {
    await collectEvents(makeOptions({ only }));
    const plain = await read("table2.md");
    // one of the adapters was kept
    const run = join(folder, "out", "cells", "mos-2", "seed-1-rate-0.001", "run");
    await mkdir(run);
    await writeFile(join(run, "adapter_config.json"), "{}");
    const events = await collectEvents(makeOptions({ only, ...benchmarks }));
    expect(ofType(events, "plan")[0]).toMatchObject({ finished: 0, retrained: 3, updates: { left: 6 } });
    expect(ofType(events, "result")[0]).toMatchObject({
      scores: { "MMLU EM": 25, "GSM8K EM": 25, "Avg.": 25 },
    });
    expect(await read("table2.md")).toContain("| 75.0 ± 0.0 | 38 ± 18 | 38 ± 18 | 38 ± 18 |");
    const { rows, comparisons, benchmarks: asked } = JSON.parse(await read("table2.json"));
    expect(rows[0].scores.average).toMatchObject({ count: 2, mean: 37.5 });
    expect(rows[0].cells[1].benchmarks).toHaveLength(2);
    expect(comparisons).toContainEqual(expect.objectContaining({ metric: "gsm8k", pairs: 2, difference: 0 }));
    expect(asked).toMatchObject([
      { task: "mmlu", shots: 0 },
      { task: "gsm8k", shots: 8 },
    ]);
    expect(ofType(await collectEvents(makeOptions({ only, ...benchmarks })), "started")).toEqual([]);
    // without the option they are not columns
    expect(ofType(await collectEvents(makeOptions({ only })), "started")).toEqual([]);
    expect(await read("table2.md")).toBe(plain);
  });

  test("run again when their settings change, without training", async () => {
    await collectEvents(makeOptions({ only, ...benchmarks, seeds: 1 }));
    const limited = { ...benchmarks, benchmarkLimit: 1 };
    expect(ofType(await collectEvents(makeOptions({ only, ...limited, seeds: 1 })), "started")).toHaveLength(
      2,
    );
    const fewer: Partial<ReproduceOptions> = { ...limited, benchmarks: ["gsm8k"] };
    expect(ofType(await collectEvents(makeOptions({ only, ...fewer, seeds: 1 })), "started")).toEqual([]);
  });

  test("that fail are left out of the result, and retried", async () => {
    const events = await collectEvents(wishing("no gsm8k", { only, ...benchmarks, seeds: 1 }));
    expect(ofType(events, "failed")).toMatchObject([{ retried: true }, { retried: false }]);
    expect(finishEvent(events).missing).toBe(1);
    // what was trained is not trained again
    expect(await order()).toContain("lora-2 measure 0 0.001 false");
    expect((await order()).filter((line) => line.endsWith("true"))).toEqual([]);
    const table = await read("table2.md");
    expect(table).toMatch(/\| LoRA \| 2 \| 23,360 \| 2\.5000 \| 25\.0 \| 25 \| – \| – \|/);
    expect(table).toContain("- lora-2, seed 0, learning rate 0.001: the engine broke");
  });
});

describe("refuses, before any cell is started", () => {
  test.each<[string, Partial<ReproduceOptions>, RegExp]>([
    ["bad_option", { seeds: 0 }, /^seeds: 0 is invalid; give a whole number from 1/],
    [
      "bad_option",
      { learningRates: [] },
      /^learningRates: \[\] is invalid; give one or more different rates/,
    ],
    ["bad_option", { learningRates: [1e-3, 1e-3] }, /different rates/],
    ["bad_option", { learningRates: [50] }, /^learningRates: .*50.* above 0 and up to 10/],
    ["bad_option", { dropout: 1 }, /^dropout: 1 is invalid/],
    ["bad_option", { only: ["lora-3"] }, /^only: there is no row "lora-3"; the rows are base, lora-2/],
    ["bad_option", { training: { maxLength: 5000 } }, /^maxLength 5000 is more than the \d+ positions/],
    ["bad_option", { training: { warmup: 3 } }, /^warmup of 3 updates is more than the 2 updates/],
    ["bad_option", { training: { batchSize: 0 } }, /^batchSize: 0 is invalid; give a whole number/],
    [
      "bad_option",
      { evaluation: "assets/quickstart/train.jsonl" },
      /evaluate on examples that are not in the training data/,
    ],
    [
      "bad_option",
      { learningRates: [1e-3, 1e-2], tuneExamples: 224 },
      /^tuneExamples: 224 of 224 training examples leave none to choose learning rates with/,
    ],
    ["not_found", { model: "no/such/model" }, /no\/such\/model: no such folder or file/],
    ["not_found", { train: "no-such.jsonl" }, /no-such\.jsonl/],
    ["bad_data", { evaluation: "assets/quickstart/questions.json" }, /questions\.json/],
    ["storage", { out: "package.json/out" }, /package\.json/],
  ])("%s: %o", async (code, changed, message) => {
    await expect(collectEvents(makeOptions(changed))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });
});
