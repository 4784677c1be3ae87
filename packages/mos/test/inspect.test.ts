// `mos inspect` as a person and as a program see it.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  budget,
  METHOD_NAMES,
  methods,
  parseAdapterConfig,
  saveAdapter,
  startAdapter,
} from "mixture-of-shards-core/adapters";
import { type LoadedModel, loadBase, toBaseShapes, toLayerShapes } from "mixture-of-shards-core/models";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mos } from "./bad-input/run-mos.ts";

const MODEL = "assets/tiny-english";
let folder = "";
let base: LoadedModel;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-inspect-"));
  base = await loadBase(MODEL);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function writeAdapter(name: string, settings: unknown): Promise<string> {
  const { fingerprint } = base;
  const made = await startAdapter(parseAdapterConfig(settings), toBaseShapes(base));
  for (const { data } of made.tensors.values())
    if (data instanceof Float32Array) data.set(data.map((x, i) => x + 0.01 * Math.sin(i + 1)));
  const path = join(folder, name);
  await saveAdapter(path, made, { base: { name: "tiny-english", fingerprint } });
  return path;
}

test("a MoS adapter: facts, norms, use of shards", async () => {
  const path = await writeAdapter("mos", { method: "mos", rank: 4, equivalentRank: 2 });
  const { code, stdout, stderr } = await mos(["inspect", path]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain("method      mos: e 2, r 4, l 4, p 1, alpha 16; on q, k, v, o, gate, up, down\n");
  expect(stdout).toMatch(/^base +tiny-english \(sha256:[0-9a-f]{12}…\), 5 layers$/m);
  expect(stdout).toMatch(/^trainable +23,360 parameters, 97\.9 kB in float32; 50% of LoRA of rank 4$/m);
  expect(stdout).toMatch(/^layer +q_proj +k_proj/m);
  expect(stdout.match(/^[0-4]( +\d[\d.e-]*){7}$/gm)).toHaveLength(5);
  expect(stdout).toMatch(/^pool +shared +0× +1×.* mean +most used +private$/m);
  expect(stdout.match(/^\w+_proj [AB] +20 .* 3\.00 +[45]× \(no\. \d+\) +50%$/gm)).toHaveLength(14);
});

test("--json has all of it, and the same shapes with and without the model", async () => {
  const path = await writeAdapter("lora", { method: "lora", rank: 2, targets: ["q_proj", "up_proj"] });
  const alone = JSON.parse((await mos(["inspect", path, "--json"])).stdout);
  expect(Object.keys(alone)).toEqual(["name", "adapter", "base", "shapes", "budget", "modules", "routing"]);
  expect(alone.modules).toHaveLength(10);
  expect(alone.modules[0]).toMatchObject({ layer: 0, linear: "q_proj", rank: 2, scale: 8 });
  expect(alone.routing).toEqual([]);
  const helped = JSON.parse((await mos(["inspect", path, "--model", MODEL, "--json"])).stdout);
  expect(helped.modules).toEqual(alone.modules);
  expect(helped.shapes.widths).toMatchObject(alone.shapes.widths);
});

test("a model: types, bytes under each base dtype, fingerprint and identity", async () => {
  const { code, stdout, stderr } = await mos(["inspect", MODEL]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/^shape +5 layers of width 128, 1\.05 M parameters$/m);
  expect(stdout).toContain(base.fingerprint);
  expect(stdout).toContain(base.identity);
  expect(stdout).toMatch(/^F16 +36 +1,052,672 +2\.11 MB +float16 +2\.11 MB$/m);
  expect(stdout).toMatch(/^int8 +1\.14 MB$/m);
  const { types, memory, fingerprint, identity } = JSON.parse(
    (await mos(["inspect", MODEL, "--json"])).stdout,
  );
  expect({ fingerprint, identity }).toEqual({ fingerprint: base.fingerprint, identity: base.identity });
  expect(types[0]).toMatchObject({ type: "F16", tensors: 36, bytes: 2 * 1_052_672, form: "float16" });
  expect(memory).toMatchObject({ stored: 2 * 1_052_672 + 4 * 1408, float32: 4 * (1_052_672 + 1408) });
  const refused = await mos(["inspect", MODEL, "--model", MODEL]);
  expect(refused.stderr).toMatch(/assets\/tiny-english is a model, for which --model cannot be used/);
});

test.each(METHOD_NAMES)("%s can be inspected", async (method) => {
  const path = await writeAdapter(`one-${method}`, methods[method].example);
  const { code, stdout, stderr } = await mos(["inspect", path, "--model", MODEL]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(new RegExp(`^method +${method}: (e \\d+, )?r \\d+`, "m"));
  // frozen tensors are reported, whether or not they are saved
  const { frozen, seeded } = budget(methods[method].example, toLayerShapes(base.config));
  expect(/^tables +\d/m.test(stdout)).toBe(frozen > 0);
  expect(/^made again +\d/m.test(stdout)).toBe(seeded > 0);
  expect(stdout).not.toMatch(/NaN|undefined|Infinity/);
});
