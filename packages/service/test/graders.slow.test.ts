// Graders of a hostile tenant on a real server, while another tenant streams.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { watchBystander } from "./bystander.ts";
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
  const { result, ...seen } = await watchBystander(serving, "bystander", attack);
  console.log(JSON.stringify(seen));
  expect(seen.longestGap).toBeLessThan(LIMIT);
  expect(seen.slowestHealth).toBeLessThan(LIMIT);
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
    let ended = 0;
    const attack = Array.from({ length: 6 }, () =>
      run("mallory", endless, leaving.signal)
        .catch(() => undefined)
        .finally(() => ended++),
    );
    await sleep(1000);
    for (let i = 0; i < 2; i++)
      expect((await run("acme", { grader: python("return 1") })).json.reward).toBe(1);
    expect(ended).toBe(0);
    leaving.abort();
    await Promise.all(attack);
  });
});
