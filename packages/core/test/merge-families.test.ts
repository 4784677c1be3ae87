// `mergeAdapter` for families whose files are not as Llama's: fused matrices, and gains that are stated around 0.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Adapter, computeDelta, saveAdapter } from "#adapters";
import { randomStream } from "#common";
import { mergeAdapter } from "#convert";
import { openGguf, openSafetensors, type WritableTensor, writeSafetensors } from "#files";
import {
  COMMON_LINEARS,
  dequantizeWeight,
  ggufName,
  listTargets,
  loadBase,
  modulePath,
  parseHuggingFaceConfig,
  storedPlace,
  storedShapes,
  toLayerShapes,
} from "#models";
import { randomAdapter } from "./random-adapter.ts";
import { TINY_FAMILIES } from "./tiny-families.ts";
import { tinyGguf, writeGguf } from "./tiny-gguf.ts";
import { tinyConfigJson, tinyModel } from "./tiny-model.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-merge-families-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const SETTINGS = { method: "lora", rank: 2, targets: ["q_proj", "v_proj", "gate_proj", "down_proj"] };

interface Base {
  readonly path: string;
  readonly tensors: Readonly<Record<string, WritableTensor>>;
}

/** A folder of random numbers, as the family's files have them. Gains are far smaller than the last bit of 1. */
async function writeBase(name: string, json: string): Promise<Base> {
  const path = join(folder, name);
  await mkdir(path);
  const random = randomStream(5, name);
  const tensors = Object.fromEntries(
    [...storedShapes(parseHuggingFaceConfig(JSON.parse(json), "config.json"))].map(([key, shape]) => {
      const length = shape.reduce((product, size) => product * size, 1);
      const size = key.includes("norm") ? 1e-9 : 0.1;
      const data = Float32Array.from({ length }, () => size * random.normal());
      return [key, { dtype: "F32", shape, data } as const];
    }),
  );
  await writeFile(join(path, "config.json"), json);
  await writeSafetensors(join(path, "model.safetensors"), tensors);
  return { path, tensors };
}

async function merge({ path }: Base): Promise<{ readonly out: string; readonly adapter: Adapter }> {
  const { config, fingerprint } = await loadBase(path);
  const adapter = randomAdapter(SETTINGS, toLayerShapes(config), { seed: 2, deviation: 0.3 });
  await saveAdapter(`${path}-adapter`, adapter, { base: { name: "tiny", fingerprint } });
  const out = `${path}-merged`;
  for await (const event of mergeAdapter({ model: path, adapter: `${path}-adapter`, out }))
    if (event.type === "finish") expect(event.files).toEqual(["model.safetensors"]);
  return { out, adapter };
}

/** What an adapter adds to the tensors of a folder, by their names. */
async function deltas(adapter: Adapter, path: string): Promise<ReadonlyMap<string, Float32Array>> {
  const { config } = await loadBase(path);
  const shapes = storedShapes(config);
  const found = new Map<string, Float32Array>();
  for (let layer = 0; layer < config.layers; layer++)
    for (const linear of COMMON_LINEARS) {
      const { name, row } = storedPlace(config, `${modulePath({ layer, linear })}.weight`);
      const [rows = 0, width = 0] = shapes.get(name) ?? [];
      const sum = found.get(name) ?? new Float32Array(rows * width);
      const delta = await computeDelta(adapter, { layer, linear });
      if (delta !== undefined) sum.set(delta.data as Float32Array, row * width);
      found.set(name, sum);
    }
  return found;
}

test.each(["phi3", "gemma2", "granite"])(
  "%s keeps its tensors, and all bits that no adapter changes",
  async (family) => {
    const json = JSON.stringify({ ...tinyConfigJson, architectures: null, model_type: family });
    const base = await writeBase(family, json);
    const { out, adapter } = await merge(base);
    await using file = await openSafetensors(join(out, "model.safetensors"));
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(base.tensors).sort());
    const added = await deltas(adapter, base.path);
    for (const [name, { shape, data }] of Object.entries(base.tensors)) {
      expect(file.tensors.get(name)?.shape).toEqual(shape);
      const delta = added.get(name);
      const wanted = data.map((value, i) => value + (delta?.[i] ?? 0));
      expect(await file.readFloat32(name), name).toEqual(wanted);
    }
    const changed = [...added].filter(([, delta]) => delta.some((value) => value !== 0));
    expect(changed.length).toBe(2 * (family === "phi3" ? 3 : 4));
  },
);

test("of a model that also sees, the merged one is the language model", async () => {
  const text = {
    ...tinyConfigJson,
    architectures: null,
    model_type: "gemma3_text",
  };
  const capped = { model_type: "gemma3", text_config: { ...text, final_logit_softcapping: 30 } };
  // transformers reads the cap in the language model alone
  expect(() => parseHuggingFaceConfig(capped, "config.json")).toThrow(
    /final_logit_softcapping 30 is not supported/,
  );
  const { out } = await merge(
    await writeBase("sees", JSON.stringify({ model_type: "gemma3", text_config: text })),
  );
  const written = await readFile(join(out, "config.json"), "utf8");
  expect(JSON.parse(written)).toMatchObject({
    architectures: ["Gemma3ForCausalLM"],
    model_type: "gemma3_text",
  });
  expect((await loadBase(out)).config).toEqual((await loadBase(join(folder, "sees"))).config);
});

test("matrices of a GGUF base are merged whatever folders call them, and kernels stay float32", async () => {
  const model = tinyModel({ overrides: TINY_FAMILIES["lfm2"]! });
  const { config, weights } = model;
  const metadata = Object.entries(tinyGguf(model).metadata).map(
    ([key, value]) => [key.replace(/^llama\./, "lfm2."), value] as const,
  );
  const kinds = config.layerKinds ?? [];
  const file = join(folder, "lfm2.gguf");
  await writeGguf(file, {
    metadata: {
      ...Object.fromEntries(metadata),
      "general.architecture": ["string", "lfm2"],
      "lfm2.attention.head_count_kv": [
        "numbers",
        kinds.map((kind) => (kind === "attention" ? config.keyValueHeads : 0)),
      ],
      "lfm2.shortconv.l_cache": ["uint32", config.convolution ?? 0],
    },
    tensors: [...weights].map(([name, { shape, data }]) => ({
      name: ggufName(config, name),
      shape: shape.filter((_, axis) => shape.length < 3 || axis !== 1),
      bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    })),
  });
  const base = await loadBase(file);
  const settings = { ...SETTINGS, targets: ["o_proj", "gate_proj", "down_proj", "conv_in_proj"] };
  const adapter = randomAdapter(settings, toLayerShapes(base.config), { seed: 2, deviation: 0.3 });
  await saveAdapter(`${file}-adapter`, adapter, { base: { name: "tiny", fingerprint: base.fingerprint } });
  const out = join(folder, "lfm2-merged.gguf");
  for await (const _ of mergeAdapter({ model: file, adapter: `${file}-adapter`, out }));
  const merged = await loadBase(out);
  for (const target of listTargets(toLayerShapes(config))) {
    const name = `${modulePath(target)}.weight`;
    const delta = (await computeDelta(adapter, target))?.data;
    const isTarget = settings.targets.includes(target.linear);
    expect(delta?.some((value) => Math.abs(value) > 0.01) ?? false, name).toBe(isTarget);
    const found = dequantizeWeight(merged.weights.get(name)!);
    for (const [i, value] of dequantizeWeight(base.weights.get(name)!).entries()) {
      const wanted = value + (delta?.[i] ?? 0);
      expect(Math.abs(found[i]! - wanted), name).toBeLessThan(1e-3 * Math.max(1, Math.abs(wanted)));
    }
  }
  await using written = await openGguf(out);
  const types = [...written.tensors].map(([name, { type }]) => [name.split(".").at(-2), type] as const);
  expect(types).toContainEqual(["conv", "F32"]);
  expect(types).toContainEqual(["in_proj", "F16"]);
});
