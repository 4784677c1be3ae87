import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IGNORED } from "mixture-of-shards-core/data";
import { loadText } from "mixture-of-shards-core/models";
import {
  type FinetuneEvent,
  type FinetuneOptions,
  finetune,
  previewRun,
} from "mixture-of-shards-core/training";
import { afterAll, beforeAll, expect, test } from "vitest";
import { replayExample } from "../src/training/augment/replay.ts";
import { type TinyFolder, writeTinyFolder } from "./tiny-folder.ts";

let folder: string;
let tiny: TinyFolder;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-augment-"));
  tiny = await writeTinyFolder(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const data = ["red", "blue", "green", "black"].map((colour) => ({
  messages: [
    { role: "user" as const, content: `What does a ${colour} lamp on the side mean?` },
    { role: "assistant" as const, content: `The ${colour} one is on.` },
  ],
}));

async function run(name: string, change: Partial<FinetuneOptions> = {}): Promise<readonly FinetuneEvent[]> {
  const events: FinetuneEvent[] = [];
  const given = {
    model: tiny.model,
    data,
    out: join(folder, name),
    adapter: { method: "lora", rank: 1 } as const,
  };
  for await (const event of finetune({ ...given, ...change })) events.push(event);
  return events;
}

const readyOf = (events: readonly FinetuneEvent[]) =>
  events.find((event): event is Extract<FinetuneEvent, { type: "ready" }> => event.type === "ready");

test("questions have other wordings and the base's answers are learnt besides, and a resumed run asks no more", async () => {
  const settings = { epochs: 30, steps: 3, keep: 0.05, reword: 4, saveEvery: 1 };
  const controller = new AbortController();
  const begun: FinetuneEvent[] = [];
  const options = {
    model: tiny.model,
    data,
    out: join(folder, "kept"),
    adapter: { method: "lora", rank: 1 } as const,
  };
  for await (const event of finetune({ ...options, settings, signal: controller.signal })) {
    begun.push(event);
    if (event.type === "step" && event.step === 2) controller.abort();
  }
  // 30 passes over four lines
  expect(readyOf(begun)?.augmented).toEqual({ reworded: 4, wordings: 4, replayed: 6 });
  expect(readyOf(begun)?.train.examples).toBe(4);
  expect(begun.filter(({ type }) => type === "replay")).toHaveLength(6);
  const rest = await run("kept", { settings, resume: true });
  expect(rest.filter(({ type }) => type === "replay")).toEqual([]);
  expect(rest.at(-1)).toMatchObject({ type: "finish", step: 3 });
  await expect(run("kept", { settings: { ...settings, keep: 0.5 }, resume: true })).rejects.toThrow(
    /^keep was 0.05 when the run began, now 0.5/,
  );
  await run("whole", { settings });
  const bytes = (name: string) => readFile(join(folder, name, "adapter_model.safetensors"));
  expect((await bytes("kept")).equals(await bytes("whole"))).toBe(true);
});

test("the next run on a base asks for no answer that the last one had", async () => {
  const cacheFolder = join(folder, "answers");
  const asked = async (name: string, keep: number, change: Partial<FinetuneOptions> = {}) => {
    const settings = { epochs: 30, steps: 2, keep, reword: 0 };
    const events = await run(name, { settings, cacheFolder, ...change });
    return events.filter(({ type }) => type === "replay").length;
  };
  const bytes = (name: string) => readFile(join(folder, name, "adapter_model.safetensors"));
  const both = await Promise.all([asked("first", 0.05), asked("beside", 0.05)]);
  expect(both).toEqual([6, 6]);
  expect(await asked("second", 0.05)).toBe(0);
  expect((await bytes("first")).equals(await bytes("second"))).toBe(true);
  expect(await asked("more", 0.1)).toBe(12 - 6);
  // 300 of 240
  expect(await asked("all", 2.5)).toBe(240 - 12);
  expect(await asked("all again", 2.5)).toBe(0);
  const [kept = "", ...others] = await readdir(cacheFolder);
  expect(others).toEqual([]);
  const settings = { epochs: 30, steps: 2, keep: 0.05, reword: 0, system: "Be brief." };
  expect(await asked("system", 0, { settings })).toBe(6);
  await writeFile(join(cacheFolder, kept), "[{]");
  expect(await asked("damaged", 0.05)).toBe(6);
  // a cache that cannot be written is none
  expect(await asked("none", 0.05, { cacheFolder: join(cacheFolder, kept) })).toBe(6);
});

test("a preview counts the tokens of all that is learnt", async () => {
  const preview = (settings: object) =>
    previewRun({ model: tiny.model, data, settings: { epochs: 30, ...settings } });
  const plain = await preview({ keep: 0, reword: 0 });
  expect(plain.tokens).toBe(30 * plain.train.tokens);
  const kept = await preview({ keep: 0.5, reword: 4 });
  expect(kept.train.tokens).toBe(plain.train.tokens);
  expect(kept.tokens).toBeGreaterThan(plain.tokens + 60);
});

test("nothing is added where nothing is asked for, and to other objectives", async () => {
  const plain = await run("plain", { settings: { steps: 1, keep: 0, reword: 0 } });
  expect(readyOf(plain)?.augmented).toBeUndefined();
  const pairs = data.map(({ messages }) => ({
    prompt: messages.slice(0, 1),
    chosen: messages.slice(1),
    rejected: [{ role: "assistant", content: "No." } as const],
  }));
  const preferred = await run("pairs", { data: pairs, settings: { objective: "dpo", steps: 1 } });
  expect(readyOf(preferred)?.augmented).toBeUndefined();
});

test("half of the passes are half of the updates", async () => {
  const settings = { keep: 0, reword: 0 };
  const steps = async (epochs?: number) =>
    (
      await previewRun({
        model: tiny.model,
        data,
        settings: { ...settings, ...(epochs === undefined ? {} : { epochs }) },
      })
    ).steps;
  expect(await steps(15)).toBe(Math.round((await steps()) / 2));
});

test("the end of an answer that was cut is not learnt", async () => {
  const { tokenizer, template } = await loadText(tiny.model);
  const options = { tokenizer, template, maxLength: 200 };
  const learnt = (isCut: boolean) => {
    const { ids, labels, targetTokens } = replayExample(
      { prompt: "Hi", answer: "It is red", isCut },
      1,
      options,
    );
    const targets = ids.filter((_, i) => labels[i] !== IGNORED);
    expect(targets).toHaveLength(targetTokens);
    return tokenizer.decode([...targets], { skipSpecialTokens: false });
  };
  expect(learnt(false).startsWith("It is red")).toBe(true);
  expect(learnt(false).length).toBeGreaterThan("It is red".length);
  expect("It is red".startsWith(learnt(true))).toBe(true);
  expect(learnt(true).length).toBeGreaterThan(0);
});
