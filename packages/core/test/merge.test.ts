// `mergeAdapter` across rooms: what is in the folder, by plain loops; how it ends when it is stopped.

import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Adapter, expandFactors, saveAdapter } from "#adapters";
import { type MergeEvent, type MergeOptions, mergeAdapter, planMerge } from "#convert";
import {
  decodeBfloat16,
  decodeFloat16,
  encodeBfloat16,
  encodeFloat16,
  openGguf,
  openSafetensors,
} from "#files";
import {
  COMMON_LINEARS,
  dequantizeWeight,
  type LoadedModel,
  loadBase,
  loadModel as loadWithText,
  modulePath,
  openModel,
  toLayerShapes,
} from "#models";
import { largestDifference } from "./largest-difference.ts";
import { randomAdapter } from "./random-adapter.ts";
import { storedBytes } from "./stored-weights.ts";
import { tinyGguf, writeGguf } from "./tiny-gguf.ts";
import { writeTinyModel } from "./tiny-model.ts";

let folder = "";
let model = "";
let adapter = "";
let base: LoadedModel;
let loaded: Adapter;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-merge-"));
  model = join(folder, "model");
  await writeTinyModel(model);
  base = await loadBase(model);
  adapter = join(folder, "adapter");
  loaded = await saveRandom(base, adapter);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const SETTINGS = {
  method: "mos",
  rank: 3,
  equivalentRank: 2,
  shardsPerVector: 2,
  targets: ["q_proj", "down_proj"],
};

/** A MoS adapter of random numbers. */
async function saveRandom({ config, fingerprint }: LoadedModel, path: string): Promise<Adapter> {
  const made = randomAdapter(SETTINGS, toLayerShapes(config), { seed: 3, deviation: 0.2 });
  await saveAdapter(path, made, { base: { name: "tiny", fingerprint } });
  return made;
}

type Choice = Partial<MergeOptions>;
const options = (choice: Choice): MergeOptions & { readonly out: string } => ({
  model,
  adapter,
  out: join(folder, `merged-${count++}`),
  ...choice,
});

async function merge(
  choice: Choice = {},
): Promise<{ readonly out: string; readonly events: readonly MergeEvent[] }> {
  const chosen = options(choice);
  const events: MergeEvent[] = [];
  for await (const event of mergeAdapter(chosen)) events.push(event);
  return { out: chosen.out, events };
}

/** W + scale · B A of every weight, by plain loops in float64. */
async function expected(model = base, added = loaded): Promise<ReadonlyMap<string, Float64Array>> {
  const weights = new Map(
    [...model.weights].map(([name, weight]) => [name, Float64Array.from(dequantizeWeight(weight))]),
  );
  const factors = await expandFactors(added);
  for (let layer = 0; layer < model.config.layers; layer++)
    for (const linear of COMMON_LINEARS) {
      const found = factors.get(`${layer}.${linear}`);
      const weight = weights.get(`${modulePath({ layer, linear })}.weight`)!;
      if (found !== undefined) addProduct(weight, found);
    }
  return weights;
}

interface Found {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly rank: number;
  readonly scale: number;
}

function addProduct(weight: Float64Array, { a, b, rank, scale }: Found): void {
  const [width, out] = [a.length / rank, b.length / rank];
  for (let i = 0; i < weight.length; i++)
    for (let k = 0; k < rank; k++)
      weight[i]! += scale * b[k * out + Math.floor(i / width)]! * a[k * width + (i % width)]!;
}

const countBytes = ({ weights }: LoadedModel): number =>
  [...weights.values()].reduce((sum, weight) => sum + storedBytes(weight), 0);

test("the merged folder holds W + scale · B A, and is a model of its own", async () => {
  const { out, events } = await merge();
  const merged = await loadBase(out);
  expect(merged.config).toEqual(base.config);
  const wanted = await expected();
  expect([...merged.weights.keys()]).toEqual([...wanted.keys()]);
  for (const [name, weight] of merged.weights)
    expect(largestDifference(dequantizeWeight(weight), wanted.get(name)!)).toBeLessThan(1e-6);
  expect(
    largestDifference(
      dequantizeWeight(merged.weights.get("model.layers.1.mlp.down_proj.weight")!),
      dequantizeWeight(base.weights.get("model.layers.1.mlp.down_proj.weight")!),
    ),
  ).toBeGreaterThan(0.1);
  expect(merged.weights.get("model.norm.weight")).toEqual(base.weights.get("model.norm.weight"));
  const total = base.weights.size;
  expect(events.map(({ type }) => type)).toEqual([
    "plan",
    ...Array.from({ length: total }, () => "checking"),
    ...Array.from({ length: total }, () => "writing"),
    "finish",
  ]);
  expect(events.at(-2)).toMatchObject({
    done: total,
    total,
    doneBytes: countBytes(base),
    totalBytes: countBytes(base),
  });
  expect(events.at(-1)).toEqual({
    type: "finish",
    out,
    files: ["model.safetensors"],
    bytes: countBytes(base),
    dtype: "float32",
  });
});

test.each([
  ["float16", "F16", (data: Float32Array) => decodeFloat16(encodeFloat16(data))],
  ["bfloat16", "BF16", (data: Float32Array) => decodeBfloat16(encodeBfloat16(data))],
] as const)("%s is rounded once from float32, and said in config.json", async (dtype, stored, rounded) => {
  const exact = await loadBase((await merge()).out);
  const { out } = await merge({ dtype });
  const merged = await loadBase(out);
  for (const [name, weight] of merged.weights)
    expect(dequantizeWeight(weight)).toEqual(rounded(dequantizeWeight(exact.weights.get(name)!)));
  expect(JSON.parse(await readFile(join(out, "config.json"), "utf8"))).toMatchObject({ torch_dtype: dtype });
  await using file = await openSafetensors(join(out, "model.safetensors"));
  expect(file.metadata).toEqual({ format: "pt" });
  expect([...file.tensors.values()].every((tensor) => tensor.dtype === stored)).toBe(true);
});

test("without a wish, every tensor keeps the base's type", async () => {
  const half = (await merge({ dtype: "bfloat16" })).out;
  const own = join(folder, "own");
  await saveRandom(await loadBase(half), own);
  const { out } = await merge({ model: half, adapter: own });
  await using file = await openSafetensors(join(out, "model.safetensors"));
  expect(new Set([...file.tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(["BF16"]));
});

test("large models go to several files with an index, and are the same model", async () => {
  const whole = await loadBase((await merge()).out);
  const { out, events } = await merge({ shardSize: 5000 });
  const names = (await readdir(out)).filter((name) => name.endsWith(".safetensors")).sort();
  expect(names.length).toBeGreaterThan(3);
  expect(names[0]).toBe(`model-00001-of-0000${names.length}.safetensors`);
  const done = events.at(-1)!;
  expect(done.type === "finish" && done.files).toEqual(names);
  const index = JSON.parse(await readFile(join(out, "model.safetensors.index.json"), "utf8"));
  expect(index.metadata).toEqual({ total_size: countBytes(base) });
  expect(Object.keys(index.weight_map)).toEqual([...base.weights.keys()].sort());
  for (const name of names) {
    await using file = await openSafetensors(join(out, name));
    const bytes = [...file.tensors.values()].reduce((sum, { begin, end }) => sum + end - begin, 0);
    expect(bytes <= 5000 || file.tensors.size === 1).toBe(true);
  }
  const merged = await loadBase(out);
  expect(merged.weights).toEqual(whole.weights);
  expect(merged.fingerprint).toBe(whole.fingerprint);
});

test("tokenizer, template and licence come along; weights of other formats, code and cards do not", async () => {
  const files = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "LICENSE",
  ];
  for (const name of files) await writeFile(join(model, name), `{"of": "${name}"}`);
  const foreign = ["README.md", "pytorch_model.bin", "modeling_llama.py", "other.safetensors"];
  for (const name of foreign) await writeFile(join(model, name), "x");
  const { out } = await merge();
  expect((await readdir(out)).sort()).toEqual([...files, "config.json", "model.safetensors"].sort());
  for (const name of files) expect(await readFile(join(out, name), "utf8")).toBe(`{"of": "${name}"}`);
  for (const name of [...files, ...foreign]) await rm(join(model, name));
});

test("a GGUF base becomes a whole Hugging Face folder", async () => {
  const { model: bpe, added_tokens: added } = JSON.parse(
    await readFile("assets/tiny-english/tokenizer.json", "utf8"),
  );
  const tokens = Object.keys(bpe.vocab).sort((a, b) => bpe.vocab[a] - bpe.vocab[b]);
  for (const { id, content } of added) tokens[id] = content;
  const tiny = await writeTinyModel(join(folder, "as-folder"), { overrides: { vocab_size: tokens.length } });
  const file = join(folder, "tiny.gguf");
  const gguf = tinyGguf(tiny);
  const merges = bpe.merges.map((pair: string | readonly string[]) =>
    typeof pair === "string" ? pair : pair.join(" "),
  );
  await writeGguf(file, {
    ...gguf,
    metadata: {
      ...gguf.metadata,
      "tokenizer.ggml.model": ["string", "gpt2"],
      "tokenizer.ggml.pre": ["string", "gpt-2"],
      "tokenizer.ggml.tokens": ["strings", tokens],
      "tokenizer.ggml.merges": ["strings", merges],
      "tokenizer.chat_template": [
        "string",
        "{% for m in messages %}[{{ m['content'] }}]{% endfor %}{{ eos_token }}",
      ],
    },
  });
  const own = join(folder, "gguf-adapter");
  const before = await loadWithText(file);
  await saveRandom(before.model, own);
  const { out, events } = await merge({ model: file, adapter: own });
  expect(events[0]).toMatchObject({ type: "plan", dtype: "float16" });
  expect((await readdir(out)).sort()).toEqual([
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);
  const after = await loadWithText(out);
  expect(after.model.config).toEqual(before.model.config);
  const text = "The opposite of dry is wet.\n  Is 12 a number?";
  expect(after.text.tokenizer.encode(text)).toEqual(before.text.tokenizer.encode(text));
  expect(after.text.tokenizer.eosTokens).toEqual(before.text.tokenizer.eosTokens);
  const chat = [{ role: "user", content: "Hi" }];
  expect(after.text.template.render(chat)).toBe(before.text.template.render(chat));
  expect(after.text.template.render(chat)).toContain("[Hi]");
  const untouched = "model.layers.0.self_attn.v_proj.weight";
  const rounded = decodeFloat16(encodeFloat16(dequantizeWeight(before.model.weights.get(untouched)!)));
  expect(dequantizeWeight(after.model.weights.get(untouched)!)).toEqual(rounded);
});

test("a GGUF base becomes a GGUF file, whose header says what its own did", async () => {
  const file = join(folder, "own.gguf");
  const { metadata, tensors } = tinyGguf(await writeTinyModel(join(folder, "as-file")));
  metadata["general.file_type"] = ["uint32", 3];
  metadata["general.odd"] = ["strings", ["ü", ""]];
  await writeGguf(file, { metadata, tensors });
  const own = join(folder, "file-adapter");
  const stored = await loadBase(file);
  const wanted = await expected(stored, await saveRandom(stored, own));
  const out = join(folder, "deep", "merged.gguf");
  const { events } = await merge({ model: file, adapter: own, out });
  const merged = await loadBase(out);
  expect(merged.config).toEqual(stored.config);
  for (const [name, weight] of merged.weights)
    expect(largestDifference(dequantizeWeight(weight), wanted.get(name)!)).toBeLessThan(1e-3);
  await using before = await openGguf(file);
  await using after = await openGguf(out);
  expect(after.metadata).toEqual({ ...before.metadata, "general.file_type": 1 });
  expect([...after.tensors].map(([name, { type, shape }]) => [name, type, shape])).toEqual(
    [...before.tensors].map(([name, { shape }]) => [name, shape.length > 1 ? "F16" : "F32", shape]),
  );
  const gain = "blk.1.ffn_norm.weight";
  expect(await after.readFloat32(gain)).toEqual(await before.readFloat32(gain));
  const { bytes, files } = events.at(-1) as Extract<MergeEvent, { type: "finish" }>;
  expect(files).toEqual(["merged.gguf"]);
  expect(bytes).toBeLessThan((await stat(out)).size);
});

test("matrices of a GGUF base in bfloat16 stay so, and blocks become float16, which is said", async () => {
  const { tensors, ...gguf } = tinyGguf(
    await writeTinyModel(join(folder, "wide"), {
      overrides: { hidden_size: 32, intermediate_size: 64, head_dim: 8 },
    }),
  );
  const numbers = (bytes: Uint8Array): Float32Array =>
    new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const halves = tensors.map((tensor) =>
    tensor.shape.length === 1
      ? tensor
      : { ...tensor, type: 30, bytes: new Uint8Array(encodeBfloat16(numbers(tensor.bytes)).buffer) },
  );
  const blocks = halves.map((tensor) => {
    if (tensor.name !== "blk.0.ffn_up.weight") return tensor;
    // Q8_0: 34 bytes for 32 weights, here codes of 1 with a scale of 2⁻⁷
    const bytes = Uint8Array.from({ length: (64 * 32 * 34) / 32 }, (_, i) => [0, 0x20][i % 34] ?? 1);
    return { ...tensor, type: 8, bytes };
  });
  for (const [name, written, plan] of [
    ["bfloat16.gguf", halves, { dtype: "bfloat16", replaced: [] }],
    ["blocks.gguf", blocks, { dtype: "float16", replaced: ["Q8_0"] }],
  ] as const) {
    await writeGguf(join(folder, name), { ...gguf, tensors: written });
    await using files = await openModel(join(folder, name));
    expect(planMerge(files)).toMatchObject(plan);
    expect(planMerge(files, { dtype: "float32" })).toMatchObject({ dtype: "float32" });
  }
});

const leftovers = async (): Promise<readonly string[]> =>
  (await readdir(folder)).filter((name) => name.includes(".partial") || name === "stopped");

test("stopping leaves nothing: by signal, by break, while checking and while writing", async () => {
  const out = join(folder, "stopped");
  for (const [type, done] of [
    ["checking", 3],
    ["writing", 5],
  ] as const) {
    const controller = new AbortController();
    const run = async (): Promise<void> => {
      for await (const event of mergeAdapter(options({ out, signal: controller.signal })))
        if (event.type === type && event.done === done) controller.abort();
    };
    await expect(run()).rejects.toMatchObject({ code: "cancelled" });
    expect(await leftovers()).toEqual([]);
    for await (const event of mergeAdapter(options({ out })))
      if (event.type === type && event.done === done) break;
    expect(await leftovers()).toEqual([]);
  }
});

test("what takes the folder's name meanwhile is kept", async () => {
  const out = join(folder, "stopped");
  const run = async (): Promise<void> => {
    for await (const event of mergeAdapter(options({ out })))
      if (event.type === "writing" && event.done === 2) {
        await mkdir(out);
        await writeFile(join(out, "mine"), "x");
      }
  };
  await expect(run()).rejects.toMatchObject({
    code: "storage",
    message: expect.stringMatching(/was created by another program during the merge and is kept/),
  });
  expect(await readdir(out)).toEqual(["mine"]);
  await rm(out, { recursive: true });
  expect(await leftovers()).toEqual([]);
});

test("a sum beyond float16 is refused, and float32 takes it", async () => {
  const large = join(folder, "large");
  await writeTinyModel(large, { edit: (weights) => weights.get("lm_head.weight")!.data.fill(70000, 0, 1) });
  const own = join(folder, "large-adapter");
  await saveRandom(await loadBase(large), own);
  await expect(merge({ model: large, adapter: own, dtype: "float16" })).rejects.toMatchObject({
    code: "bad_option",
    message:
      "dtype: lm_head.weight holds 70000, and the float16 maximum is 65504; store the weights as bfloat16 or float32",
  });
  await merge({ model: large, adapter: own, dtype: "float32" });
});
