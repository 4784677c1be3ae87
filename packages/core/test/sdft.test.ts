// Self-distillation: what the student learns is what a teacher with a hint in its prompt says of each token of the answer.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type EncodedExample, makeBatch } from "#data";
import { type FinetuneEvent, type FinetuneOptions, finetune, gradientSource } from "#training";
import { OBJECTIVES } from "../src/training/objectives/index.ts";
import { type TinyFolder, writeTinyFolder } from "./tiny-folder.ts";
import { randomExamples, tinyTrainable, withHint } from "./tiny-training.ts";

type Settings = Parameters<typeof OBJECTIVES.sdft.create>[0];
const plain = randomExamples([9, 6, 12, 7]);
const examples = plain.map((one, i) => withHint(one, i + 1));

/** Loss and gradients of rows of examples. */
async function measure(rows: readonly (readonly EncodedExample[])[], settings: Partial<Settings> = {}) {
  const model = tinyTrainable();
  const reference = new Map(
    [...model.parameters].map(([name, { shape, data }]) => [name, { shape, data: data.map((x) => x / 2) }]),
  );
  const objective = OBJECTIVES.sdft.create(settings as Settings);
  await using source = gradientSource(model, { objective, reference, maxSegment: 16 });
  const found = await source.gradients(makeBatch(rows, { length: 40, padToken: 0 }), undefined);
  const gradients = [...found.gradients.values()].flatMap((data) => [...data]);
  return { loss: found.loss / found.count, gradients, metrics: found.metrics };
}
const largest = (numbers: readonly number[]) => numbers.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

test("packed answers have the loss and the gradients of padded ones", async () => {
  const padded = await measure(examples.map((one) => [one]));
  const packed = await measure([examples.slice(0, 3), examples.slice(3)]);
  expect(packed.loss).toBeCloseTo(padded.loss, 6);
  expect(packed.metrics["nll_loss"]?.sum).toBeCloseTo(padded.metrics["nll_loss"]?.sum ?? 0, 3);
  expect(largest(packed.gradients.map((x, i) => x - (padded.gradients[i] ?? 0)))).toBeLessThan(1e-5);
});

test("a live teacher without a hint agrees with its student, and a frozen one is the adapter as the run starts", async () => {
  const same = plain.map((one) => [{ ...one, hinted: one }]);
  const live = await measure(same, { teacherKind: "live" });
  expect(live.loss).toBeCloseTo(0, 6);
  expect(largest(live.gradients)).toBeLessThan(1e-5);
  expect((await measure(same)).loss).toBeGreaterThan(1e-4);
  expect(
    (
      await measure(
        examples.map((one) => [one]),
        { teacherKind: "live" },
      )
    ).loss,
  ).toBeGreaterThan(1e-4);
});

// Runs on lines

let folder: string;
let tiny: TinyFolder;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-sdft-"));
  tiny = await writeTinyFolder(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const lines = Array.from({ length: 6 }, (_, i) => ({
  messages: [
    { role: "user" as const, content: `Question ${i}?` },
    { role: "assistant" as const, content: `Yes, ${i}.` },
  ],
  hint: `Say yes and the number ${i}.`,
}));
const settings = {
  objective: "sdft" as const,
  steps: 4,
  warmup: 0,
  validationSplit: 2,
  promptFormat: "plain" as const,
};

async function run(change: Partial<FinetuneOptions>): Promise<readonly FinetuneEvent[]> {
  const found: FinetuneEvent[] = [];
  const given = { model: tiny.model, data: lines, out: join(folder, "run"), settings, now: () => 0 };
  for await (const event of finetune({ ...given, adapter: { method: "lora", rank: 2 }, ...change }))
    found.push(event);
  return found;
}

test("a run comes closer to its teacher, and resumes with the same hints alone", async () => {
  const losses = (await run({})).flatMap((event) => (event.type === "evaluation" ? [event.loss] : []));
  expect(losses.length).toBeGreaterThan(1);
  expect(losses.at(-1)).toBeLessThan(losses[0] ?? 0);
  const other = lines.map((line) => ({ ...line, hint: "Say no." }));
  const longer = { resume: true, settings: { ...settings, steps: 5 } };
  await expect(run({ ...longer, data: other })).rejects.toThrow(/data|examples/);
});

test("lines without a hint are refused", async () => {
  const bare = lines.map(({ messages }) => ({ messages }));
  await expect(run({ data: bare, out: join(folder, "bare") })).rejects.toThrow(
    "this run learns from answers with hints",
  );
});
