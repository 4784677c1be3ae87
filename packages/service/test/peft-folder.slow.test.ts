// Published models as LoRAs of PEFT, in a folder that other servers read.
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createAdapter,
  parseAdapterConfig,
  readModelConfig,
  saveAdapter,
  toLayerShapes,
} from "mixture-of-shards";
import { plainName } from "mixture-of-shards-core/convert";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Files, type ObjectStore, openObjects } from "#objects";
import { openPeftFolder } from "../src/publish.ts";

const MODEL = "assets/tiny-english";

let folder: string;
let objects: ObjectStore;
let out: string;
const published = new Map<string, Files>();
const warnings: object[] = [];
let stopping: AbortController;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-peft-folder-"));
  objects = await openObjects(join(folder, "storage"));
  out = join(folder, "peft");
  published.clear();
  warnings.length = 0;
  stopping = new AbortController();
});
afterEach(async () => {
  stopping.abort();
  await rm(folder, { recursive: true });
});

const open = () =>
  openPeftFolder({
    folder: out,
    servers: [],
    baseName: "org/tiny",
    model: MODEL,
    modelName: "tiny",
    objects,
    signal: stopping.signal,
    models: { published: async () => published, files: async (name) => published.get(name) },
    log: { warn: (fields) => void warnings.push(fields) },
  });

const listModels = async () => (await readdir(out)).filter((name) => name !== "manifest.json").sort();

async function adapterFiles(): Promise<Files> {
  const config = parseAdapterConfig({ method: "mos", rank: 6, equivalentRank: 2, privateRank: 1 }, "mos");
  const shapes = toLayerShapes(await readModelConfig(MODEL));
  const path = join(folder, "adapter");
  // as if it were trained on other numbers: that is not checked again
  const base = { name: MODEL, fingerprint: "f".repeat(64), identity: undefined };
  await saveAdapter(path, createAdapter(config, shapes), { base });
  return objects.putFolder(path);
}

test("finished models of the base are there under their names, as long as they are published", async () => {
  const files = await adapterFiles();
  const name = "ft:tiny:acme:support:12345678";
  for (const other of [`${name}:ckpt-step-3`, "ft:other:acme:support:12345678"]) published.set(other, files);
  published.set(name, files);
  const peft = await open();
  await peft.sync();
  expect(await listModels()).toEqual([plainName(name)]);
  expect((await readdir(join(out, plainName(name)))).sort()).toEqual([
    "adapter_config.json",
    "adapter_model.safetensors",
  ]);
  expect(JSON.parse(await readFile(join(out, plainName(name), "adapter_config.json"), "utf8"))).toMatchObject(
    {
      peft_type: "LORA",
      base_model_name_or_path: "org/tiny",
      r: 6,
    },
  );
  const manifest = async () => JSON.parse(await readFile(join(out, "manifest.json"), "utf8"));
  expect(await manifest()).toEqual([
    {
      name: "ft--tiny--acme--support--12345678",
      uri: `file://${join(out, plainName(name))}`,
      digest: expect.stringMatching(/^sha256:/),
      rank: 6,
      base: "org/tiny",
      revision: null,
    },
  ]);
  await peft.remove(name);
  expect(await listModels()).toEqual([]);
  await peft.sync();
  expect(await listModels()).toEqual([plainName(name)]);
  published.clear();
  await peft.sync();
  expect(await listModels()).toEqual([]);
  expect(await manifest()).toEqual([]);
  expect(warnings).toEqual([]);
});

test("a model that cannot be written keeps no other one back, and is tried again more and more rarely", async () => {
  const files = await adapterFiles();
  const broken = join(folder, "broken");
  await objects.restore(files, broken);
  await writeFile(join(broken, "adapter_model.safetensors"), "nothing");
  const [bad, good] = ["ft:tiny:acme::aaaaaaaa", "ft:tiny:acme::bbbbbbbb"];
  published.set(bad, await objects.putFolder(broken));
  published.set(good, files);
  const peft = await open();
  for (let i = 1; i <= 4; i++) await peft.sync();
  expect(await listModels()).toEqual([plainName(good)]);
  // at the 1st, 2nd and 4th
  expect(warnings).toMatchObject([{ model: bad }, { model: bad }, { model: bad }]);
  published.set(bad, files);
  for (let i = 5; i <= 8; i++) await peft.sync();
  expect(await listModels()).toEqual([bad, good].map(plainName));
});

// the process is found in /proc
test.runIf(process.platform === "linux")(
  "a process that dies costs one conversion, and a server that ends does not wait for one",
  async () => {
    const files = await adapterFiles();
    const names = ["ft:tiny:acme::aaaaaaaa", "ft:tiny:acme::bbbbbbbb"];
    for (const name of names) published.set(name, files);
    const peft = await open();
    const before = await listConverters(process.pid); // of the tests before, which may take a moment to end
    const syncing = peft.sync();
    const child = await waitForConverter(process.pid, before);
    process.kill(child, "SIGKILL");
    await syncing;
    expect(await listModels()).toEqual([plainName(names[1] ?? "")]);
    expect(warnings).toMatchObject([{ model: names[0], reason: expect.stringContaining("SIGKILL") }]);
    await peft.sync();
    expect(await listModels()).toEqual(names.map(plainName));
    published.set("ft:tiny:acme::cccccccc", files);
    const last = peft.sync();
    await waitForConverter(process.pid, [...before, child]);
    stopping.abort();
    await last;
    expect(await listModels()).toEqual(names.map(plainName));
    expect(warnings).toHaveLength(1);
  },
);

/** The processes that convert. */
async function listConverters(parent: number): Promise<readonly number[]> {
  const children = (await readFile(`/proc/${parent}/task/${parent}/children`, "utf8")).trim().split(" ");
  const commands = await Promise.all(
    children.map((child) => readFile(`/proc/${child}/cmdline`, "utf8").catch(() => "")),
  );
  return children.filter((_, i) => commands[i]?.includes("task-process")).map(Number);
}

/** A new one, as soon as there is one. */
async function waitForConverter(parent: number, known: readonly number[]): Promise<number> {
  for (;;) {
    const found = (await listConverters(parent)).find((child) => !known.includes(child));
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
