// Graders of a hostile tenant on a real server, while another tenant streams.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createTrainer, type TrainRequest } from "../src/worker/trainer.ts";
import { watchBystander } from "./bystander.ts";
import { listProcesses, listTrainers } from "./processes.ts";
import { type Serving, startServing } from "./serving.ts";

/** CPU milliseconds of the thread that answers HTTP: the longest that others may wait. */
const LIMIT = 250;

let serving: Serving;
beforeAll(async () => {
  serving = await startServing(["mallory", "acme", "bystander"]);
});
afterAll(async () => {
  const faults = serving.lines.filter((line) => line.includes('"level":50'));
  await serving[Symbol.asyncDispose]();
  expect(faults).toEqual([]);
});

interface Sent {
  readonly grader: object;
  readonly item?: object;
  readonly model_sample?: string;
}

async function run(tenant: string, { model_sample = "", ...sent }: Sent, signal?: AbortSignal) {
  const response = await fetch(`${serving.address}/v1/fine_tuning/alpha/graders/run`, {
    method: "POST",
    headers: { authorization: `Bearer ${serving.keyFor(tenant)}`, "content-type": "application/json" },
    body: JSON.stringify({ ...sent, model_sample }),
    ...(signal === undefined ? {} : { signal }),
  });
  const retryAfter = response.headers.get("retry-after");
  // biome-ignore lint/suspicious/noExplicitAny: answers of several shapes
  const json: any = await response.json();
  return { status: response.status, retryAfter, json };
}

/** A multi grader of equal parts. */
const multi = (parts: number, part: object) => ({
  type: "multi",
  graders: Object.fromEntries(Array.from({ length: parts }, (_, i) => [`p${i}`, part])),
  calculate_output: "p0",
});
const python = (line: string) => ({ type: "python", source: `def grade(sample, item):\n    ${line}` });

/** What a bystander saw of an attack, whose answers are returned. */
async function attacked<T>(attack: () => Promise<T>): Promise<T> {
  const { result, longestGap, slowestHealth } = await watchBystander(serving, "bystander", attack);
  expect([longestGap, slowestHealth].filter((milliseconds) => milliseconds > LIMIT)).toEqual([]);
  return result;
}

const similarity = {
  ...{ type: "text_similarity", evaluation_metric: "fuzzy_match" },
  ...{ input: "{{sample.output_text}}", reference: "{{item.reference}}" },
};
const long = { model_sample: "ab".repeat(16_384), item: { reference: "abc".repeat(10_922) } };

test("long texts that are compared hold up nobody else, and too many are refused", async () => {
  const answers = await attacked(() =>
    Promise.all([15, 50, 3000].map((parts) => run("mallory", { grader: multi(parts, similarity), ...long }))),
  );
  expect(answers.map(({ status }) => status)).toEqual([200, 400, 400]);
  expect(answers[0]?.json.reward).toBeCloseTo(2 / 3, 3);
});

test("a template that fills in gigabytes is refused before it is filled in", async () => {
  const check = { type: "string_check", operation: "eq", input: "{{item.a}}".repeat(250), reference: "b" };
  const item = { a: "a".repeat(1_000_000) };
  const { status, json } = await attacked(() => run("mallory", { grader: multi(30, check), item }));
  expect([status, json.error?.message]).toEqual([400, expect.stringMatching(/1,000,000 characters/)]);
});

test("endless Python of one tenant does not keep that of another waiting", async () => {
  const leaving = new AbortController();
  const endless = { grader: python("while True: pass") };
  await attacked(async () => {
    const ended: (Awaited<ReturnType<typeof run>> | undefined)[] = [];
    const attack = Array.from({ length: 10 }, async () => {
      ended.push(await run("mallory", endless, leaving.signal).catch(() => undefined));
    });
    for (let i = 0; i < 2; i++)
      expect((await run("acme", { grader: python("return 1") })).json.reward).toBe(1);
    // its own queue was full for two, and most of the others still run or wait
    const refused = ended.filter((answer) => answer?.status === 429);
    expect(refused.map((answer) => answer?.retryAfter)).toEqual(["5", "5"]);
    expect(ended.length).toBeLessThan(2 + 4);
    leaving.abort();
    await Promise.all(attack);
  });
});

test("the sandbox of a job's grader stays open from slice to slice, and leaves nothing behind", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-slices-"));
  const [temporary, out] = [await mkdtemp(join(folder, "tmp-")), join(folder, "run")];
  vi.stubEnv("TMPDIR", temporary);
  const order: TrainRequest = {
    ...{
      model: "assets/tiny-english",
      data: "assets/quickstart/prompts.jsonl",
      out,
      cacheFolder: join(folder, "answers"),
      threads: 1,
      saveSeconds: 60,
    },
    ...{
      validationData: undefined,
      models: undefined,
      maxTokens: undefined,
      resume: false,
      adapter: { method: "lora", rank: 2 },
    },
    settings: {
      ...{
        objective: "grpo",
        grader: python("return len(sample['output_text'])"),
        validationSplit: 0,
        seed: 1,
      },
      ...{ steps: 3, saveEvery: 1, batchSize: 1, groupSize: 2, maxCompletionLength: 4 },
    },
  };
  const trainer = createTrainer({ stallSeconds: 600 });
  const sandboxes: (readonly number[])[] = [];
  try {
    for (const resume of [false, true]) {
      for await (const report of trainer.train({ ...order, resume })) {
        if (report.type === "event" && report.event.type === "step") trainer.stop();
        expect(report).not.toHaveProperty("message");
      }
      sandboxes.push(await listProcesses("jail/main.js", await listTrainers([process.pid])));
    }
  } finally {
    await trainer[Symbol.asyncDispose]();
    vi.unstubAllEnvs();
  }
  const [first = [], second = []] = sandboxes;
  // where the machine is slow, the last of them may have started meanwhile
  expect(first.length).toBeGreaterThan(0);
  expect(second).toEqual(expect.arrayContaining([...first]));
  await vi.waitFor(async () => expect(await readdir(temporary)).toEqual([]), 10_000);
  await rm(folder, { recursive: true });
});
