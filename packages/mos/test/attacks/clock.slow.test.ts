// The machine's clock is put back by an hour while a server runs.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { saveAdapter } from "mixture-of-shards-core/adapters";
import { loadBase, toLayerShapes } from "mixture-of-shards-core/models";
import { hashKey } from "mixture-of-shards-server";
import { afterAll, beforeAll, expect, test } from "vitest";
import { randomAdapter } from "../../../core/test/random-adapter.ts";

const MODEL = "assets/tiny-english";
let folder: string;
let child: ChildProcess;
let address: string;
const at = (name: string) => join(folder, name);
const keyLine = (name: string, more: object = {}) =>
  `${JSON.stringify({ name, sha256: hashKey(name), ...more })}\n`;
const ask = (key: string, path = "/v1/models") =>
  fetch(`${address}${path}`, { headers: { authorization: `Bearer ${key}` } });
const fetchStatus = async (key: string) => (await ask(key)).status;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-clock-"));
  await mkdir(at("adapters"));
  await writeFile(at("keys.jsonl"), keyLine("old") + keyLine("limited", { requests_per_minute: 2 }));
  // in each of its processes, as soon as there is a file of this name
  await writeFile(
    at("clock.mjs"),
    `import { existsSync } from "node:fs";
    const now = Date.now;
    Date.now = () => now() - (existsSync(${JSON.stringify(at("is-back"))}) ? 3_600_000 : 0);`,
  );
  const main = [
    "--conditions=source",
    "--import",
    "tsx",
    "packages/mos/src/cli/main.ts",
    "serve",
    "--model",
    MODEL,
  ];
  const options = ["--adapters", at("adapters"), "--api-keys", at("keys.jsonl"), "--port", "0", "--json"];
  child = spawn(process.execPath, [...main, ...options, "--threads", "1"], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, NODE_OPTIONS: `--import ${pathToFileURL(at("clock.mjs"))}` },
  });
  const [line] = (await once(createInterface(child.stdout!), "line")) as [string];
  address = JSON.parse(line).address;
});
afterAll(async () => {
  child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

test("keys are revoked and added, limits end, and adapters appear as before", async () => {
  const limited = [await fetchStatus("limited"), await fetchStatus("limited"), await fetchStatus("limited")];
  expect([await fetchStatus("old"), ...limited]).toEqual([200, 200, 200, 429]);
  await writeFile(at("is-back"), "");
  await appendFile(at("keys.jsonl"), keyLine("old", { revoked: true }) + keyLine("new"));
  await expect.poll(() => fetchStatus("old"), { timeout: 10_000 }).toBe(401);
  expect(await fetchStatus("new")).toBe(200);

  const { config, fingerprint } = await loadBase(MODEL);
  const adapter = randomAdapter({ method: "lora", rank: 2 }, toLayerShapes(config), { seed: 1 });
  await saveAdapter(at("acme"), adapter, { base: { name: "tiny-english", fingerprint } });
  await rename(at("acme"), join(at("adapters"), "acme"));
  const isShown = async () => (await ask("new", "/v1/models/acme")).status;
  await expect.poll(isShown, { timeout: 20_000 }).toBe(200);
  await expect.poll(() => fetchStatus("limited"), { timeout: 90_000, interval: 5000 }).toBe(200);
});
