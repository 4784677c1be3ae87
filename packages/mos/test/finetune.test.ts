import { readFileSync } from "node:fs";
import { appendFile, cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { findAdapter, listVersions, rollBack } from "mixture-of-shards-core/adapters";
import type { ErrorCode } from "mixture-of-shards-core/common";
import { openSafetensors, pathExists } from "mixture-of-shards-core/files";
import { generate, openEngine } from "mixture-of-shards-core/inference";
import { type BaseModel, loadModel } from "mixture-of-shards-core/models";
import { type FinetuneEvent, type FinetuneOptions, finetune } from "mixture-of-shards-core/training";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { runs as casesOf } from "../../../test/runs.ts";
import { collectAnswer } from "../../core/test/inference/tiny-engine.ts";
import { type TinyFolder, writeTinyFolder } from "../../core/test/tiny-folder.ts";
import { writeTinyModel } from "../../core/test/tiny-model.ts";
import { snapshot } from "./bad-input/run-mos.ts";

let folder: string;
let tiny: TinyFolder;
let base: BaseModel;
let out: string;
let runs = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-finetune-"));
  tiny = await writeTinyFolder(folder);
  base = await loadModel(tiny.model);
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(() => {
  out = join(folder, `run-${runs++}`);
});

const settings = {
  steps: 6,
  batchSize: 1,
  gradientAccumulationSteps: 2,
  maxLength: 64,
  warmup: 1,
  learningRate: 5e-3,
  evaluateEvery: 2,
  saveEvery: 3,
  validationSplit: 4,
} as const;
const adapter = {
  method: "mos",
  rank: 3,
  equivalentRank: 2,
  shardsPerVector: 2,
  dropout: 0.1,
  targets: ["q_proj", "v_proj", "down_proj"],
} as const;

const makeOptions = (change: Partial<FinetuneOptions> = {}): FinetuneOptions => ({
  model: base,
  data: tiny.data,
  out,
  adapter,
  settings,
  now: () => 0,
  ...change,
});

/** Runs to the end, which is not among the events that are given; `onEvent` may abort. */
async function run(
  change: Partial<FinetuneOptions> = {},
  onEvent: (event: FinetuneEvent) => void = () => undefined,
): Promise<readonly FinetuneEvent[]> {
  const events: FinetuneEvent[] = [];
  for await (const event of finetune(makeOptions(change))) {
    events.push(event);
    onEvent(event);
  }
  const last = events.at(-1);
  if (last?.type === "finish") {
    expect(last).toMatchObject({
      out: change.out ?? out,
      step: events.findLast(isAdapter)?.step ?? last.steps,
    });
    return events.slice(0, -1);
  }
  expect(last?.type).toBe("stopped");
  return events;
}

const isAdapter = (event: FinetuneEvent): event is Extract<FinetuneEvent, { type: "saved" }> =>
  event.type === "saved" && event.what === "adapter";

/** A run that is stopped after a step. */
async function stopAt(
  step: number,
  change: Partial<FinetuneOptions> = {},
): Promise<readonly FinetuneEvent[]> {
  const controller = new AbortController();
  return run(
    { ...change, signal: controller.signal },
    (event) => event.type === "step" && event.step === step && controller.abort(),
  );
}

const describeEvent = (event: FinetuneEvent): string => {
  if (event.type === "memory" || event.type === "download" || event.type === "replay") return event.type;
  if (event.type === "saved") return `${event.what} ${event.step}`;
  return `${event.type} ${event.step}`;
};
/** Steps of the checkpoints that a run says are its last. */
const lastCheckpoints = (events: readonly FinetuneEvent[]) =>
  events.flatMap((event) => (event.type === "saved" && event.isLast === true ? [event.step] : []));
/** Which evaluations are best depends on numbers, so they are left out. */
const kinds = (events: readonly FinetuneEvent[]) =>
  events.map(describeEvent).filter((kind) => !kind.startsWith("best"));

const bytes = (name: string, of = out) => readFile(join(of, name));
const metrics = async (of = out): Promise<readonly { type: string; step: number; loss: number }[]> =>
  (await readFile(join(of, "metrics.jsonl"), "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

const refusal = (code: ErrorCode, message: RegExp) =>
  expect.objectContaining({ name: "MosError", code, message: expect.stringMatching(message) });

const wholeRun = [
  "memory",
  "ready 0",
  "evaluation 0",
  "step 1",
  "step 2",
  "evaluation 2",
  "step 3",
  "checkpoint 3",
].concat(["step 4", "evaluation 4", "step 5", "step 6", "evaluation 6", "checkpoint 6", "adapter 6"]);

let whole: string;
let events: readonly FinetuneEvent[];
beforeAll(async () => {
  whole = join(folder, "whole");
  events = await run({ out: whole, model: tiny.model });
});
/** What a run leaves in `out`: it is the same each time, so it is made once. */
const copyWhole = () => cp(whole, out, { recursive: true });

describe("a whole run", () => {
  test("emits its events in order", () => {
    expect(kinds(events)).toEqual(wholeRun);
    expect(events[0]).toMatchObject({ type: "memory", rematerialise: "none" });
    expect(events[1]).toMatchObject({
      steps: 6,
      fingerprint: base.model.fingerprint,
      train: { examples: 20 },
      validation: { examples: 4 },
      adapter: { ...adapter, seed: 0, alpha: 16 },
    });
    const losses = events.filter((event) => event.type === "evaluation").map(({ loss }) => loss);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
  });

  test("leaves the adapter, the best one, the last checkpoint, the metrics and the record", async () => {
    expect((await readdir(whole)).sort()).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "best",
      "checkpoints",
      "metrics.jsonl",
      "run.json",
    ]);
    expect((await readdir(join(whole, "best"))).sort()).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
    ]);
    expect(await readdir(join(whole, "checkpoints"))).toEqual(["step-00000006"]);
    const config = JSON.parse((await bytes("adapter_config.json", whole)).toString());
    expect(config).toMatchObject({
      base_fingerprint: base.model.fingerprint,
      base_model_name_or_path: "model",
      r: 3,
    });
    const trained = (await metrics(whole)).map(({ type, step }) => `${type} ${step}`);
    expect(trained).toEqual(wholeRun.filter((kind) => /^(step|evaluation)/.test(kind)));
  });

  test("has the best adapter of all evaluations in best/", async () => {
    const saved = events.filter((event) => event.type === "saved" && event.what === "best").at(-1);
    const evaluations = events.flatMap((event) =>
      event.type === "evaluation" && event.step > 0 ? [event] : [],
    );
    const lowest = evaluations.reduce((a, b) => (b.loss < a.loss ? b : a));
    expect(saved).toMatchObject({ step: lowest.step, path: join(whole, "best") });
    if (lowest.step === 6)
      expect(await bytes("best/adapter_model.safetensors", whole)).toEqual(
        await bytes("adapter_model.safetensors", whole),
      );
  });

  test("gives the same bytes again", async () => {
    await run();
    for (const name of [
      "adapter_model.safetensors",
      "adapter_config.json",
      "metrics.jsonl",
      "best/adapter_model.safetensors",
    ])
      expect(await bytes(name), name).toEqual(await bytes(name, whole));
  });

  test("another seed gives another adapter", { tags: "thorough" }, async () => {
    await run({ settings: { ...settings, seed: 1 } });
    expect(await bytes("adapter_model.safetensors")).not.toEqual(
      await bytes("adapter_model.safetensors", whole),
    );
  });

  test("the adapter changes what the model says, the same at every call", async () => {
    const prompt = [{ role: "user", content: "Do you have a cat?" }];
    const answer = async (adapter?: string) =>
      (await collectAnswer(generate(base, prompt, { adapter, maxTokens: 12 }))).ids;
    expect(await answer(whole)).not.toEqual(await answer());
    expect(await answer(whole)).toEqual(await answer(whole));
    await using engine = await openEngine({ model: base, adapters: { whole } });
    const side = ["whole", null].map((adapter) =>
      collectAnswer(engine.chat(prompt, { adapter, maxTokens: 12 })),
    );
    expect((await Promise.all(side)).map(({ ids }) => ids)).toEqual([await answer(whole), await answer()]);
  });

  const stopAndResume = async (step: number): Promise<void> => {
    const stopped = await stopAt(step);
    expect(stopped.at(-1)).toEqual({ type: "stopped", step });
    expect(await readdir(out)).not.toContain("adapter_config.json");
    const resumed = await run({ resume: true });
    expect(resumed[1]).toMatchObject({ type: "ready", step });
    // an evaluation that was due when the run was stopped is made first
    const due = wholeRun.indexOf(`evaluation ${step}`);
    expect(kinds(resumed).slice(2)).toEqual(
      wholeRun.slice(due >= 0 ? due : wholeRun.indexOf(`step ${step + 1}`)),
    );
    for (const name of [
      "adapter_model.safetensors",
      "best/adapter_model.safetensors",
      "metrics.jsonl",
      "run.json",
    ])
      expect(await bytes(name), name).toEqual(await bytes(name, whole));
    const file = "checkpoints/step-00000006/state.safetensors";
    expect(await bytes(file)).toEqual(await bytes(file, whole));
  };
  test("stopped after step 2 and resumed, it leaves the same files", () => stopAndResume(2));
  test.each([1, 3, 4, 5])("so it does after step %i", { tags: "thorough" }, stopAndResume);

  test("resumed once more, it has nothing to do", async () => {
    const before = await bytes("metrics.jsonl", whole);
    expect(kinds(await run({ out: whole, resume: true }))).toEqual(["memory", "ready 6"]);
    expect(await bytes("metrics.jsonl", whole)).toEqual(before);
  });

  test("killed between its last checkpoint and its adapter, it writes the adapter", async () => {
    const model = await bytes("adapter_model.safetensors", whole);
    await rm(join(whole, "adapter_config.json"));
    await rm(join(whole, "adapter_model.safetensors"));
    expect(kinds(await run({ out: whole, resume: true }))).toEqual(["memory", "ready 6", "adapter 6"]);
    expect(await bytes("adapter_model.safetensors", whole)).toEqual(model);
  });
});

describe("metrics of a resumed run", () => {
  test("have every step once, also where lines were written after the checkpoint", async () => {
    await stopAt(3);
    // steps after the checkpoint, and half a line, as a kill leaves them
    const line = JSON.stringify({ ...(await metrics()).at(-1), step: 4, loss: 9 });
    await appendFile(join(out, "metrics.jsonl"), `${line}\n{"type":"step","st`);
    await run({ resume: true });
    expect((await metrics()).map(({ type, step }) => `${type} ${step}`)).toEqual(
      wholeRun.filter((kind) => /^(step|evaluation)/.test(kind)),
    );
    expect((await metrics()).some(({ loss }) => loss === 9)).toBe(false);
  });

  test("start over where there is no checkpoint yet", async () => {
    await stopAt(2);
    await rm(join(out, "checkpoints"), { recursive: true });
    const resumed = await run({ resume: true });
    expect(kinds(resumed)).toEqual(wholeRun);
    expect((await metrics()).filter(({ step }) => step === 0)).toHaveLength(1);
    expect(await metrics()).toHaveLength(10);
  });
});

describe("a run that is stopped within an update", () => {
  const long = { ...settings, steps: 2, gradientAccumulationSteps: 6, validationSplit: 1 };
  /** Stops after the evaluation before the first step and so many batches: each reads the clock twice. */
  const stopWithin = (batches: number, change: Partial<FinetuneOptions> = {}) => {
    const controller = new AbortController();
    let read = 0;
    const now = () => {
      read += 1;
      if (read === 2 + 2 * batches) controller.abort();
      return 0;
    };
    return run({ settings: long, now, signal: controller.signal, ...change });
  };

  test("goes on with its next batch, to the same bytes and metrics", async () => {
    const whole = join(folder, "whole-updates");
    await run({ out: whole, settings: long });
    const stopped = await stopWithin(2);
    expect(kinds(stopped).slice(2)).toEqual(["evaluation 0", "checkpoint 0", "stopped 0"]);
    expect(stopped.at(-2)).toMatchObject({ what: "checkpoint", microBatches: 2 });
    // there is no adapter yet but the one that it began with
    expect(await readdir(join(out, "checkpoints", "step-00000000"))).not.toContain("adapter_config.json");
    expect(await findAdapter(out)).toBeUndefined();
    await stopWithin(2, { resume: true }); // four batches and a half step more: no evaluation first
    const resumed = await run({ settings: long, resume: true });
    expect(kinds(resumed).slice(1, 3)).toEqual(["ready 0", "step 1"]);
    for (const name of ["adapter_model.safetensors", "metrics.jsonl", "run.json"])
      expect(await bytes(name), name).toEqual(await bytes(name, whole));
    const state = join("checkpoints", "step-00000002", "state.safetensors");
    expect(await bytes(state)).toEqual(await bytes(state, whole));
  });

  test("that may not train as many tokens as its epochs have does not begin", async () => {
    const { steps: _, ...all } = long;
    const byEpochs = { ...all, maxExamples: 4, epochs: 2, keep: 0 };
    const tokens = await run({ settings: byEpochs }).then((events) =>
      events.reduce((sum, event) => sum + (event.type === "step" ? event.tokens : 0), 0),
    );
    out = join(folder, `run-${runs++}`);
    const events: FinetuneEvent[] = [];
    for await (const event of finetune(makeOptions({ settings: byEpochs, maxTokens: tokens - 1 })))
      events.push(event);
    expect(kinds(events)).toEqual(["memory", "ready 0", "limited 0"]);
    expect(events.at(-1)).toMatchObject({ tokens });
    expect(await pathExists(out)).toBe(false);
    await run({ settings: byEpochs, maxTokens: tokens });
  });
});

describe("a run that is stopped within an evaluation", () => {
  const long = { ...settings, steps: 2, evaluateEvery: 1, packing: false };
  /** Stops while its first batch is computed. */
  const stopSoon = (change: Partial<FinetuneOptions> = {}) => {
    const controller = new AbortController();
    return run(
      { settings: long, signal: controller.signal, ...change },
      (event) => event.type === "ready" && setImmediate(() => controller.abort()),
    );
  };

  test("goes on with its next batch, to the same bytes and metrics", { tags: "thorough" }, async () => {
    const whole = join(folder, "whole-evaluations");
    await run({ out: whole, settings: long });
    const stopped = await stopSoon();
    expect(stopped.slice(2)).toMatchObject([
      { type: "saved", what: "checkpoint", step: 0, evaluationBatches: 1 },
      { type: "stopped", step: 0, evaluationBatches: 1 },
    ]);
    expect(await readFile(join(out, "metrics.jsonl"), "utf8")).toBe("");
    for (let part = 1; part < 4; part++) await stopSoon({ resume: true });
    await run({ settings: long, resume: true });
    for (const name of ["adapter_model.safetensors", "metrics.jsonl", "run.json"])
      expect(await bytes(name), name).toEqual(await bytes(name, whole));
    const state = join("checkpoints", "step-00000002", "state.safetensors");
    expect(await bytes(state)).toEqual(await bytes(state, whole));
  });

  test("and killed after the evaluation that it went on with, has its line once", async () => {
    await stopSoon();
    const line = { type: "evaluation", step: 0, loss: 9, accuracy: 0, best: false, seconds: 0 };
    await appendFile(join(out, "metrics.jsonl"), `${JSON.stringify(line)}\n`);
    await run({ settings: long, resume: true });
    expect((await metrics()).map(({ type, step }) => `${type} ${step}`)).toEqual([
      "evaluation 0",
      "step 1",
      "evaluation 1",
      "step 2",
      "evaluation 2",
    ]);
    expect((await metrics()).some(({ loss }) => loss === 9)).toBe(false);
  });
});

const stoppedAtOnce = ["memory", "ready 0", "evaluation 0", "step 1", "checkpoint 1", "stopped 1"];

describe("an out folder in use", () => {
  test("is refused, with the three ways on, and left as it is", async () => {
    await stopAt(1);
    const before = await readdir(out, { recursive: true });
    await expect(run()).rejects.toThrowError(
      refusal("bad_option", /already holds a run or an adapter; .*--resume, .*--overwrite, .*another --out$/),
    );
    expect(await readdir(out, { recursive: true })).toEqual(before);
  });

  test("is emptied of a run that was stopped with overwrite, and of nothing else", async () => {
    await stopAt(3);
    await writeFile(join(out, "notes.txt"), "mine");
    expect(kinds(await stopAt(1, { overwrite: true }))).toEqual(stoppedAtOnce);
    expect((await readdir(out)).sort()).toEqual(["checkpoints", "metrics.jsonl", "notes.txt", "run.json"]);
    expect(await readdir(join(out, "checkpoints"))).toEqual(["step-00000001"]);
    expect((await bytes("notes.txt")).toString()).toBe("mine");
  });

  test("is refused to other runs as long as one goes on", async () => {
    const refused: unknown[] = [];
    for await (const event of finetune(makeOptions()))
      if (event.type === "step" && event.step === 4)
        for (const change of [{ overwrite: true }, { resume: true }])
          refused.push(await run(change).catch((error: unknown) => error));
    const inUse = refusal(
      "bad_option",
      /is in use by process \d+ on .*: wait for it, or choose another --out/,
    );
    expect(refused).toEqual([inUse, inUse]);
    expect(await readdir(out)).not.toContain("running.json");
    expect((await run({ resume: true })).at(-1)).toMatchObject({ type: "ready", step: 6 });
  });

  test("that is a file is an error of storage", async () => {
    await expect(run({ out: tiny.data })).rejects.toThrowError(refusal("storage", /another --out/));
  });
});

/** The adapter of a folder, as its two files. */
const adapterBytes = async (of = out) =>
  Promise.all(["adapter_config.json", "adapter_model.safetensors"].map((name) => bytes(name, of)));
const hidden = (ending: string) => join(folder, `.${basename(out)}.${ending}`);
const again = { overwrite: true, settings: { ...settings, seed: 1 } } as const;

describe("an adapter that is trained anew", () => {
  test("stays until the new one is complete, is replaced in one move, and is kept", async () => {
    await copyWhole();
    await writeFile(join(out, "notes.txt"), "mine");
    const before = await adapterBytes();
    const seen = new Set<boolean>();
    const events = await run(again, (event) => {
      if (!isAdapter(event) && event.type !== "finish")
        seen.add(readFileSync(join(out, "adapter_model.safetensors")).equals(before[1]!));
    });
    expect(seen).toEqual(new Set([true]));
    expect(kinds(events)).toEqual(wholeRun);
    expect(events.at(-1)).toMatchObject({ what: "adapter", path: out, replaced: 1 });
    expect(events[1]).toMatchObject({ type: "ready", folder: hidden("retraining") });
    expect((await adapterBytes())[1]).not.toEqual(before[1]);
    expect((await readdir(out)).sort()).toEqual([
      ...["adapter_config.json", "adapter_model.safetensors", "best", "checkpoints"],
      ...["metrics.jsonl", "notes.txt", "run.json"],
    ]);
    expect(await metrics()).toHaveLength(10);
    expect(await pathExists(hidden("retraining"))).toBe(false);
    expect(await adapterBytes(join(hidden("versions"), "1"))).toEqual(before);
    expect(await adapterBytes()).toEqual(await adapterBytes(await fresh()));
  });

  let freshFolder: string | undefined;
  /** The same run in a folder of its own. */
  async function fresh(): Promise<string> {
    if (freshFolder === undefined) await run({ out: join(folder, "fresh"), settings: again.settings });
    freshFolder = join(folder, "fresh");
    return freshFolder;
  }

  test("is untouched by a run that is stopped, which goes on where it was", async () => {
    await copyWhole();
    const before = await snapshot(out);
    expect((await stopAt(3, again)).at(-1)).toEqual({ type: "stopped", step: 3 });
    expect(await snapshot(out)).toEqual(before);
    await expect(run()).rejects.toThrowError(
      refusal("bad_option", /retraining already holds a run.*--resume/),
    );
    const resumed = await run({ settings: again.settings, resume: true });
    expect(resumed[1]).toMatchObject({ type: "ready", step: 3 });
    expect(await adapterBytes()).toEqual(await adapterBytes(await fresh()));
    expect((await readdir(out)).sort()).not.toContain("running.json");
  });

  test("is replaced by a run that was killed when it had only to take its place", async () => {
    await copyWhole();
    await stopAt(5, again);
    const other = await fresh();
    await rm(hidden("retraining"), { recursive: true });
    await cp(other, hidden("retraining"), { recursive: true });
    // between its two renames
    await rename(out, join(folder, `.${basename(out)}.replaced`));
    const resumed = await run({ settings: again.settings, resume: true });
    expect(kinds(resumed)).toEqual(["memory", "ready 6", "adapter 6"]);
    expect(await adapterBytes()).toEqual(await adapterBytes(other));
    expect(await readdir(hidden("versions"))).toEqual(["1"]);
  });

  test("is refused to a second run meanwhile, by whoever has it", async () => {
    await copyWhole();
    const refused: unknown[] = [];
    for await (const event of finetune(makeOptions(again)))
      if (event.type === "step" && event.step === 2)
        for (const change of [{ overwrite: true }, { resume: true }])
          refused.push(await run(change).catch((error: unknown) => error));
    const inUse = refusal("bad_option", /is in use by process \d+ on /);
    expect(refused).toEqual([inUse, inUse]);
  });

  test("keeps so many versions as are asked for, of which each can be put back", async () => {
    const versions: (readonly Buffer[])[] = [];
    for (const seed of [0, 1, 2, 3]) {
      await run({ overwrite: true, keepVersions: 2, settings: { ...settings, steps: 1, seed } });
      versions.push(await adapterBytes());
    }
    expect((await listVersions(out)).map(({ version }) => version)).toEqual([3, 2]);
    await expect(rollBack(out, 1)).rejects.toThrowError(
      refusal("not_found", /there is no version 1; .* 3, 2$/),
    );
    await writeFile(join(out, "notes.txt"), "mine");
    expect(await rollBack(out, 2)).toMatchObject({ restored: { version: 2 }, kept: 4 });
    expect(await adapterBytes()).toEqual(versions[1]);
    expect((await readdir(out)).sort()).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "notes.txt",
    ]);
    expect(await rollBack(out, undefined)).toMatchObject({ restored: { version: 4 }, kept: 5 });
    expect(await adapterBytes()).toEqual(versions[3]);
    expect((await listVersions(out)).map(({ version }) => version)).toEqual([5, 3]);
    await run({ overwrite: true, keepVersions: 0, settings: { ...settings, steps: 1 } });
    expect(await pathExists(hidden("versions"))).toBe(false);
    await expect(rollBack(out, undefined)).rejects.toThrowError(refusal("not_found", /no earlier version/));
  });
});

describe("a run that is complete", () => {
  test("is extended by more steps on the schedule of all of them, beside the adapter that it has", async () => {
    await copyWhole();
    const before = await adapterBytes();
    const longer = { resume: true, settings: { ...settings, steps: 9 } } as const;
    const events = await run(longer, (event) => {
      if (event.type === "step")
        expect(readFileSync(join(out, "adapter_model.safetensors"))).toEqual(before[1]);
    });
    expect(kinds(events)).toEqual([
      ...["memory", "ready 6", "step 7", "step 8", "evaluation 8", "step 9"],
      ...["evaluation 9", "checkpoint 9", "adapter 9"],
    ]);
    expect(events[1]).toMatchObject({ extended: 6, steps: 9 });
    const rates = events.flatMap((event) => (event.type === "step" ? [event.learningRate] : []));
    expect(rates[0]).toBeCloseTo((5e-3 * 3) / 8, 6); // 8 steps of decay after one of warm-up
    expect((await metrics()).filter(({ type }) => type === "step")).toHaveLength(9);
    expect((await adapterBytes())[1]).not.toEqual(before[1]);
    expect(await adapterBytes(join(hidden("versions"), "1"))).toEqual(before);
  });

  test("is not resumed with fewer steps, other settings, or without a checkpoint", async () => {
    await copyWhole();
    const before = await snapshot(out);
    const resumed = (change: object) => run({ resume: true, settings: { ...settings, ...change } });
    await expect(resumed({ steps: 5 })).rejects.toThrowError(
      refusal("bad_option", /has already made 6 steps, more than 5; raise --steps above 6/),
    );
    await expect(resumed({ steps: 9, learningRate: 1e-3 })).rejects.toThrowError(
      refusal("bad_option", /other settings: settings\.learningRate was 0\.005, now 0\.001\. Resume/),
    );
    expect(await snapshot(out)).toEqual(before);
    await rm(join(out, "checkpoints"), { recursive: true });
    await expect(resumed({ steps: 9 })).rejects.toThrowError(
      refusal("not_found", /no checkpoint to resume from/),
    );
    expect(await pathExists(hidden("retraining"))).toBe(false);
  });
});

test("a run without room on the disk is refused before it starts", async () => {
  const asked: string[] = [];
  const freeBytes = async (path: string) => asked.push(path) * 1000;
  await expect(run({ freeBytes })).rejects.toThrowError(
    refusal("storage", /the run with its checkpoints takes [\d.]+ kB, but its disk has 1\.00 kB free/),
  );
  expect(asked).toEqual([folder]);
  expect(await pathExists(out)).toBe(false);
});

test("a checkpoint holds the adapter of its step", async () => {
  await stopAt(3, { settings: { ...settings, validationSplit: 0 } });
  const found = await findAdapter(out);
  expect(found).toEqual({ path: join(out, "checkpoints/step-00000003"), what: "checkpoint" });
  await using engine = await openEngine({ model: base, mergedAdapter: found!.path });
  expect((await collectAnswer(engine.complete("The cat", { maxTokens: 3 }))).ids.length).toBeGreaterThan(0);
  expect(await findAdapter(folder)).toBeUndefined();
});

test("a run whose learning rate is far too high says that it has collapsed, and has no best adapter", async () => {
  const model = "assets/tiny-english";
  const data = "assets/quickstart/train.jsonl";
  const steep = { ...settings, learningRate: 10, maxLength: 128, validationSplit: 4 };
  const events = await run({ model, data, adapter: { method: "lora", rank: 4 }, settings: steep });
  const warnings = events.flatMap((event) => (event.type === "warning" ? [event] : []));
  expect(warnings.map(({ reason }) => reason)).toEqual(
    expect.arrayContaining(["guessing", "worse_than_base"]),
  );
  expect(new Set(warnings.map(({ reason }) => reason)).size).toBe(warnings.length);
  expect(warnings.at(-1)?.message).toMatch(
    / no better than the base alone; no evaluation was better.*lower --learning-rate$/,
  );
  expect(events.some((event) => event.type === "evaluation" && event.best)).toBe(false);
  expect(await pathExists(join(out, "best"))).toBe(false);
  expect(await pathExists(join(out, "adapter_config.json"))).toBe(true);
});

describe("resuming is refused", () => {
  let stopped: string;
  beforeAll(async () => {
    stopped = join(folder, "stopped");
    await stopAt(1, { out: stopped });
  });

  test("where there is no run", async () => {
    await expect(run({ resume: true })).rejects.toThrowError(
      refusal("not_found", /no run to resume.*without --resume$/),
    );
  });

  test.each<[string, Partial<FinetuneOptions>, RegExp]>([
    [
      "another rate",
      { settings: { ...settings, learningRate: 1e-3 } },
      /settings\.learningRate was 0\.005, now 0\.001/,
    ],
    [
      "another seed",
      { settings: { ...settings, seed: 5 } },
      /adapter\.seed was 0, now 5; settings\.seed was 0, now 5/,
    ],
    ["other steps", { settings: { ...settings, steps: 7 } }, /settings\.steps was 6, now 7/],
    ["another rank", { adapter: { ...adapter, equivalentRank: 3 } }, /adapter\.equivalentRank was 2, now 3/],
    ["another method", { adapter: { method: "lora", rank: 2 } }, /adapter\.method was "mos", now "lora"/],
    [
      "fewer examples",
      { settings: { ...settings, maxExamples: 20 } },
      /the training examples are not the same/,
    ],
    [
      "other validation examples",
      { settings: { ...settings, validationSplit: 0 } },
      /the validation examples are not the same/,
    ],
  ])("with %s, which it names", async (_, change, message) => {
    const resumed = run({ ...change, out: stopped, resume: true });
    await expect(resumed).rejects.toThrowError(refusal("bad_option", message));
    await expect(resumed).rejects.toThrowError(/started with other settings/);
    expect(await readdir(join(stopped, "checkpoints"))).toEqual(["step-00000001"]);
  });

  test("with another type of products; the one that it began with need not be named again", async () => {
    const options = { model: tiny.model, settings: { ...settings, computeDtype: "int8" as const } };
    await stopAt(1, options);
    const exact = { ...options, settings: { ...settings, computeDtype: "float32" as const } };
    await expect(run({ ...exact, resume: true })).rejects.toThrowError(
      refusal("bad_option", /computeDtype was "int8", now "float32"/),
    );
    // the weights of a loaded base decide it
    await expect(run({ model: base, settings, resume: true })).rejects.toThrowError(
      refusal("bad_option", /computeDtype was "int8", now "float32"/),
    );
    await expect(run({ ...options, model: base, resume: true })).rejects.toThrowError(
      refusal("bad_option", /computeDtype is int8, but .* was loaded for products in float32/),
    );
    await run({ model: tiny.model, settings, resume: true });
    expect(JSON.parse(String(await bytes("run.json")))).toMatchObject({ computeDtype: "int8" });
  });

  test("with a record or a state that is broken", async () => {
    await cp(stopped, out, { recursive: true });
    const state = join(out, "checkpoints/step-00000001/state.safetensors");
    await writeFile(state, (await readFile(state)).subarray(0, 1000));
    await expect(run({ resume: true })).rejects.toThrowError(refusal("bad_data", /state\.safetensors/));
    await writeFile(join(out, "run.json"), '{"format": 1,');
    await expect(run({ resume: true })).rejects.toThrowError(refusal("bad_data", /run\.json/));
  });
});

describe("nothing is written when", () => {
  test.each<[string, () => Partial<FinetuneOptions>, ErrorCode, RegExp]>([
    [
      "a setting is out of range",
      () => ({ settings: { batchSize: 0 } }),
      "bad_option",
      /^batchSize: 0 is invalid/,
    ],
    ["a setting is unknown", () => ({ settings: { rate: 1 } as never }), "bad_option", /rate/],
    [
      "rows are longer than the model",
      () => ({ settings: { maxLength: 256 } }),
      "bad_option",
      /use at most 128$/,
    ],
    [
      "the warm-up is too long",
      () => ({ settings: { ...settings, warmup: 7 } }),
      "bad_option",
      /7 updates.*6 updates/,
    ],
    ["the data is missing", () => ({ data: join(folder, "none.jsonl") }), "not_found", /none\.jsonl/],
    ["the model is missing", () => ({ model: join(folder, "none") }), "not_found", /none/],
    [
      "the adapter does not fit",
      () => ({ adapter: { ...adapter, shardsPerVector: 3 } }),
      "bad_config",
      /q_proj/,
    ],
    [
      "everything is held out",
      () => ({ settings: { ...settings, validationSplit: 24 } }),
      "bad_data",
      /leaves none to train on/,
    ],
  ])("%s", async (_, change, code, message) => {
    await expect(run(change())).rejects.toThrowError(refusal(code, message));
    expect(await readdir(folder)).not.toContain(out.split("/").at(-1));
  });
});

test("a tokenizer with tokens that the model lacks is found out before the first step", async () => {
  const other = join(folder, "small");
  await writeTinyModel(other, {
    overrides: { vocab_size: 300, bos_token_id: 0, max_position_embeddings: 128 },
  });
  for (const name of ["tokenizer.json", "tokenizer_config.json"])
    await writeFile(join(other, name), await readFile(join(tiny.model, name)));
  await expect(run({ model: other })).rejects.toThrowError(
    refusal(
      "bad_data",
      /^line \d+ has token \d+, outside the vocabulary of 300 of small; check that the tokenizer belongs/,
    ),
  );
});

test("without a validation split there is no evaluation and no best adapter", async () => {
  const events = await run({ settings: { ...settings, validationSplit: 0 } });
  expect(kinds(events).filter((kind) => kind.startsWith("evaluation"))).toEqual([]);
  expect(events[1]).toMatchObject({ validation: undefined, train: { examples: 24 } });
  expect(await readdir(out)).not.toContain("best");
});

test("a validation file of its own leaves the training data whole", async () => {
  const events = await run({ validationData: tiny.data, settings: { ...settings, steps: 1 } });
  expect(events[1]).toMatchObject({ train: { examples: 24 }, validation: { examples: 24 } });
});

test("leaving the loop closes the files, and the run can be resumed", async () => {
  for await (const event of finetune(makeOptions())) if (event.type === "step" && event.step === 5) break;
  const resumed = await run({ resume: true });
  expect(resumed[1]).toMatchObject({ type: "ready", step: 3 });
  await using file = await openSafetensors(join(out, "adapter_model.safetensors"));
  expect(file.tensors.size).toBeGreaterThan(0);
});

test("an adapter that is moved elsewhere still works", async () => {
  await copyWhole();
  const moved = join(folder, "moved");
  await rename(out, moved);
  await using engine = await openEngine({ model: base, adapters: { moved, best: join(moved, "best") } });
  const answers = ["moved", "best"].map((adapter) =>
    collectAnswer(engine.complete("The cat", { adapter, maxTokens: 3 })),
  );
  for (const { digest, ids } of await Promise.all(answers)) {
    expect(digest).not.toBeNull();
    expect(ids.length).toBeGreaterThan(0);
  }
});

describe("early stopping", () => {
  // too high a rate: the loss is lowest early, and rises
  const rising = { ...settings, steps: 40, learningRate: 1, evaluateEvery: 2, earlyStoppingPatience: 2 };

  test("ends the run after its patience, with the adapter of the best evaluation", async () => {
    const events = await run({ settings: rising });
    const end = events.find((event) => event.type === "earlyStop");
    const evaluations = events.flatMap((event) => (event.type === "evaluation" ? [event] : []));
    const best = evaluations.filter((event) => event.best).at(-1);
    expect(end).toMatchObject({ step: (best?.step ?? 0) + 4 });
    expect(end?.step).toBeLessThan(40);
    expect(kinds(events).at(-2)).toBe(`earlyStop ${end?.step}`);
    expect(lastCheckpoints(events)).toEqual([end?.step]);
    expect(events.at(-1)).toMatchObject({ what: "adapter", step: best?.step ?? end?.step });
    const kept = best === undefined ? `checkpoints/step-0000000${end?.step}` : "best";
    expect(await adapterBytes()).toEqual(await adapterBytes(join(out, kept)));
  });

  test("does so again after each stop, to the same bytes", { tags: "thorough" }, async () => {
    await run({ settings: rising });
    const whole = await adapterBytes();
    const last = (await metrics()).at(-1)!.step;
    for (const step of [1, 2, last - 1, last]) {
      out = join(folder, `run-${runs++}`);
      await stopAt(step, { settings: rising });
      await run({ settings: rising, resume: true });
      expect(await adapterBytes(), `stopped at ${step}`).toEqual(whole);
    }
  });

  test.each([
    ["there are no validation examples", { validationSplit: 0 }],
    ["the loss is not measured on the way", { evaluateEvery: 0 }],
  ])("is refused where %s", async (_, change) => {
    await expect(run({ settings: { ...rising, ...change } })).rejects.toThrowError(
      refusal("bad_option", /earlyStoppingPatience needs validation examples/),
    );
  });
});

describe("a run that nothing is left to learn for", () => {
  const easy = { ...settings, steps: 24, evaluateEvery: 0, targetLoss: 100 };

  test("ends early with a rate that falls to 0, says so, and leaves a complete adapter", async () => {
    const events = await run({ settings: easy });
    const steps = events.filter((event) => event.type === "step");
    const decided = steps.find(({ ending }) => ending !== undefined);
    const { ending } = decided ?? {};
    expect(ending).toMatchObject({ decided: decided?.step, loss: expect.any(Number) });
    expect(steps.at(-1)?.step).toBe(ending?.step);
    expect(ending!.step).toBeLessThan(24);
    const rates = steps.map(({ learningRate }) => learningRate).slice(ending!.decided);
    expect(rates).toEqual([...rates].sort((a, b) => b - a));
    expect(kinds(events).at(-2)).toBe(`earlyStop ${ending?.step}`);
    expect(events.at(-2)).toMatchObject({ reason: "learnt" });
    expect(kinds(events)).toContain(`evaluation ${ending?.step}`);
    expect(await metrics()).toContainEqual(expect.objectContaining({ step: ending?.decided, ending }));
    expect(lastCheckpoints(events)).toEqual([ending!.step]);
    const whole = await adapterBytes();
    for (const step of casesOf(3) > 1 ? [1, ending!.decided, ending!.step - 1] : [ending!.decided]) {
      out = join(folder, `run-${runs++}`);
      await stopAt(step, { settings: easy });
      const resumed = await run({ settings: easy, resume: true });
      expect(lastCheckpoints(resumed)).toEqual([ending!.step]);
      expect(await adapterBytes(), `stopped at ${step}`).toEqual(whole);
    }
  });

  test("resumed, a run of a version that never ended early does not", async () => {
    await stopAt(1, { settings: { ...easy, targetLoss: 0 } });
    const path = join(out, "run.json");
    const { settings: recorded, ...record } = JSON.parse(await readFile(path, "utf8"));
    const { targetLoss, ...older } = recorded;
    expect(targetLoss).toBe(0);
    await writeFile(path, JSON.stringify({ ...record, settings: older }));
    const { steps: _, targetLoss: __, ...unnamed } = easy;
    const resumed = await run({ settings: unnamed, resume: true });
    expect(resumed.find(({ type }) => type === "ready")).toMatchObject({ targetLoss: 0 });
    expect(kinds(resumed)).toContain("step 24");
    expect(resumed.some(({ type }) => type === "earlyStop")).toBe(false);
    expect(lastCheckpoints(resumed)).toEqual([24]);
  });
});

describe("a run with validation examples and no more settings", () => {
  const { steps: _, evaluateEvery: __, ...others } = settings;
  const { targets: ___, ...everywhere } = adapter;
  const worsening = { ...others, maxExamples: 8, epochs: 20, learningRate: 0.1, keep: 0, reword: 0 };
  const finished = async (input: object) => {
    const all: FinetuneEvent[] = [];
    for await (const event of finetune(
      makeOptions({ adapter: everywhere, settings: { ...worsening, ...input } }),
    ))
      all.push(event);
    const ready = all.find((event) => event.type === "ready");
    const last = all.at(-1);
    if (ready?.type !== "ready" || last?.type !== "finish") throw new Error("the run did not finish");
    const best = all.findLast((event) => event.type === "evaluation" && event.best);
    return { ready, last, best: best?.type === "evaluation" ? best.step : undefined };
  };

  test("stops two passes after its best adapter, keeps that, and says so", async () => {
    const { ready, last, best } = await finished({});
    expect(ready).toMatchObject({
      epochs: 20,
      evaluateEvery: Math.ceil(ready.steps / 20),
      earlyStoppingPatience: 2,
    });
    expect(best).toBeDefined();
    const stopped = best! + 2 * ready.evaluateEvery;
    expect(last).toMatchObject({
      reason: "early_stopping",
      step: best,
      lastStep: stopped,
      steps: ready.steps,
    });
    expect(await adapterBytes()).toEqual(await adapterBytes(join(out, "best")));
    const bytesBefore = await adapterBytes();
    for (const step of casesOf(3) > 1 ? [1, best!, stopped - 1] : [best!]) {
      out = join(folder, `run-${runs++}`);
      await stopAt(step, { adapter: everywhere, settings: worsening });
      await run({ adapter: everywhere, settings: worsening, resume: true });
      expect(await adapterBytes(), `stopped at ${step}`).toEqual(bytesBefore);
    }
  });

  test("keeps its best adapter where it does not stop, and its last where that is asked for", async () => {
    const patient = await finished({ epochs: 6, earlyStoppingPatience: 50 });
    expect(patient.last).toMatchObject({
      reason: "complete",
      step: patient.best,
      lastStep: patient.ready.steps,
    });
    expect(patient.best).toBeLessThan(patient.ready.steps);
    expect(await adapterBytes()).toEqual(await adapterBytes(join(out, "best")));
    out = join(folder, `run-${runs++}`);
    const last = await finished({ epochs: 6, earlyStoppingPatience: 0 });
    expect(last.last).toMatchObject({ reason: "complete", step: last.ready.steps });
    expect(await adapterBytes()).not.toEqual(await adapterBytes(join(out, "best")));
  });

  test("has the rows that its data need, and resumes with those whatever is free then", async () => {
    const open = { saveEvery: 1, validationSplit: 4, warmup: 1, keep: 0.02 };
    const first = await stopAt(2, { settings: open });
    const record = JSON.parse(await readFile(join(out, "run.json"), "utf8")).settings;
    const resumed = await stopAt(4, { settings: open, resume: true });
    expect(resumed[1]).toMatchObject({ step: 2, epochs: record.epochs, maxLength: record.maxLength });
    expect(first.find(({ type }) => type === "ready")).toMatchObject({
      epochs: 30,
      batchSize: 1,
      maxLength: record.maxLength,
    });
    expect(record.maxLength).toBeLessThan(512);
  });
});

describe("a run that starts from an adapter", () => {
  test("has its settings, and begins with its loss", async () => {
    const first = await run({ settings: { ...settings, seed: 5 } });
    const [before, from] = [await adapterBytes(), out];
    out = join(folder, `run-${runs++}`);
    const second = await run({ adapter: { from }, settings: { ...settings, seed: 5, learningRate: 1e-3 } });
    const losses = (events: readonly FinetuneEvent[]) =>
      events.flatMap((event) => (event.type === "evaluation" ? [event.loss] : []));
    expect(losses(second)[0]).toBe(losses(first).at(-1));
    expect(second[1]).toMatchObject({ adapter: { ...adapter, seed: 5 } });
    expect(await adapterBytes(from)).toEqual(before);
    expect((await adapterBytes())[0]).toEqual(before[0]);
    expect((await adapterBytes())[1]).not.toEqual(before[1]);
  });

  test("is resumed to the same bytes, from the same adapter only", async () => {
    await copyWhole();
    const from = out;
    out = join(folder, `run-${runs++}`);
    await run({ adapter: { from } });
    const whole = await adapterBytes();
    out = join(folder, `run-${runs++}`);
    await stopAt(3, { adapter: { from } });
    await expect(run({ resume: true })).rejects.toThrowError(refusal("bad_option", /another adapter/));
    await run({ adapter: { from }, resume: true });
    expect(await adapterBytes()).toEqual(whole);
  });

  test("may replace it", async () => {
    await copyWhole();
    const before = await adapterBytes();
    const events = await run({ adapter: { from: out }, overwrite: true });
    expect(events.at(-1)).toMatchObject({ what: "adapter", replaced: 1 });
    expect((await adapterBytes())[1]).not.toEqual(before[1]);
  });

  test("warns where it was trained with other token ids", async () => {
    await copyWhole();
    const from = out;
    const file = join(from, "adapter_config.json");
    const saved = JSON.parse(await readFile(file, "utf8"));
    expect(saved.base_tokens).toMatch(/^sha256:[0-9a-f]{64}$/);
    await writeFile(file, JSON.stringify({ ...saved, base_tokens: "sha256:other" }));
    out = join(folder, `run-${runs++}`);
    expect(await run({ adapter: { from } })).toContainEqual(
      expect.objectContaining({ type: "warning", reason: "other_tokens" }),
    );
  });
});
