import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeExamples, IGNORED, readDataset } from "mixture-of-shards-core/data";
import { loadText } from "mixture-of-shards-core/models";
import {
  type FinetuneEvent,
  finetune,
  type PreviewOptions,
  previewRun,
  usualLearningRate,
} from "mixture-of-shards-core/training";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type TinyFolder, writeTinyFolder } from "../../core/test/tiny-folder.ts";
import { snapshot } from "./bad-input/run-mos.ts";

let folder: string;
let tiny: TinyFolder;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-preview-"));
  tiny = await writeTinyFolder(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const settings = {
  epochs: 2,
  batchSize: 1,
  gradientAccumulationSteps: 2,
  maxLength: 24,
  validationSplit: 4,
  evaluateEvery: 2,
  keep: 0,
  reword: 0,
} as const;
const adapter = { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 } as const;
const makeOptions = (change: Partial<PreviewOptions> = {}): PreviewOptions => ({
  model: tiny.model,
  data: tiny.data,
  adapter,
  settings,
  ...change,
});

test("a preview says what the run then is, and writes nothing", async () => {
  const before = await snapshot(folder);
  const preview = await previewRun(makeOptions());
  expect(await snapshot(folder)).toEqual(before);
  const events: FinetuneEvent[] = [];
  const controller = new AbortController();
  for await (const event of finetune({
    ...makeOptions(),
    out: join(folder, "run"),
    signal: controller.signal,
  })) {
    events.push(event);
    if (event.type === "ready") controller.abort();
  }
  await rm(join(folder, "run"), { recursive: true, force: true });
  const [memory, ready] = events;
  if (memory?.type !== "memory" || ready?.type !== "ready") throw new Error("a run begins otherwise");
  const { train, validation, steps, learningRate, budget, adapter: config } = ready;
  expect(preview).toMatchObject({ train, validation, steps, learningRate, budget, adapter: config });
  expect(preview).toMatchObject({
    plan: memory.plan,
    model: memory.model,
    rematerialise: memory.rematerialise,
  });
  expect(preview.epochs).toBeCloseTo(2, 0);
});

test("memory is that of the batches that the data make, not of full ones", async () => {
  const few = {
    ...settings,
    validationSplit: 0,
    maxExamples: 3,
    maxLength: 64,
    gradientAccumulationSteps: 1,
    packing: false,
  };
  const three = await previewRun(makeOptions({ settings: { ...few, batchSize: 3 } }));
  const many = { ...few, batchSize: 200, maxLength: 128 };
  expect((await previewRun(makeOptions({ settings: many }))).plan).toEqual(three.plan);
  // there is room for what the run takes, and for no full batch
  const free = { bytes: 1.04 * three.plan.bytes, resident: 0, limit: "machine" } as const;
  const run = finetune({ ...makeOptions({ settings: many, free }), out: join(folder, "few") });
  expect(await run.next()).toMatchObject({ value: { type: "memory", plan: three.plan } });
  await run.return();
  const base = { bytes: 100_000, resident: 0, limit: "machine" } as const;
  const options = {
    ...makeOptions({ settings: many, free: base }),
    model: "assets/tiny-english",
    data: "none.jsonl",
  };
  await expect(previewRun(options)).rejects.toMatchObject({ code: "memory" }); // before the data are looked for
});

test("the base decides the learning rate where none is given", async () => {
  expect([64, 576, 640, 2048, 4096].map(usualLearningRate)).toEqual([0.002, 0.002, 0.002, 0.00063, 0.00031]);
  expect((await previewRun(makeOptions())).learningRate).toBe(0.002);
  const given = { ...settings, learningRate: 0.03 };
  expect((await previewRun(makeOptions({ settings: given }))).learningRate).toBe(0.03);
});

test("lines are shown as they are encoded", async () => {
  const { examples } = await readDataset(tiny.data);
  const text = await loadText(tiny.model);
  const { encoded } = await encodeExamples(examples, { ...text, maxLength: 24 });
  const all = examples.map(({ line }) => line);
  const { lines } = await previewRun(makeOptions({ lines: all }));
  expect(lines.map(({ line }) => line)).toEqual(all);
  expect(lines.filter(({ part }) => part === "validation")).toHaveLength(4);
  for (const { ids, labels, line, ...counts } of encoded) {
    const shown = lines.find((one) => one.line === line);
    expect(shown).toMatchObject({ ...counts, tokens: ids.length, dropped: false });
    expect(shown?.shown.map(({ id }) => id)).toEqual(Array.from(ids));
    expect(shown?.shown.map(({ isTrained }) => isTrained)).toEqual(
      Array.from(labels, (label, i) => i > 0 && label !== IGNORED),
    );
    expect(shown?.shown.map(({ text: part }) => part).join("")).toBe(text.tokenizer.decode(Array.from(ids)));
  }
  const bounded = await previewRun(
    makeOptions({ lines: [2], maxShown: 5, settings: { ...settings, maxExamples: 1, validationSplit: 0 } }),
  );
  expect(bounded.lines).toMatchObject([{ line: 2, part: "unused" }]);
  expect(bounded.lines[0]?.shown).toHaveLength(5);
  await expect(previewRun(makeOptions({ lines: [9999] }))).rejects.toMatchObject({ code: "bad_option" });
});

test("a character that several tokens have is shown once", async () => {
  const answer = "Ahoy 😀 日本語!";
  const data = Array.from({ length: 4 }, () => ({ prompt: "Hi", completion: answer }));
  const wide = { ...settings, maxLength: 64, validationSplit: 0 };
  const { lines } = await previewRun(makeOptions({ data, lines: [1], settings: wide }));
  const shown = lines[0]?.shown ?? [];
  const [text] = [shown.map((one) => one.text).join("")];
  expect(text).toContain(answer);
  expect(text).not.toContain("\ufffd");
  expect(shown.some((one) => one.text === "")).toBe(true);
  const [, completion] = lines[0]?.turns ?? [];
  const said = shown.slice(completion?.start, completion?.end).map((one) => one.text);
  expect(said.join("").trim()).toBe(answer);
});

test("what is cut off, left out and not held out is said", async () => {
  const reasons = async (change: object): Promise<readonly string[]> =>
    (await previewRun(makeOptions({ settings: { ...settings, ...change } }))).warnings.map(
      ({ reason }) => reason,
    );
  expect(await reasons({ maxLength: 64 })).toEqual([]);
  expect(await reasons({ maxLength: 14, validationSplit: 0 })).toEqual([
    "dropped",
    "truncated",
    "no_validation",
  ]);
  await expect(reasons({ maxLength: 2 })).rejects.toMatchObject({ code: "bad_data" });
});

test("lines of which a part or nothing is learnt are named", async () => {
  const cut = { ...settings, maxLength: 14, validationSplit: 0 };
  const { problems, train } = await previewRun(makeOptions({ settings: cut }));
  const count = (reason: string): number => problems.filter((one) => one.reason === reason).length;
  expect([count("dropped"), count("truncated")]).toEqual([train.dropped, expect.any(Number)]);
  expect(count("truncated")).toBeGreaterThan(0);
  const all = problems.map(({ line }) => line);
  expect(all).toEqual(all.toSorted((a, b) => a - b));
  const { lines } = await previewRun(makeOptions({ settings: cut, lines: all }));
  for (const [i, { dropped, truncatedTargets, turns }] of lines.entries()) {
    expect(problems[i]?.reason).toBe(dropped ? "dropped" : "truncated");
    expect(problems[i]?.message).toContain(dropped ? "first 14 tokens" : `loses ${truncatedTargets} target`);
    expect(turns.length).toBeGreaterThan(0);
  }
});

test("the weights of the base are not read", async () => {
  const broken = join(folder, "broken");
  const { model } = await writeTinyFolder(broken);
  await using file = await open(join(model, "model.safetensors"), "r+");
  const { size } = await file.stat();
  await file.write(Buffer.alloc(1000, 0xff), 0, 1000, size - 1000); // not finite
  expect((await previewRun(makeOptions({ model }))).steps).toBeGreaterThan(0);
  const run = finetune({ ...makeOptions({ model }), out: join(broken, "run") });
  await run.next();
  await expect(run.next()).rejects.toMatchObject({ code: "bad_model" });
});
