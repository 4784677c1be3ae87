// Adapters that were trained elsewhere, as models of a real mos serve: MoS, PEFT's LoRA, and one that mos import converted.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  createAdapter,
  exportAdapter,
  importAdapter,
  loadModel,
  parseAdapterConfig,
  saveAdapter,
  toLayerShapes,
} from "mixture-of-shards";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Serving, startServing } from "./serving.ts";

const MODEL = "assets/tiny-english";
let serving: Serving;
beforeAll(async () => {
  serving = await startServing(["acme", "zeta", "admin"], {
    more: ["--workers", "0"],
    limits: { max_storage_bytes: 1e6 },
  });
  const { model } = await loadModel(MODEL);
  const base = { name: "tiny-english", fingerprint: model.fingerprint };
  const save = (name: string, config: object, other: object = {}) =>
    saveAdapter(
      join(serving.folder, name),
      createAdapter(parseAdapterConfig(config), toLayerShapes(model.config)),
      { base: { ...base, ...other } },
    );
  await save("mos", { method: "mos", rank: 6, equivalentRank: 2 });
  await save("other", { method: "lora", rank: 2 }, { fingerprint: `sha256:${"0".repeat(64)}` });
  await save("large", { method: "lora", rank: 256 });
  const [peft, out] = ["peft", "converted"].map((name) => join(serving.folder, name)) as [string, string];
  await exportAdapter({ adapter: join(serving.folder, "mos"), model: MODEL, format: "peft", out: peft });
  await importAdapter({ folder: peft, model: MODEL, out });
}, 120_000);
afterAll(() => serving[Symbol.asyncDispose]());

async function post(tenant: string, adapter: string, fields: Readonly<Record<string, string>> = {}) {
  const form = new FormData();
  for (const [field, file] of [
    ["adapter_config", "adapter_config.json"],
    ["adapter_model", "adapter_model.safetensors"],
  ] as const)
    form.append(field, new Blob([new Uint8Array(await readFile(join(serving.folder, adapter, file)))]), file);
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  const headers = { authorization: `Bearer ${serving.keyFor(tenant)}` };
  const answer = await fetch(`${serving.address}/v1/models`, { method: "POST", headers, body: form });
  return { status: answer.status, json: JSON.parse(await answer.text()) };
}

const modelsOf = async (tenant: string): Promise<readonly string[]> =>
  (await serving.client(tenant).models.list()).data.map(({ id }) => id);
const ask = (tenant: string, model: string) =>
  serving
    .client(tenant)
    .chat.completions.create({ model, messages: [{ role: "user", content: "Hi" }], max_tokens: 4 });

test.each(["mos", "peft", "converted"])(
  "%s is listed, answers, has an alias, and is deleted",
  async (adapter) => {
    const { status, json } = await post("acme", adapter, { suffix: "support" });
    expect([status, json]).toEqual([
      200,
      {
        id: expect.stringMatching(/^ft:tiny:acme:support:.{8}$/),
        object: "model",
        created: expect.any(Number),
        owned_by: "mos",
      },
    ]);
    expect(await modelsOf("acme")).toContain(json.id);
    expect(await modelsOf("zeta")).not.toContain(json.id);
    expect((await ask("acme", json.id)).model).toBe(json.id);
    await expect(ask("zeta", json.id)).rejects.toMatchObject({ status: 404 });
    const acme = serving.client("acme");
    await acme.put("/aliases/support", { body: { model: json.id } });
    expect((await ask("acme", "support")).choices).toHaveLength(1);
    await expect(acme.models.delete(json.id)).rejects.toMatchObject({ status: 400 });
    await acme.delete("/aliases/support");
    await acme.models.delete(json.id);
    expect(await modelsOf("acme")).not.toContain(json.id);
  },
);

test("an administrator imports for a tenant; others may not", async () => {
  const { json } = await post("admin", "mos", { owner: "zeta" });
  expect(json.id).toMatch(/^ft:tiny:zeta::/);
  expect(await modelsOf("zeta")).toContain(json.id);
  expect(await post("acme", "mos", { owner: "zeta" })).toMatchObject({
    status: 403,
    json: { error: { code: "admin_key_required", param: "owner" } },
  });
});

test("an adapter of another base and one beyond the key's storage are refused, and leave nothing", async () => {
  const before = await modelsOf("acme");
  expect(await post("acme", "other")).toMatchObject({
    status: 400,
    json: {
      error: { code: "bad_adapter", param: "adapter_model", message: expect.stringContaining("base") },
    },
  });
  expect(await post("acme", "large")).toMatchObject({
    status: 413,
    json: { error: { code: "storage_limit_exceeded" } },
  });
  expect(await modelsOf("acme")).toEqual(before);
});
