// The layers of an adapter over HTTP, and its download in other formats.
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Adapter,
  createAdapter,
  inspectAdapter,
  loadAdapter,
  parseAdapterConfig,
  saveAdapter,
} from "mixture-of-shards-core/adapters";
import { openGguf } from "mixture-of-shards-core/files";
import { readModelConfig, toLayerShapes } from "mixture-of-shards-core/models";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KeyRing } from "../src/index.ts";
import { type Harness, makeServer } from "./harness.ts";

const MODEL = "assets/tiny-english";
const base = { name: "tiny", fingerprint: "sha256:0" };
const mos = { method: "mos", rank: 4, equivalentRank: 2, shardsPerVector: 2, privateRank: 1 } as const;

/** A B that is not zero, as after training. */
function trained(adapter: Adapter): Adapter {
  for (const { data } of adapter.tensors.values())
    if (data instanceof Float32Array && data.every((value) => value === 0))
      data.forEach((_, i) => {
        data[i] = Math.sin(i) / 100;
      });
  return adapter;
}

const keys: KeyRing = {
  find: async (token) => ({
    name: token,
    isAdmin: token === "root",
    mayUse: (name) => token !== "stranger" || name !== "acme",
  }),
};

let folder: string;
let server: Harness;
let saved: Adapter;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-content-"));
  const shapes = toLayerShapes(await readModelConfig(MODEL));
  const save = async (name: string, config: Parameters<typeof parseAdapterConfig>[0]): Promise<Adapter> => {
    const adapter = trained(createAdapter(parseAdapterConfig(config), shapes));
    await saveAdapter(join(folder, name), adapter, { base });
    return adapter;
  };
  saved = await save("acme", { ...mos, targets: ["q_proj", "down_proj"], seed: 3 });
  await save("plain", { method: "lora", rank: 2, targets: ["q_proj"] });
  server = await makeServer({
    engine: { adapters: ["acme", "plain", "gone"] },
    server: { adapterFolder: folder, modelPath: MODEL, keys },
  });
});
afterAll(() => rm(folder, { recursive: true }));

const get = (path: string, key = "root") =>
  server.send(`/v1/adapters/${path}`, undefined, { authorization: `Bearer ${key}` });
const download = async (path: string): Promise<Response> =>
  server.fetch(`/v1/adapters/${path}`, { headers: { authorization: "Bearer root" } });

test("the picture of MoS: the shards of every layer, as the adapter's tables have them, and norms", async () => {
  const { status, json } = await get("acme/layers", "user");
  expect(status).toBe(200);
  const { layers } = saved.shapes;
  expect(json).toMatchObject({
    ...{ object: "adapter.layers", id: "acme", digest: "sha256:acme", method: "mos", layers, is_cut: false },
    ...{ rank: 4, equivalent_rank: 2, private_rank: 1, shards_per_vector: 2 },
    targets: ["q_proj", "down_proj"],
  });
  const all = Array.from({ length: layers }, (_, layer) => layer);
  const pool = { unit: "shard", shared: layers * 2, private: layers * 2, layers: all };
  expect(json.pools).toEqual(
    (["q_proj", "down_proj"] as const).flatMap((target) =>
      ["A", "B"].map((side) => ({ target, side, ...pool, ...saved.shapes.widths[target] })),
    ),
  );
  expect(json.modules).toHaveLength(2 * layers);
  const { modules } = await inspectAdapter(join(folder, "acme"), { model: await readModelConfig(MODEL) });
  for (const [i, { target, layer, rows_a, rows_b, ...norms }] of json.modules.entries()) {
    const rows = (side: string) =>
      [...saved.tensors.get(`${target}.I_${side}`)!.data].slice(layer * 8, layer * 8 + 8);
    expect([rows_a, rows_b]).toEqual([rows("a"), rows("b")]);
    // private ranks come last
    expect(rows_a.slice(6)).toEqual([0, 1].map((n) => pool.shared + layer * 2 + n));
    expect(norms).toEqual({
      norm_a: modules[i]!.a,
      norm_b: modules[i]!.b,
      norm_update: modules[i]!.update,
      stable_rank: modules[i]!.stableRank,
    });
    expect(norms.norm_update).toBeGreaterThan(0);
  }
});

test("other methods have norms only", async () => {
  const { json } = await get("plain/layers");
  expect(json).toMatchObject({
    method: "lora",
    rank: 2,
    equivalent_rank: null,
    shards_per_vector: null,
    pools: [],
  });
  expect(json.modules[0]).toMatchObject({ layer: 0, target: "q_proj", rows_a: null, rows_b: null });
});

test("each format lists its files, and gives them", async () => {
  const before = (await readdir(tmpdir())).filter((name) => name.startsWith("mos-export-"));
  expect((await get("acme/export?format=peft")).json).toEqual({
    object: "adapter.export",
    id: "acme",
    digest: "sha256:acme",
    format: "peft",
    files: [{ name: "adapter_config.json" }, { name: "adapter_model.safetensors" }],
  });
  const fetchAll = async (format: string, to: string): Promise<void> => {
    for (const { name } of (await get(`acme/export?format=${format}`)).json.files) {
      const response = await download(`acme/export?format=${format}&file=${name}`);
      expect(response.headers.get("content-disposition")).toBe(`attachment; filename="${name}"`);
      expect(response.headers.get("etag")).toMatch(/^"sha256:[0-9a-f]{64}"$/);
      const bytes = new Uint8Array(await response.arrayBuffer());
      expect(response.headers.get("content-length")).toBe(String(bytes.length));
      await writeFile(join(to, name), bytes);
    }
  };
  const options = { shapes: saved.shapes, fingerprint: undefined };
  const made = (name: string): Promise<string> => mkdtemp(join(folder, `.${name}-`));
  const [own, peft, gguf] = [await made("mos"), await made("peft"), await made("gguf")];
  await fetchAll("mos", own);
  expect((await loadAdapter(own, options)).tensors).toEqual(saved.tensors);
  await fetchAll("peft", peft);
  expect((await loadAdapter(peft, options)).config).toMatchObject({ method: "lora", rank: 4 });
  await fetchAll("gguf", gguf);
  await using file = await openGguf(join(gguf, "adapter.gguf"));
  expect(file.metadata["adapter.type"]).toBe("lora");
  await expect
    .poll(async () => (await readdir(tmpdir())).filter((name) => name.startsWith("mos-export-")))
    .toEqual(before);
}, 60_000);

test("who may not, and what is not there", async () => {
  const failure = async (path: string, key?: string) => {
    const { status, json } = await get(path, key);
    return [status, json.error.code, json.error.param];
  };
  expect(await failure("acme/layers", "stranger")).toEqual([404, "model_not_found", "name"]);
  expect(await failure("acme/export?format=mos", "stranger")).toEqual([404, "model_not_found", "name"]);
  expect(await failure("acme/export?format=mos", "user")).toEqual([403, "admin_key_required", null]);
  for (const name of ["none", "gone", "base", "..%2facme", "%00"])
    expect((await get(`${name}/layers`)).status, name).toBe(404);
  for (const file of ["../../acme/adapter_config.json", "adapter.gguf", "run.json", "constructor"])
    expect(await failure(`acme/export?format=peft&file=${encodeURIComponent(file)}`)).toEqual([
      ...[400, "invalid_value", "file"],
    ]);
  expect(await failure("acme/export?format=zip")).toEqual([400, "invalid_value", "format"]);
  expect(await failure("acme/export")).toEqual([400, "invalid_value", "format"]);
  expect(existsSync(join(folder, "acme"))).toBe(true);
});
