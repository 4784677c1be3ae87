// Adapters of a model that also sees: what PEFT reads and writes names the language model as a part of it.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadAdapter, saveAdapter } from "#adapters";
import { exportAdapter, importAdapter } from "#convert";
import { openGguf, openSafetensors, type WritableTensor, writeSafetensors } from "#files";
import { loadBase, openModel, toLayerShapes } from "#models";
import { randomAdapter } from "./random-adapter.ts";
import { TINY_FAMILIES } from "./tiny-families.ts";
import { asTensors, storedTensors, tinyConfigJson, writeTinyModel } from "./tiny-model.ts";

let folder = "";
const at = (name: string): string => join(folder, name);
/** The language model alone, and as a part. */
const [alone, nested] = ["alone", "nested"];
const numbers = new Map<string, Float32Array>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-nested-"));
  const overrides = TINY_FAMILIES["gemma3"]!;
  const model = await writeTinyModel(at(alone), { overrides });
  await mkdir(at(nested));
  await writeFile(
    join(at(nested), "config.json"),
    JSON.stringify({
      model_type: "gemma3",
      text_config: { ...tinyConfigJson, ...overrides, architectures: null },
    }),
  );
  const parts = Object.entries(asTensors(storedTensors(model))).map(([name, tensor]) => [
    `language_model.${name}`,
    tensor,
  ]);
  await writeSafetensors(join(at(nested), "model.safetensors"), Object.fromEntries(parts));
  const { config, fingerprint } = await loadBase(at(nested));
  const settings = { method: "lora", rank: 2, alpha: 3, targets: ["q_proj", "v_proj", "down_proj"] };
  const adapter = randomAdapter(settings, toLayerShapes(config), { seed: 3 });
  await saveAdapter(at("acme"), adapter, { base: { name: "org/sees", fingerprint } });
  for (const [name, { data }] of adapter.tensors) numbers.set(name, data as Float32Array);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const exported = async (model: string) => {
  const out = at(`${model}-peft`);
  await exportAdapter({ adapter: at("acme"), model: at(model), format: "peft", out, overwrite: true });
  await using file = await openSafetensors(join(out, "adapter_model.safetensors"));
  const fields = JSON.parse(await readFile(join(out, "adapter_config.json"), "utf8"));
  const names = [...file.tensors.keys()];
  const tensors: Record<string, WritableTensor> = {};
  for (const name of names)
    tensors[name] = {
      dtype: "F32",
      shape: file.tensors.get(name)!.shape,
      data: await file.readFloat32(name),
    };
  return { out, fields, names, tensors };
};

/** Numbers of an adapter that was imported for a base. */
async function imported(from: string, model: string): Promise<ReadonlyMap<string, Float32Array>> {
  const out = `${from}-imported`;
  await importAdapter({ folder: from, model: at(model), out, overwrite: true });
  const { config } = await loadBase(at(model));
  const { tensors } = await loadAdapter(out, { shapes: toLayerShapes(config), fingerprint: undefined });
  return new Map([...tensors].map(([name, { data }]) => [name, data as Float32Array]));
}

test("modules are called as transformers does: by config.json, however the weights are called", async () => {
  await using one = await openModel(at(alone));
  await using other = await openModel(at(nested));
  expect([one.modulePrefix, other.modulePrefix]).toEqual(["model.", "model.language_model."]);
});

test("an exported folder names the language model's layers, and no others of the model", async () => {
  const [plain, { fields, names }] = [await exported(alone), await exported(nested)];
  expect(plain.fields.target_modules).toEqual(["q_proj", "v_proj", "down_proj"]);
  expect(plain.names).toContain("base_model.model.model.layers.2.mlp.down_proj.lora_A.weight");
  expect(names).toEqual(
    plain.names.map((name) => name.replace("model.layers.", "model.language_model.layers.")),
  );
  const target = new RegExp(`^(?:${fields.target_modules})$`); // re.fullmatch
  for (const name of names)
    expect(name.replace("base_model.model.", "").replace(/\.lora_[AB]\.weight$/, "")).toMatch(target);
  for (const other of [
    "model.vision_tower.encoder.layers.0.self_attn.q_proj",
    "model.language_model.layers.0.self_attn.k_proj",
    "model.layers.0.self_attn.q_proj",
  ])
    expect(other).not.toMatch(target);
});

test("it comes back as it went, for either base", async () => {
  const { out } = await exported(nested);
  expect(await imported(out, nested)).toEqual(numbers);
  expect(await imported(out, alone)).toEqual(numbers);
});

test("llama.cpp has the names of the language model", async () => {
  const out = at("acme.gguf");
  await exportAdapter({ adapter: at("acme"), model: at(nested), format: "gguf", out });
  await using file = await openGguf(out);
  expect([...file.tensors.keys()]).toContain("blk.2.ffn_down.weight.lora_b");
  expect(file.tensors.size).toBe(18);
});

/** The exported folder as PEFT would have saved it with these targets, in names of some version of transformers. */
async function savedByPeft(name: string, prefix: string, more: object): Promise<string> {
  const { fields, tensors } = await exported(nested);
  const vision = { dtype: "F32", shape: [1, 5], data: new Float32Array(5).fill(1) } as const;
  const all = Object.fromEntries(
    Object.entries(tensors).map(([key, tensor]) => [key.replace("model.language_model.", prefix), tensor]),
  );
  await mkdir(at(name));
  await writeSafetensors(join(at(name), "adapter_model.safetensors"), {
    ...all,
    "base_model.model.model.vision_tower.encoder.layers.0.self_attn.q_proj.lora_A.weight": vision,
    "base_model.model.vision_tower.vision_model.encoder.layers.0.mlp.fc1.lora_B.weight": vision,
  });
  await writeFile(join(at(name), "adapter_config.json"), JSON.stringify({ ...fields, ...more }));
  return at(name);
}

test.each(["model.language_model.", "language_model.model."])(
  "PEFT's own names, %s, and fields that state them, are read; LoRAs of what sees are left out",
  async (prefix) => {
    const own = `${prefix}layers.1.self_attn.q_proj`;
    const paths = [0, 1, 2].flatMap((layer) =>
      ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"].map(
        (name) => `${prefix}layers.${layer}.${name}`,
      ),
    );
    for (const [i, more] of [
      { target_modules: ["q_proj", "v_proj", "down_proj", "fc1"] },
      { target_modules: paths, rank_pattern: { [own]: 2 }, r: 2 },
      { rank_pattern: { [`${prefix.replaceAll(".", "\\.")}layers.+`]: 2 }, r: 9, lora_alpha: 3 },
    ].entries())
      expect(await imported(await savedByPeft(`${prefix}${i}`, prefix, more), nested), `${i}`).toEqual(
        numbers,
      );
    const short = await savedByPeft(`${prefix}short`, prefix, { target_modules: paths.slice(1) });
    await expect(imported(short, nested)).rejects.toThrowError(
      `${paths[0]} has tensors, but adapter_config.json does not target it`,
    );
  },
);

test("a LoRA of what sees alone is told", async () => {
  const place = await savedByPeft("sees", "model.vision_tower.", { target_modules: ["q_proj"] });
  await expect(imported(place, nested)).rejects.toThrowError("no tensors of a language model");
});

test.each([
  ["target_modules is a pattern", {}],
  [
    "down_proj.lora_A.weight belongs to a model that contains the language model",
    { target_modules: ["q_proj", "v_proj", "down_proj"] },
  ],
])("such a folder is told where it is used without an import: %s", async (what, more) => {
  const out = await savedByPeft(`direct ${Object.keys(more).length}`, "model.language_model.", more);
  const { config } = await loadBase(at(nested));
  await expect(
    loadAdapter(out, { shapes: toLayerShapes(config), fingerprint: undefined }),
  ).rejects.toThrowError(`${what}; convert the folder with mos import`);
});
