// Names of adapters: which may be uploaded, and which may be in the folder; clients use both alike.
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAdapter, parseAdapterConfig, saveAdapter } from "mixture-of-shards-core/adapters";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Registry } from "../../core/src/inference/adapters/registry.ts";
import { type Harness, makeServer } from "./harness.ts";

const shapes = { layers: 1, widths: { q_proj: { in: 4, out: 4 } } };
const base = { name: "tiny", fingerprint: "sha256:0" };
const admin = { authorization: "Bearer admin" };
let root: string;
let folder: string;
let server: Harness;
let upload: (name: string) => Promise<number>;

const save = (path: string): Promise<void> => {
  const config = parseAdapterConfig({ method: "lora", rank: 1, targets: ["q_proj"], seed: 1 });
  return saveAdapter(path, createAdapter(config, shapes), { base });
};

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mos-names-"));
  folder = join(root, "adapters");
  await mkdir(folder);
  await save(join(root, "source"));
  const config = JSON.parse(await readFile(join(root, "source/adapter_config.json"), "utf8"));
  const model = (await readFile(join(root, "source/adapter_model.safetensors"))).toString("base64");
  const registry = new Registry({
    source: folder,
    shapes,
    fingerprint: base.fingerprint,
    dtype: "float32",
    limitBytes: 1e6,
  });
  server = await makeServer({
    engine: {
      look: async () => {
        await registry.scan();
        return registry.list().map(({ name }) => name);
      },
    },
    server: {
      adapterFolder: folder,
      keys: { find: async () => ({ name: "admin", isAdmin: true, mayUse: () => true }) },
    },
  });
  upload = async (name) =>
    (await server.send("/v1/adapters", { name, adapter_config: config, adapter_model: model }, admin)).status;
});
afterEach(async () => {
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
  await server.engine.refreshAdapters();
});
afterAll(() => rm(root, { recursive: true }));

const listed = async (): Promise<string[]> => {
  const { json } = await server.send("/v1/adapters", undefined, admin);
  return json.data.map(({ id }: { id: string }) => id);
};
const call = async (model: string) =>
  (await server.send("/v1/completions", { model, prompt: "x" }, admin)).status;
const remove = async (name: string) =>
  (await server.fetch(`/v1/adapters/${encodeURIComponent(name)}`, { method: "DELETE", headers: admin }))
    .status;

test.each([
  "a",
  "0",
  "a-b_c.d",
  "con-1",
  "console",
  "com10",
  "x.safetensors",
  "__proto__".slice(2),
  "A".repeat(128),
])("%j is uploaded, found in the folder, called and removed", async (name) => {
  expect(await upload(name)).toBe(201);
  expect(await listed()).toEqual([name]);
  expect(await call(name)).toBe(200);
  expect(await remove(name)).toBe(200);
  expect([await listed(), await readdir(folder)]).toEqual([[], []]);
});

test.each([
  "",
  ".",
  "..",
  "a.",
  "a..",
  "a:b",
  "a b",
  "a\n",
  "a\0",
  "CON",
  "con.txt",
  "Aux",
  "nul.",
  "COM1",
  "lpt9.safetensors",
  "e\u0301",
  "\u00e9",
  "a\u200b",
  "A".repeat(129),
  "A".repeat(100_000),
])("%j is refused before anything is written", async (name) => {
  expect(await upload(name)).toBe(400);
  expect(await readdir(folder)).toEqual([]);
});

test("a folder with a name that no upload may have is listed, used and removed by that name", async () => {
  const names = ["CON", "a.", "two words", "\u00e9", "e\u0301", "a:b"].sort();
  for (const name of names) await save(join(folder, name));
  for (const hidden of [".hidden", "new\nline"]) await save(join(folder, hidden));
  await mkdir(join(folder, "notes"));
  expect(await upload("plain")).toBe(201);
  expect((await listed()).sort()).toEqual([...names, "plain"].sort());
  for (const name of names) {
    expect(await call(name)).toBe(200);
    expect(await remove(name)).toBe(200);
    expect(existsSync(join(folder, name))).toBe(false);
  }
  for (const other of ["notes", ".hidden", "..", ".", "../source", "unknown"])
    expect(await remove(other)).toBe(404);
  expect((await readdir(folder)).sort()).toEqual([".hidden", "new\nline", "notes", "plain"]);
  expect(existsSync(join(root, "source"))).toBe(true);
});
