// The command itself, with the real engine on the bundled model.
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serveCommand } from "./harness.ts";

const MODEL = "assets/tiny-english";
let folder: string;
let child: ChildProcess;
let address: string;
let said: { readonly log: string };

const startCommand = (...more: readonly string[]) =>
  serveCommand(["--model", MODEL, "--adapters", folder, "--max-batch", "4", ...more]);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-serve-"));
  const started = await startCommand();
  child = started.child;
  said = started.said;
  const { ready } = started;
  expect(ready).toMatchObject({ type: "ready", model: "tiny-english", adapters: 0 });
  address = ready.address;
});
afterAll(async () => {
  child.kill("SIGKILL");
  await rm(folder, { recursive: true });
});

const post = (server: string, body: object): Promise<Response> =>
  fetch(`${server}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny-english", ...body }),
  });
const complete = async (body: object) => {
  const response = await post(address, { temperature: 0, ...body });
  // biome-ignore lint/suspicious/noExplicitAny: tests read answers of any shape
  return { status: response.status, json: (await response.json()) as any };
};

test("a prompt has the same scores as text or ids, alone or in a batch", async () => {
  const scoring = { max_tokens: 1, logprobs: 1, echo: true };
  const { json } = await complete({ prompt: "The opposite of up is down.", ...scoring });
  const { tokens, token_logprobs, top_logprobs } = json.choices[0].logprobs;
  expect(tokens.join("")).toBe(json.choices[0].text);
  expect(token_logprobs[0]).toBeNull();
  for (const [i, top] of top_logprobs.entries()) if (i > 0) expect(top[tokens[i]]).toBe(token_logprobs[i]);
  const both = await complete({ prompt: ["The opposite of up is down.", "One"], ...scoring });
  expect(both.json.choices[0].logprobs.tokens).toEqual(tokens);
  const pairs = both.json.choices[0].logprobs.token_logprobs
    .slice(1)
    .map((x: number, i: number) => [x, token_logprobs[i + 1]]);
  for (const [one, other] of pairs) expect(one).toBeCloseTo(other, 3);
});

test("offsets are the same where text is held back as the possible start of a stop string", async () => {
  const request = { prompt: "The opposite of up is", max_tokens: 12, logprobs: 0, echo: true };
  const { json } = await complete(request);
  const [{ text, logprobs }] = json.choices;
  const answer = text.slice(request.prompt.length);
  const { json: held } = await complete({ ...request, stop: `${answer.slice(1, -1)}#` });
  expect(held.choices[0].text).toBe(text);
  expect(held.choices[0].logprobs).toEqual(logprobs);
  const { tokens, text_offset } = logprobs;
  const offsets = tokens.map((_: string, i: number) => tokens.slice(0, i).join("").length);
  expect(text_offset).toEqual(offsets);
});

test("the same seed gives the same answer", async () => {
  const request = { prompt: "Once", max_tokens: 12, temperature: 1, seed: 5 };
  const [first, second] = await Promise.all([complete(request), complete(request)]);
  expect(first.json.choices).toEqual(second.json.choices);
  expect(first.json.usage).toMatchObject({ completion_tokens: 12 });
});

test("SIGTERM ends the server with status 0, and every request is logged", async () => {
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  expect(await exited).toEqual([0, null]);
  const lines = said.log.split("\n").filter((line) => line.startsWith("{"));
  const requests = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "request");
  expect(requests.length).toBeGreaterThanOrEqual(4);
  expect(requests[0]).toMatchObject({ status: 200, model: "tiny-english", path: "/v1/completions" });
  expect(said.log).not.toContain("opposite");
});

test.runIf(process.platform === "linux")(
  "when its engine dies, the server answers its clients, then ends with status 1 and the reason",
  async () => {
    const { child: server, said: words, ready } = await startCommand();
    try {
      const exited = once(server, "close");
      const response = await fetch(`${ready.address}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "tiny-english", prompt: "Once", max_tokens: 200, n: 16, stream: true }),
      });
      const [engine] = (await readFile(`/proc/${server.pid}/task/${server.pid}/children`, "utf8")).split(" ");
      process.kill(Number(engine), "SIGKILL");
      expect(await response.text()).toContain('"code":"engine_unavailable"');
      expect(await exited).toEqual([1, null]);
      const lines = words.log.trimEnd().split("\n");
      const error = { code: "device", message: expect.stringContaining("ended with SIGKILL") };
      expect(lines.map((line) => JSON.parse(line))).toContainEqual({ error });
    } finally {
      server.kill("SIGKILL");
    }
  },
);

test("a stream that does not fit is refused before it starts, also while the engine is busy", async () => {
  const { child: server, ready } = await startCommand("--max-waiting", "1");
  const begin = (n: number, max_tokens = 20): Promise<Response> =>
    post(ready.address, { prompt: "Once", max_tokens, n, stream: true });
  const whole = async (response: Response) => [response.status, (await response.text()).includes("[DONE]")];
  const stream = async (n: number) => whole(await begin(n));
  try {
    const long = await begin(2, 400); // it has its slots before the others arrive
    for (let i = 0; i < 5; i++) {
      expect(await stream(16)).toEqual([429, false]);
      expect(await stream(1)).toEqual([200, true]);
    }
    expect(await whole(long)).toEqual([200, true]);
  } finally {
    server.kill("SIGKILL");
  }
});

test.each([
  ["--cache-memory", /more than the 1000 bytes for keys and values .* --cache-memory of mos serve/],
  ["--slot-memory", /a slot for an adapter of rank 1 does not fit .* --slot-memory of mos serve/],
])("%s limits a request, and the error names it", async (option, message) => {
  const { child: server, ready } = await startCommand(option, "1kB");
  try {
    const response = await post(ready.address, { prompt: "Once", max_tokens: 4 });
    expect(response.status).toBe(400);
    expect(await response.text()).toMatch(message);
  } finally {
    server.kill("SIGKILL");
  }
});
