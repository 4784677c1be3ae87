// Grammars of one tenant that take long to compile or to match, while another one uses the same server.
import { readdir, readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { threadMilliseconds, watchBystander } from "./bystander.ts";
import { type Serving, startServing } from "./serving.ts";

/** Milliseconds of CPU. */
const LONGEST = 250;
/** Tokens. */
const WINDOW = 20;

let serving: Serving;
beforeAll(async () => {
  serving = await startServing(["acme", "zeta"], { more: ["--public-metrics"] });
});
afterAll(() => serving[Symbol.asyncDispose]());

/** Sends a completion whose form is given. */
async function complete(
  tenant: string,
  structured_outputs: object,
  {
    signal = null,
    ...more
  }: { readonly signal?: AbortSignal | null; readonly [field: string]: unknown } = {},
): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(`${serving.address}/v1/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${serving.keyFor(tenant)}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny", prompt: "A", max_tokens: 4, structured_outputs, ...more }),
    signal,
  });
  return { status: response.status, text: await response.text() };
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${serving.address}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

const small = { json: { type: "object", properties: { a: { type: "integer" } }, required: ["a"] } };

/** Takes longer to compile than it may. */
const slow = (name: string): object => ({
  json: { allOf: Array.from({ length: 32 }, (_, i) => ({ type: "string", pattern: `${name}.{${i}}b` })) },
});

test("280 slow patterns of a tenant: the schema of another one does not wait for them", async () => {
  const stop = new AbortController();
  const seen = await watchBystander(serving, "zeta", async () => {
    const many: Promise<number | "aborted">[] = [];
    for (let i = 0; i < 280; i++) {
      const answer = complete("acme", slow(`a${i}`), { signal: stop.signal });
      many.push(
        answer.then(
          ({ status }) => status,
          () => "aborted",
        ),
      );
      // any request takes a millisecond or two of the server's thread, which adds up where many come at once
      await fetch(`${serving.address}/health`);
    }
    const before = await metric("mos_grammar_compiles_total");
    const answer = await complete("zeta", small);
    const after = await metric("mos_grammar_compiles_total");
    stop.abort();
    return { answer, compiles: after - before, statuses: await Promise.all(many) };
  });
  const { answer, compiles, statuses } = seen.result;
  expect(answer).toMatchObject({ status: 200 });
  // its own, one of the other tenant before it, and those that began while the counts were asked for
  expect(compiles).toBeLessThanOrEqual(2 + 2);
  expect(statuses.filter((one) => one === 429).length).toBeGreaterThan(100);
  expect(seen.longestGap).toBeLessThan(LONGEST);
  expect(seen.slowestHealth).toBeLessThan(LONGEST);
});

/** Texts can be read in more ways the longer they are. */
const ambiguous = {
  grammar: `start: x\nx: ${Array.from({ length: 30 }, (_, i) => "x ".repeat(i + 2)).join(" | ")} | "a"`,
};

test("ambiguous grammars of a tenant take their own streams' time", async () => {
  const stop = new AbortController();
  const engine = await engineProcess();
  const seen = await watchBystander(serving, "zeta", async () => {
    const many = Array.from({ length: 8 }, (_, i) =>
      complete("acme", ambiguous, { signal: stop.signal, max_tokens: 200, min_tokens: 200, seed: i }).catch(
        () => undefined,
      ),
    );
    const times: number[] = [];
    for (let i = 0; i < 8; i++) times.push(...(await cpuOfTokens("zeta", engine, 100)));
    stop.abort();
    await Promise.all(many);
    return times;
  });
  // tokens may be read several at once, so that only many of them tell the time of one
  const means = seen.result.slice(WINDOW).map((time, i) => (time - (seen.result[i] ?? 0)) / WINDOW);
  // of a step, 16 ms are for grammars; the model takes a few
  expect(Math.max(...means)).toBeLessThan(40);
  expect(seen.longestGap).toBeLessThan(LONGEST);
  expect(seen.slowestHealth).toBeLessThan(LONGEST);
});

/** CPU time of the engine's thread at each token of a stream, in milliseconds. */
async function cpuOfTokens(tenant: string, pid: number, count: number): Promise<readonly number[]> {
  const answer = await serving.client(tenant).completions.create({
    model: "tiny",
    prompt: "We are",
    max_tokens: count,
    stream: true,
    ...{ ignore_eos: true },
  });
  const times: number[] = [];
  for await (const _ of answer) times.push(await threadMilliseconds(pid));
  return times;
}

/** The server's child that computes. */
async function engineProcess(): Promise<number> {
  for (const pid of await readdir("/proc")) {
    const [status, command] = await Promise.all(
      ["status", "cmdline"].map((file) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "")),
    );
    if (status?.includes(`\nPPid:\t${serving.process.pid}\n`) && command?.includes("engine-worker"))
      return Number(pid);
  }
  throw new Error("the server has no engine");
}
