// Two servers on one folder of adapters, which several clients change through both at once.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { saveAdapter } from "mixture-of-shards-core/adapters";
import { randomStream } from "mixture-of-shards-core/common";
import { loadBase, toLayerShapes } from "mixture-of-shards-core/models";
import { hashKey } from "mixture-of-shards-server";
import { afterAll, beforeAll, expect, test } from "vitest";
import { randomAdapter } from "../../../core/test/random-adapter.ts";

const SOURCE = ["--conditions=source", "--import", "tsx"];
const MODEL = "assets/tiny-english";
const NAMES = ["a", "b", "c", "d"];
const CHANGES = 500;
const CLIENTS = 8;
/** Milliseconds between scans, and what a scan may take here. */
const WATCH = 5000 + 3000;

interface Upload {
  readonly config: object;
  readonly tensors: string;
}
/** What became of one request. */
interface Done {
  readonly kind: "upload" | "delete" | "read";
  readonly server: number;
  readonly name: string;
  readonly status: number;
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

let folder: string;
let adapters: string;
const uploads: Upload[] = [];
const servers: { readonly child: ChildProcess; readonly address: string }[] = [];
const headers = { authorization: "Bearer operator", "content-type": "application/json" };

async function start(): Promise<(typeof servers)[number]> {
  const main = [...SOURCE, "packages/mos/src/cli/main.ts", "serve", "--model", MODEL];
  const options = ["--adapters", adapters, "--port", "0", "--json", "--api-keys", join(folder, "keys.jsonl")];
  const child = spawn(process.execPath, [...main, ...options, "--threads", "1"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [line] = (await once(createInterface(child.stdout!), "line")) as [string];
  return { child, address: JSON.parse(line).address };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-shared-"));
  adapters = join(folder, "adapters");
  await mkdir(adapters);
  const key = { name: "operator", sha256: hashKey("operator"), admin: true };
  await writeFile(join(folder, "keys.jsonl"), `${JSON.stringify(key)}\n`);
  const { config, fingerprint } = await loadBase(MODEL);
  for (const seed of [1, 2, 3]) {
    const into = join(folder, `made-${seed}`);
    const adapter = randomAdapter({ method: "lora", rank: 2 }, toLayerShapes(config), { seed });
    await saveAdapter(into, adapter, { base: { name: "tiny-english", fingerprint } });
    uploads.push({
      config: JSON.parse(await readFile(join(into, "adapter_config.json"), "utf8")),
      tensors: await readFile(join(into, "adapter_model.safetensors"), "base64"),
    });
  }
  servers.push(await start(), await start());
});
afterAll(async () => {
  for (const { child } of servers) child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

async function ask(
  server: number,
  path: string,
  { method = "GET", body }: { method?: string; body?: object } = {},
) {
  const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  const response = await fetch(`${servers[server]!.address}${path}`, init);
  return { status: response.status, text: await response.text() };
}

const requests: Readonly<
  Record<Done["kind"], (server: number, name: string, number: number) => ReturnType<typeof ask>>
> = {
  upload: (server, name, number) => {
    const { config, tensors } = uploads[number % uploads.length]!;
    const body = { name, adapter_config: config, adapter_model: tensors };
    return ask(server, "/v1/adapters", { method: "POST", body });
  },
  delete: (server, name) => ask(server, `/v1/adapters/${name}`, { method: "DELETE" }),
  read: (server, name, number) => {
    const body = { model: name, messages: [{ role: "user", content: "Hello" }], max_tokens: 1 };
    if (number % 2 === 0) return ask(server, `/v1/models/${name}`);
    return ask(server, "/v1/chat/completions", { method: "POST", body });
  },
};

async function attack(all: Done[], changes: number, seed: number): Promise<void> {
  const random = randomStream(seed, "attack");
  const draw = (n: number): number => random.below(n);
  let [left, writing] = [changes, CLIENTS];
  const run = async (kind: Done["kind"], server: number, name: string): Promise<void> => {
    const start = performance.now();
    const answer = await requests[kind](server, name, draw(6));
    all.push({ kind, server, name, ...answer, start, end: performance.now() });
  };
  const writer = async (): Promise<void> => {
    try {
      while (left-- > 0) {
        const [kind, server, name] = [draw(3) === 0 ? "delete" : "upload", draw(2), NAMES[draw(4)]!] as const;
        await run(kind, server, name);
        if (kind === "upload") await run("read", server, name);
      }
    } finally {
      writing--;
    }
  };
  const reader = async (): Promise<void> => {
    while (writing > 0) {
      await run("read", draw(2), NAMES[draw(4)]!);
      await ask(draw(2), "/v1/models").then(({ status }) => expect(status).toBe(200));
    }
  };
  const clients = [...Array.from({ length: CLIENTS }, writer), reader(), reader()];
  for (const ended of await Promise.allSettled(clients)) if (ended.status === "rejected") throw ended.reason;
}

/** The changes that no other one of the same name undid between their start and `end`. */
const lasting = (all: readonly Done[], kind: Done["kind"], { name, end }: Done): readonly Done[] => {
  const changes = all.filter((done) => done.name === name && done.kind !== "read" && done.status < 300);
  const against = changes.filter((done) => done.kind !== kind);
  return changes.filter(
    (one) => one.kind === kind && !against.some((other) => other.end > one.start && other.start < end),
  );
};

/** Whether the adapter was there, or was not, all the time of a request; reads may see what was up to a scan ago. */
function isUntrue(all: readonly Done[], done: Done): boolean {
  const { kind, server, start, status } = done;
  if (kind === "upload") return status !== 201;
  const isOld = (one: Done): boolean =>
    one.end < start - (kind === "delete" || one.server === server ? 0 : WATCH);
  if (status === 404) return lasting(all, "upload", done).some(isOld);
  return status !== 200 || lasting(all, "delete", done).some(isOld);
}

/** What a server lists, with digests. */
async function listAdapters(server: number): Promise<readonly string[]> {
  const { data } = JSON.parse((await ask(server, "/v1/adapters")).text);
  return data.map(({ id, digest }: { id: string; digest: string }) => `${id} ${digest}`).sort();
}

/** Runs as the first process of a container does: its id is 1. */
const asFirst = (script: string) =>
  spawnSync(
    "unshare",
    ["--pid", "--fork", process.execPath, ...SOURCE, "--input-type=module", "-e", script],
    { encoding: "utf8" },
  );
const canUnshare = asFirst("process.stdout.write(String(process.pid))").stdout === "1";

async function expectAgreement(): Promise<void> {
  const there = (await readdir(adapters)).sort();
  expect(there.filter((name) => !NAMES.includes(name))).toEqual([]);
  const names = async (server: number) => (await listAdapters(server)).map((line) => line.split(" ")[0]);
  for (const server of [0, 1]) await expect.poll(() => names(server), { timeout: WATCH }).toEqual(there);
  await expect.poll(() => listAdapters(0), { timeout: WATCH }).toEqual(await listAdapters(1));
  for (const name of there)
    for (const server of [0, 1]) expect((await requests.read(server, name, 1)).status).toBe(200);
}

test("changes through both are all made, answers are true, and nothing is left", async () => {
  const all: Done[] = [];
  await attack(all, CHANGES, 1);
  const changed = all.filter(({ kind, status }) => kind !== "read" && status < 300);
  expect(changed.length).toBeGreaterThan(CHANGES / 2);
  const shown = ({ text, ...done }: Done) => ({ ...done, text: text.slice(0, 300) });
  expect(all.filter((done) => isUntrue(all, done)).map(shown)).toEqual([]);
  await expectAgreement();
});

/**
 * Seconds in which the lock that a killed server may have left is taken over. One without content was left between its
 * creation and its first byte: nobody knows whose it is, so it is watched until its holder counts as gone.
 */
async function secondsOfLock(): Promise<number> {
  const locks = (await readdir(adapters)).filter((name) => name.startsWith(".changing.json"));
  const contents = await Promise.all(
    locks.map((name) => readFile(join(adapters, name), "utf8").catch(() => "gone")),
  );
  return contents.includes("") ? 45 : 10;
}

test("a server that is killed in the middle of changes holds up the other only for a moment", async () => {
  for (let round = 0; round < 5; round++) {
    const all: Done[] = [];
    const killed = servers[0]!;
    const attacked = attack(all, 1000, 2 + round).catch(() => undefined); // its connections break
    await expect.poll(() => all.length, { timeout: 30_000 }).toBeGreaterThan(20 + round);
    killed.child.kill("SIGKILL");
    await once(killed.child, "exit");
    const seconds = await secondsOfLock();
    await attacked;
    const began = performance.now();
    expect((await requests.upload(1, "a", round)).status).toBe(201);
    expect(performance.now() - began).toBeLessThan(1000 * seconds);
    servers[0] = await start();
  }
  await expectAgreement();
});

test.skipIf(!canUnshare)(
  "what a process with the id 1 left is done away with (where containers can be made)",
  async () => {
    const { stdout } = asFirst(`
      import { lockChanges, openAtomicFolder } from "#files";
      const folder = ${JSON.stringify(adapters)};
      await openAtomicFolder(folder + "/late");
      await lockChanges(folder);
      process.stdout.write(String(process.pid));
      process.kill(process.pid, "SIGKILL"); // no signal reaches the first process from inside
      process.exit();
    `);
    expect(stdout).toBe("1");
    const hidden = async () => (await readdir(adapters)).filter((name) => name.startsWith("."));
    expect(await hidden()).toHaveLength(2);
    expect((await requests.upload(0, "a", 1)).status).toBe(201); // waits until the lock is known to be left
    await expect.poll(hidden, { timeout: 60_000 }).toEqual([]);
  },
);
