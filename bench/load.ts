// A server under load: many connections with good and bad requests, for minutes, and what they met.

import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { randomStream } from "mixture-of-shards-core/common";
import { loadBase } from "mixture-of-shards-core/models";
import { hashKey } from "mixture-of-shards-server";
import { makeAdapters } from "./adapter-folders.ts";
import { fail, readArguments, rounded } from "./arguments.ts";
import { ChildServer, type Memory } from "./load/child-server.ts";
import { send } from "./load/http.ts";
import { quantiles, Tally } from "./load/tally.ts";
import { Busy, draw, KINDS, type Visitor } from "./load/visits.ts";

export interface MemoryLog {
  add(seconds: number, memory: Memory): void;
  last(): Memory | undefined;
  /** Another process is there: what was seen before does not count. */
  restart(): void;
  /** Megabytes after the first fifth of the time and at the end, and the slope between the two. */
  report(): Readonly<Record<string, Readonly<Record<string, number>>>>;
}

type Sample = readonly [seconds: number, memory: Memory];

/** Slope of the straight line with the least squares. */
function slope(points: readonly (readonly [number, number])[]): number {
  const mean = (of: (point: readonly [number, number]) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean((point) => point[0]), mean((point) => point[1])];
  return mean((point) => (point[0] - x) * (point[1] - y)) / mean((point) => (point[0] - x) ** 2);
}

export function createMemoryLog(): MemoryLog {
  let samples: Sample[] = [];
  const of = (name: keyof Memory): Readonly<Record<string, number>> => {
    const start = samples[0]?.[0] ?? 0;
    const end = samples.at(-1)?.[0] ?? 0;
    const warm = samples.filter(([seconds]) => seconds - start >= (end - start) / 5);
    const points = warm.map(([seconds, memory]) => [seconds / 60, memory[name] / 1e6] as const);
    const megabytes = (point: readonly [number, number] | undefined): number =>
      rounded(point?.[1] ?? Number.NaN, 1);
    return {
      warm_mb: megabytes(points[0]),
      end_mb: megabytes(points.at(-1)),
      most_mb: rounded(Math.max(...points.map((point) => point[1])), 1),
      slope_mb_per_minute: rounded(slope(points), 2),
    };
  };
  return {
    add: (seconds, memory) => void samples.push([seconds, memory]),
    last: () => samples.at(-1)?.[1],
    restart: () => {
      samples = [];
    },
    report: () => ({ server: of("server"), engine: of("engine") }),
  };
}

export interface Tenant {
  readonly key: string;
  readonly adapters: readonly string[];
}

const newKey = (): string => `mos-${randomBytes(24).toString("base64url")}`;

/**
 * Deals the adapters out to four tenants and writes their keys; the last one may have four requests at a time.
 *
 * @returns The tenants, and an administrator's key.
 */
export async function makeTenants(
  file: string,
  adapters: readonly string[],
): Promise<{ readonly tenants: readonly Tenant[]; readonly admin: string }> {
  const tenants = [0, 1, 2, 3].map((i) => ({
    key: newKey(),
    adapters: adapters.filter((_, k) => k % 4 === i),
  }));
  const admin = newKey();
  const lines = tenants.map(({ key, adapters: own }, i) => ({
    name: `tenant-${i}`,
    sha256: hashKey(key),
    adapters: own,
    ...(i === 3 ? { max_concurrent: 4 } : {}),
  }));
  const all = [...lines, { name: "operator", sha256: hashKey(admin), admin: true }];
  await writeFile(file, all.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return { tenants, admin };
}

/** A digest of every file of a folder, with its path. */
export async function digestFolder(folder: string): Promise<string> {
  const hash = createHash("sha256");
  for (const entry of (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name))
    .sort())
    hash.update(`${entry}\n`).update(await readFile(entry));
  return hash.digest("hex");
}

const HELP = `usage: bench:load -- --model DIR|FILE.gguf [--adapters 16] [--minutes 10] [--connections 200] [--restart]

Starts mos serve (npm run build) with keys of four tenants, and visits it from so many connections: streams and whole
answers on random adapters, clients that leave, that read slowly or send half a request, and bad requests. Each visit has
the one outcome that is intended; 429 is asked again when retry-after says so. In float32 the same greedy request must
always have the same answer. Any other outcome ends this with 1.

  --base-dtype stored|float32|int8|int4|nf4 (stored)   --max-batch N (16)
  --restart   kill the server in the middle and start it again: clients ask again as OpenAI's does, all must end well,
              and the adapters' folders must be as they were
  --keep      keep the server's log, and say where it is

Printed: one JSON line. first_token_ms and inter_token_ms are as clients see them; memory is of the server's and the
engine's process, after the first fifth of the time and at the end, with its slope between the two.`;

const given = readArguments(HELP, {
  values: ["model", "adapters", "base-dtype", "max-batch", "minutes", "connections"],
  flags: ["restart", "keep"],
});
const model = given.text("model") ?? fail(HELP);
const baseDtype = given.text("base-dtype") ?? "stored";
const connections = given.number("connections", 200);
const adapterCount = given.number("adapters", 16);
if (adapterCount < 4) fail("--adapters: four at least, one for each tenant");
const milliseconds = given.number("minutes", 10) * 60_000;
const restarts = given.flag("restart");

const work = await mkdtemp(join(tmpdir(), "bench-load-"));
const folder = join(work, "adapters");
const keyFile = join(work, "keys.jsonl");
const log = join(work, "server.log");
const tally = new Tally(["stored", "float32", "nf4"].includes(baseDtype));
const server = new ChildServer({
  log,
  options: [
    ...["--model", model, "--adapters", folder, "--api-keys", keyFile, "--base-dtype", baseDtype],
    ...["--max-batch", String(given.number("max-batch", 16))],
    // fewer than connections, so that some requests are refused as busy
    ...["--max-waiting", String(Math.max(2, Math.floor(connections / 5)))],
  ],
});

/** As OpenAI's client waits between tries, in milliseconds. */
const backoff = (attempt: number): number => Math.min(8000, 500 * 2 ** attempt);

/** One visit, again while the server is busy or has been killed under it. */
async function visit(name: string, visitor: Visitor): Promise<void> {
  for (let attempt = 0; ; ) {
    const { generation } = server;
    try {
      await KINDS[name]?.visit(visitor);
      return tally.visited(name);
    } catch (error) {
      const wasKilled = server.isDown || server.generation !== generation;
      if (error instanceof Busy) {
        tally.busy++;
        await sleep(error.seconds * 1000);
      } else if (wasKilled && attempt < 20) {
        tally.retried++;
        await sleep(backoff(attempt++));
      } else return tally.visited(name, error);
    }
  }
}

/** A client with one connection. */
async function connection(i: number, tenants: readonly Tenant[], until: number): Promise<void> {
  const random = randomStream(i, "bench.load");
  // few connections for the tenant that may have few requests at a time
  const own = tenants[i % 20 === 19 ? 3 : i % 3];
  if (own === undefined) return;
  using agent = disposable(new Agent({ keepAlive: true, maxSockets: 1 }));
  const foreign = tenants.filter((tenant) => tenant !== own).flatMap(({ adapters }) => adapters);
  await sleep(random.below(1000));
  while (performance.now() < until) {
    const { address } = server;
    const models = [server.model, ...own.adapters];
    await visit(draw(random), { address, agent: agent.value, key: own.key, models, foreign, random, tally });
  }
}

const disposable = (value: Agent): { readonly value: Agent } & Disposable => ({
  value,
  [Symbol.dispose]: () => value.destroy(),
});

function sayProgress(seconds: number, memory: MemoryLog): void {
  const visits = Object.values(tally.visits).reduce((sum, count) => sum + count, 0);
  const { server: own = Number.NaN, engine = Number.NaN } = memory.last() ?? {};
  console.error(
    `${seconds.toFixed(0)} s: ${visits} visits, ${tally.completionTokens} tokens, ${tally.busy} busy, ` +
      `${tally.failures} not intended, ${(own / 1e6).toFixed(0)} + ${(engine / 1e6).toFixed(0)} MB`,
  );
}

async function observe(memory: MemoryLog, signal: AbortSignal): Promise<void> {
  const start = performance.now();
  while (!signal.aborted) {
    const at = await server.memory();
    if (at !== undefined && !server.isDown) memory.add((performance.now() - start) / 1000, at);
    sayProgress((performance.now() - start) / 1000, memory);
    await sleep(5000, undefined, { signal }).catch(() => undefined);
  }
}

/** Kills the server in the middle, and starts it again. Gives the seconds until it was ready. */
async function restartAt(milliseconds: number, memory: MemoryLog): Promise<number> {
  await sleep(milliseconds);
  console.error("killing the server");
  const start = performance.now();
  await server.kill();
  memory.restart();
  await server.start();
  console.error("the server is ready again");
  return (performance.now() - start) / 1000;
}

/** Requests whose clients left must end: nothing may run without a client. */
async function leftRunning(admin: string): Promise<number> {
  using agent = disposable(new Agent());
  const deadline = performance.now() + 30_000;
  for (;;) {
    const received = await send(server.address, { path: "/metrics", key: admin }, { agent: agent.value });
    let text = "";
    for await (const chunk of received.body) text += chunk;
    const lines = text.split("\n").filter((line) => /^mos_requests_(running|waiting) /.test(line));
    const running = lines.reduce((sum, line) => sum + Number(line.split(" ")[1]), 0);
    if (running === 0 || performance.now() > deadline) return running;
    await sleep(500);
  }
}

/** Lines of the server's log that say that something is wrong with it. */
async function loggedErrors(): Promise<readonly string[]> {
  const lines = (await readFile(log, "utf8")).split("\n").filter((line) => line !== "");
  return lines.filter((line) => !line.startsWith("{") || JSON.parse(line).level >= 50);
}

async function load(): Promise<Readonly<Record<string, unknown>>> {
  // wide enough that they change answers
  const adapters = await makeAdapters(folder, await loadBase(model), { count: adapterCount, scale: 0.2 });
  // sorted, every tenant has some of both kinds
  const { tenants, admin } = await makeTenants(keyFile, adapters.toSorted());
  const digest = await digestFolder(folder);
  await server.start();
  const memory = createMemoryLog();
  const stopped = new AbortController();
  const observed = observe(memory, stopped.signal);
  const start = performance.now();
  const until = start + milliseconds;
  const [restartSeconds] = await Promise.all([
    restarts ? restartAt(milliseconds / 2, memory) : undefined,
    ...Array.from({ length: connections }, (_, i) => connection(i, tenants, until)),
  ]);
  const seconds = (performance.now() - start) / 1000;
  stopped.abort();
  await observed;
  const running = await leftRunning(admin);
  const code = await server.stop();
  const logged = await loggedErrors();
  for (const line of logged.slice(0, 5)) console.error(`the server's log: ${line}`);
  return {
    model,
    baseDtype,
    adapters: adapterCount,
    connections,
    seconds: rounded(seconds, 1),
    visits: tally.visits,
    requests_per_s: rounded(tally.requests / seconds, 1),
    tokens_per_s: rounded(tally.completionTokens / seconds, 1),
    prompt_tokens_per_s: rounded(tally.promptTokens / seconds, 1),
    busy: tally.busy,
    first_token_ms: quantiles(tally.firstTokens),
    inter_token_ms: quantiles(tally.gaps),
    memory: memory.report(),
    ...(restarts ? { retried: tally.retried, restart_s: rounded(restartSeconds ?? Number.NaN, 1) } : {}),
    not_intended: tally.unintended,
    left_running: running,
    logged_errors: logged.length,
    exit_code: code,
    adapters_unharmed: (await digestFolder(folder)) === digest,
  };
}

try {
  const result = await load();
  console.log(JSON.stringify(result));
  const isClean = result["left_running"] === 0 && result["logged_errors"] === 0 && result["exit_code"] === 0;
  process.exitCode = isClean && result["adapters_unharmed"] === true && tally.failures === 0 ? 0 : 1;
} finally {
  await server.stop();
  if (given.flag("keep")) console.error(`the server's log: ${log}`);
  else await rm(work, { recursive: true, force: true });
}
