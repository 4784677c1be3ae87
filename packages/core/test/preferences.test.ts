// Runs on pairs of answers: what they learn does not depend on how pairs are laid out, and the reference is the start.
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type EncodedExample, makeBatch } from "#data";
import {
  type FinetuneEvent,
  type FinetuneOptions,
  finetune,
  gradientSource,
  initialState,
  type TrainSettings,
  train,
} from "#training";
import { OBJECTIVES } from "../src/training/objectives/index.ts";
import { type TinyFolder, writeTinyFolder } from "./tiny-folder.ts";
import { copyNumbers, randomExamples, tinySettings, tinyTrainable } from "./tiny-training.ts";

/** Pairs of random sequences, with made-up log-probabilities by the reference. */
const pairs = [0, 1, 2, 3, 4, 5, 6, 7].map((k): EncodedExample => {
  const [chosen, rejected] = randomExamples([4 + k, 11 - k], k) as [EncodedExample, EncodedExample];
  const join = (field: "ids" | "labels") => Int32Array.from([...chosen[field], ...rejected[field]]);
  const targetTokens = chosen.targetTokens + rejected.targetTokens;
  return {
    ...chosen,
    ids: join("ids"),
    labels: join("labels"),
    targetTokens,
    sequences: [chosen.ids.length, rejected.ids.length],
    columns: { reference: Float32Array.from({ length: targetTokens }, (_, i) => -3 - 0.1 * (i % 7)) },
  };
});

const settings = { objective: "dpo", beta: 0.5, sftWeight: 0.7 } as Parameters<
  typeof OBJECTIVES.dpo.create
>[0];
const objective = OBJECTIVES.dpo.create(settings);

async function run(change: Partial<TrainSettings>) {
  const model = tinyTrainable();
  const state = initialState(model.parameters);
  const steps: object[] = [];
  const all = { ...tinySettings, maxLength: 48, packing: false, steps: 3, ...change };
  for await (const event of train({
    ...{ model, objective, settings: all, train: pairs, validation: [], state, now: () => 0 },
  }))
    if (event.type === "step") steps.push({ loss: event.loss, ...event.metrics });
  return { steps, numbers: copyNumbers(model.parameters) };
}

/** Of many numbers the largest decides what is near. */
function expectNear(found: object, expected: object, limit: number): void {
  const numbers = Object.values(expected).filter((x): x is number => typeof x === "number");
  const scale = numbers.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
  for (const [name, x] of Object.entries(expected)) {
    const other = (found as Record<string, unknown>)[name];
    if (typeof x === "number") expect(Math.abs((other as number) - x) / scale, name).toBeLessThan(limit);
    else expectNear(other as object, x as object, limit);
  }
}

test("four micro-batches of a pair add up to one of four", async () => {
  const one = await run({ batchSize: 4, gradientAccumulationSteps: 1 });
  const four = await run({ batchSize: 1, gradientAccumulationSteps: 4 });
  expectNear(four.steps, one.steps, 1e-5);
  expectNear(four.numbers, one.numbers, 1e-4);
});

test("packed pairs have the loss, the metrics and the gradients of padded ones", async () => {
  await using source = gradientSource(tinyTrainable(), { objective });
  const padded = await source.gradients(
    makeBatch(
      pairs.map((one) => [one]),
      { length: 16, padToken: 0 },
    ),
    undefined,
  );
  const expected = { ...padded, gradients: copyOf(padded.gradients) };
  const packed = await source.gradients(
    makeBatch([pairs.slice(0, 3), pairs.slice(3)], { length: 80, padToken: 1 }),
    undefined,
  );
  expectNear({ ...packed, gradients: copyOf(packed.gradients) }, expected, 1e-5);
});

const copyOf = (gradients: ReadonlyMap<string, Float32Array>) =>
  Object.fromEntries([...gradients].map(([name, g]) => [name, g.slice()]));

// Runs on files

let folder: string;
let tiny: TinyFolder;
let first: readonly FinetuneEvent[];
/** Of a run that starts from the first one's adapter. */
let second: readonly FinetuneEvent[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-preferences-"));
  tiny = await writeTinyFolder(folder);
  first = await events(options("first"));
  second = await events({ ...options("second"), adapter: { from: join(folder, "first") } });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const lines = Array.from({ length: 6 }, (_, i) => ({
  prompt: `Question ${i}?`,
  chosen: `Yes, ${i}.`,
  rejected: `No, not ${i} at all.`,
}));

const options = (out: string) =>
  ({
    ...{ model: tiny.model, data: lines, out: join(folder, out) },
    adapter: { method: "lora", rank: 2 },
    settings: { objective: "dpo", steps: 2, warmup: 0, validationSplit: 2, promptFormat: "plain" },
    now: () => 0,
  }) satisfies FinetuneOptions;

async function events(given: FinetuneOptions): Promise<readonly FinetuneEvent[]> {
  const found: FinetuneEvent[] = [];
  for await (const event of finetune(given)) found.push(event);
  return found;
}
const firstStep = (found: readonly FinetuneEvent[]) => found.find((event) => event.type === "step");

test("before the first update an adapter has won nothing on the one that it starts from", async () => {
  expect(firstStep(first)?.metrics?.["rewards/margins"]).toBeCloseTo(0, 5);
  const last = first.filter((event) => event.type === "evaluation").at(-1);
  expect(Math.abs(last?.metrics?.["eval_rewards/margins"] ?? 0)).toBeGreaterThan(1e-5);
  const metrics = await readFile(join(folder, "first/metrics.jsonl"), "utf8");
  expect(metrics).toContain('"eval_rewards/accuracies"');
  expect(firstStep(second)?.metrics?.["rewards/margins"]).toBeCloseTo(0, 5);
  expect(firstStep(second)?.metrics?.["logps/chosen"]).not.toBe(firstStep(first)?.metrics?.["logps/chosen"]);
});

test("dropout of the adapter that a run starts from is off where answers are compared", async () => {
  const examples = lines.map(({ prompt, chosen }) => ({ prompt, completion: chosen }));
  const { objective: _, ...settings } = options("dropped").settings;
  const adapter = { ...options("dropped").adapter, dropout: 0.5 };
  await events({ ...options("dropped"), data: examples, adapter, settings });
  const from = join(folder, "dropped");
  const found = await events({ ...options("compared"), adapter: { from } });
  expect(firstStep(found)?.metrics?.["rewards/margins"]).toBeCloseTo(0, 5);
  const on = await events({ ...options("learnt"), data: examples, adapter: { from }, settings });
  const dropouts = [found, on].map((all) => all.find((event) => event.type === "ready")?.adapter.dropout);
  expect(dropouts).toEqual([0, 0.5]);
});

test("the reference is computed once, and again where what it was computed of has changed", async () => {
  const references = async (given: FinetuneOptions): Promise<number> =>
    (await events(given)).filter((event) => event.type === "reference").length;
  expect(await references(options("run"))).toBeGreaterThan(0);
  const longer = { ...options("run"), resume: true, settings: { ...options("run").settings, steps: 3 } };
  await cp(join(folder, "run"), join(folder, "other"), { recursive: true });
  expect(await references(longer)).toBe(0);
  await cp(join(folder, "second/reference.safetensors"), join(folder, "other/reference.safetensors"));
  expect(await references({ ...longer, out: join(folder, "other") })).toBeGreaterThan(0);
});

test("a run goes on with its own objective alone, and has no settings of others", async () => {
  const given = options("first");
  const resumed = (change: object) =>
    events({ ...given, resume: true, settings: { ...given.settings, steps: 3, ...change } });
  await expect(resumed({ beta: 0.2 })).rejects.toThrow("objective.beta was 0.1, now 0.2");
  await expect(events({ ...options("new"), settings: { gamma: 1 } })).rejects.toThrow(
    "gamma is no setting of the objective sft, but of simpo",
  );
  await expect(events({ ...options("new"), data: tiny.data })).rejects.toThrow("this run learns from pairs");
});
