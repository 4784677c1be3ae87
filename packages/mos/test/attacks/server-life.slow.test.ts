// The command under pressure, with the real engine: a heap that is full, an engine that is stopped, a slow end.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";

const started: ChildProcess[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

interface Server {
  readonly child: ChildProcess;
  readonly address: string;
  readonly exited: Promise<unknown>;
  readonly said: { log: string };
}

/** Starts `mos serve` on the bundled model. */
async function start(
  options: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Server> {
  const main = ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts", "serve"];
  const common = ["--model", "assets/tiny-english", "--port", "0", "--json", "--threads", "1"];
  const child = spawn(process.execPath, [...main, ...common, ...options], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  started.push(child);
  const said = { log: "" };
  child.stderr?.on("data", (data) => {
    said.log += data;
  });
  const exited = once(child, "exit");
  const [line] = (await once(createInterface(child.stdout!), "line")) as [string];
  return { child, address: JSON.parse(line).address, exited, said };
}

async function findEngine({ child: { pid } }: Server): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return Number(children.split(" ")[0]);
}

const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

const post = (address: string, path: string, body: object): Promise<Response> =>
  fetch(`${address}/v1/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny-english", ...body }),
  });
const fetchStatus = async ({ address }: Server, path: string) => (await fetch(address + path)).status;
const complete = async ({ address }: Server, more: object = {}) => {
  const response = await post(address, "completions", { prompt: "Once", max_tokens: 4, ...more });
  return [response.status, await response.text()] as const;
};

const isLinux = process.platform === "linux";

test("64 requests of 128 answers with 20 alternatives at once do not fill a heap of 512 MB", async () => {
  const server = await start(["--max-batch", "32", "--max-waiting", "1024"], {
    NODE_OPTIONS: "--max-old-space-size=512",
  });
  const messages = [{ role: "user", content: "Tell me a story." }];
  const asked = { n: 128, max_tokens: 200, temperature: 1, logprobs: true, top_logprobs: 20, messages };
  let whole = 0;
  const ask = async (i: number): Promise<void> => {
    const response = await post(server.address, "chat/completions", { ...asked, seed: i });
    const text = await response.text();
    if (response.status === 200) {
      const { choices, usage } = JSON.parse(text);
      expect(choices.map(({ index }: { index: number }) => index)).toEqual(
        Array.from({ length: 128 }, (_, n) => n),
      );
      let tokens = 0;
      for (const { logprobs, message } of choices) {
        tokens += logprobs.content.length;
        // some letters are two tokens, which have no text of their own
        const bytes: number[] = logprobs.content.flatMap((one: { readonly bytes: number[] }) => one.bytes);
        expect(Buffer.from(bytes).toString()).toContain(message.content);
        for (const one of logprobs.content) expect(one.top_logprobs).toHaveLength(20);
      }
      expect(usage.completion_tokens).toBe(tokens);
      whole++;
    } else {
      expect([response.status, JSON.parse(text).error.code]).toEqual([429, "busy"]);
      expect(response.headers.get("retry-after")).toBeTruthy();
    }
  };
  await Promise.all(Array.from({ length: 64 }, (_, i) => ask(i)));
  expect(whole).toBeGreaterThan(0);
  expect(await fetchStatus(server, "/health")).toBe(200);
  expect((await complete(server))[0]).toBe(200);
});

test.runIf(isLinux)(
  "a stopped engine is reported, its requests end, and it goes on when it may",
  async () => {
    const server = await start(["--engine-timeout", "2", "--request-timeout", "6", "--max-batch", "4"]);
    const engine = await findEngine(server);
    const long = { max_tokens: 480, n: 128 };
    const [whole, streamed] = [complete(server, long), complete(server, { ...long, stream: true })];
    await sleep(500);
    process.kill(engine, "SIGSTOP");
    await expect.poll(() => fetchStatus(server, "/health"), { timeout: 8000 }).toBe(503);
    expect(await (await fetch(`${server.address}/ready`)).json()).toMatchObject({ status: "stuck" });
    const refused = await complete(server);
    expect(refused).toEqual([503, expect.stringContaining('"engine_unavailable"')]);
    expect(await whole).toEqual([504, expect.stringContaining('"request_timeout"')]);
    expect((await streamed)[1]).toContain('"code":"request_timeout"');
    expect(await fetchStatus(server, "/health")).toBe(503);
    process.kill(engine, "SIGCONT");
    await expect.poll(() => fetchStatus(server, "/health"), { timeout: 8000 }).toBe(200);
    expect((await complete(server))[0]).toBe(200);
    const metrics = async () => await (await fetch(`${server.address}/metrics`)).text();
    await expect.poll(metrics, { timeout: 8000 }).toContain("mos_requests_running 0");
  },
);

test.runIf(isLinux).each([
  ["noticed", 2, 2],
  ["not noticed", 0, 12],
])("SIGTERM ends a server whose engine is stopped, which is %s", async (_, timeout, seconds) => {
  const server = await start(["--engine-timeout", String(timeout), "--drain-seconds", "2"]);
  const engine = await findEngine(server);
  const running = complete(server, { max_tokens: 480, n: 128 });
  await sleep(500);
  process.kill(engine, "SIGSTOP");
  if (timeout > 0) await expect.poll(() => fetchStatus(server, "/health"), { timeout: 8000 }).toBe(503);
  const asked = performance.now();
  server.child.kill("SIGTERM");
  expect(await running).toEqual([503, expect.stringContaining('"shutting_down"')]);
  expect(await server.exited).toEqual([1, null]);
  // the time to drain and to end, and what a busy machine needs
  expect(performance.now() - asked).toBeLessThan((2 + seconds + 8) * 1000);
  expect(server.said.log).toContain("and was killed");
  expect(isThere(engine)).toBe(false);
});

test("after SIGTERM requests are accepted for the drain's delay, while /ready says 503", async () => {
  const server = await start(["--drain-delay", "4", "--keep-alive", "7"]);
  const before = await fetch(`${server.address}/ready`);
  expect([before.status, before.headers.get("keep-alive")]).toEqual([200, "timeout=7, max=10000"]);
  const asked = performance.now();
  server.child.kill("SIGTERM");
  await expect.poll(() => fetchStatus(server, "/ready")).toBe(503);
  expect(await (await fetch(`${server.address}/ready`)).json()).toMatchObject({ status: "draining" });
  expect(await fetchStatus(server, "/health")).toBe(200);
  expect((await complete(server))[0]).toBe(200);
  expect(await server.exited).toEqual([0, null]);
  expect(performance.now() - asked).toBeGreaterThan(3900);
  await expect(fetch(`${server.address}/ready`)).rejects.toThrow();
});
