// What the bundled model learns from a teacher that is served elsewhere, and runs that are interrupted while one is asked.
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEngine } from "mixture-of-shards-core/inference";
import { loadTextFromFolder } from "mixture-of-shards-core/text";
import { type FinetuneEvent, type FinetuneOptions, finetune } from "mixture-of-shards-core/training";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { serve } from "../src/index.ts";

const MODEL = "assets/tiny-english";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-distill-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function eventsOf(options: FinetuneOptions): Promise<readonly FinetuneEvent[]> {
  const events: FinetuneEvent[] = [];
  for await (const event of finetune(options)) events.push(event);
  return events;
}

const ask = (content: string) => ({ messages: [{ role: "user", content }] }) as const;
const QUESTIONS = ["What do you like?", "Why is the sky blue?", "Do you like milk?", "How do I bake bread?"];

/** One that the bundled model gives now and then: a student learns from answers that it samples. */
const ANSWER = "I do not know that.";

/** Share of sampled answers that are the teacher's. */
async function shareOfAnswer(adapters: string, adapter?: string): Promise<number> {
  await using engine = await openEngine({ model: MODEL, adapters, threads: 1 });
  const options = {
    maxTokens: 32,
    sampling: { temperature: 1 },
    ...(adapter === undefined ? {} : { adapter }),
  };
  let found = 0;
  for (const question of QUESTIONS)
    for (const seed of [1, 2, 3, 4]) {
      const { content } = await engine.chat(question, { ...options, seed }).message();
      found += Number(content === ANSWER);
    }
  return found / 16;
}

test("a student comes close to a teacher that is served, and gives its answers", async () => {
  const adapter = { method: "lora", rank: 8, alpha: 16 } as const;
  const answered = QUESTIONS.map((question) => ({ question, answer: ANSWER }));
  await eventsOf({
    ...{ model: MODEL, data: answered, adapter, out: join(folder, "teacher") },
    settings: { steps: 20, batchSize: 1, maxLength: 128, learningRate: 5e-3 },
  });
  await using server = await serve({ model: MODEL, adapters: folder, port: 0, threads: 1 });
  const events = await eventsOf({
    ...{ model: MODEL, data: QUESTIONS.map(ask), adapter, out: join(folder, "student") },
    settings: {
      objective: "distill",
      schedule: "constant",
      ...{ teacher: server.address, teacherModel: "teacher", steps: 20, learningRate: 2e-3, warmup: 0 },
      ...{ batchSize: 4, groupSize: 8, maxCompletionLength: 32, validationSplit: 0 },
    },
  });
  const divergences = events.flatMap((event) =>
    event.type === "step" ? [event.metrics?.["teacher_kl"] ?? Number.NaN] : [],
  );
  const mean = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
  expect(divergences).toHaveLength(20);
  expect(mean(divergences.slice(-3))).toBeLessThan(0.3 * mean(divergences.slice(0, 2)));
  const before = await shareOfAnswer(folder);
  expect(before).toBeLessThan(0.7);
  expect(await shareOfAnswer(folder, "student")).toBeGreaterThan(before + 0.25);
});

/** A teacher that likes tokens by their number; `onRequest` hears how many requests there were. */
async function oddTeacher(onRequest: (count: number) => void = () => undefined): Promise<string> {
  const { tokenizer } = await loadTextFromFolder(MODEL);
  let count = 0;
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    onRequest(++count);
    const ids: readonly number[] = [...JSON.parse(body).prompt, 1];
    const tokens = ids.map((id) => new TextDecoder().decode(tokenizer.idToBytes(id)));
    const token_logprobs = ids.map((id, i) => (i === 0 ? null : -(id % 7)));
    response.end(JSON.stringify({ choices: [{ logprobs: { tokens, token_logprobs } }] }));
  }).listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The address of a server that is closed. */
async function absentTeacher(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return `http://127.0.0.1:${port}`;
}

const interruptible = (teacher: string) =>
  ({
    ...{ model: MODEL, data: QUESTIONS.slice(0, 2).map(ask), validationData: QUESTIONS.slice(2).map(ask) },
    adapter: { method: "lora", rank: 2, dropout: 0.1 },
    settings: {
      objective: "distill",
      ...{ teacher, teacherModel: "odd", steps: 3, evaluateEvery: 2, saveEvery: 1 },
      ...{ batchSize: 2, groupSize: 2, maxCompletionLength: 8, warmup: 0, learningRate: 2e-3 },
    },
    session: { threads: 1 },
    now: () => 0,
  }) satisfies Partial<FinetuneOptions>;

test("a run that is stopped while the teacher is asked leaves the same bytes, at whatever address it goes on", async () => {
  const whole = join(folder, "whole");
  const events = await eventsOf({ ...interruptible(await oddTeacher()), out: whole });
  for (const event of events)
    if (event.type === "evaluation") expect(event.metrics?.["eval_teacher_kl"]).toBe(event.loss);
  // the evaluation before training asks 4 times, an update as often, and so does the evaluation after the second
  for (const [at, step] of [
    [2, 0],
    [4 + 4 + 2, 1],
    [4 + 4 + 4 + 2, 2],
  ] as const) {
    const out = join(folder, `stopped-${at}`);
    const stop = new AbortController();
    const teacher = await oddTeacher((count) => (count === at ? stop.abort() : undefined));
    const before = await eventsOf({ ...interruptible(teacher), out, signal: stop.signal });
    expect(before.at(-1)).toMatchObject({ type: "stopped", step });
    await eventsOf({ ...interruptible(await oddTeacher()), out, resume: step > 0 });
    for (const file of ["adapter_model.safetensors", "metrics.jsonl"])
      expect(await readFile(join(out, file)), `${at} ${file}`).toEqual(await readFile(join(whole, file)));
  }
});

test("a run without a teacher, or with one that is away, ends with what to do", async () => {
  const options = interruptible(await absentTeacher());
  const { teacher: _, ...settings } = options.settings;
  await expect(eventsOf({ ...options, settings, out: join(folder, "none") })).rejects.toThrow("give teacher");
  await expect(eventsOf({ ...options, out: join(folder, "away") })).rejects.toMatchObject({
    code: "network",
    message: expect.stringContaining("start it, or check the URL"),
  });
});
