// One model in several quantisations: an adapter of one is used on the others with one line that says so, and on no other
// model.
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkDecoder, loadAdapter, saveAdapter, type TrainedOn } from "mixture-of-shards-core/adapters";
import { exportAdapter, importAdapter, mergeAdapter } from "mixture-of-shards-core/convert";
import { writeSafetensors } from "mixture-of-shards-core/files";
import { openEngine } from "mixture-of-shards-core/inference";
import {
  computeIdentity,
  type LoadedModel,
  loadBase,
  openModel,
  toLayerShapes,
} from "mixture-of-shards-core/models";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RopeConfig, ropeFrequencies } from "../../core/src/models/geometry.ts";
import { randomAdapter } from "../../core/test/random-adapter.ts";
import { writeTinyFolder } from "../../core/test/tiny-folder.ts";
import { asTensors, writeTinyModel } from "../../core/test/tiny-model.ts";
import { mos } from "./bad-input/run-mos.ts";

let folder = "";
const at = (name: string): string => join(folder, name);
/** float32, which the adapter was made for. */
let model = "";
/** The same in bfloat16. */
let halved = "";
/** Of the same shape. */
let other = "";
let base: LoadedModel;
let adapter = "";
let trainedOn: TrainedOn;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-identity-"));
  ({ model } = await writeTinyFolder(folder));
  [halved, other] = [at("halved"), at("other")];
  for (const copy of [halved, other]) await cp(model, copy, { recursive: true });
  base = await loadBase(model);
  const same = await writeTinyModel(at("again"), { overrides: { vocab_size: 1024 } });
  const half = Object.entries(asTensors(same.weights)).map(([name, tensor]) => [
    name,
    { ...tensor, dtype: "BF16" },
  ]);
  await writeSafetensors(join(halved, "model.safetensors"), Object.fromEntries(half), { format: "pt" });
  const { weights } = await writeTinyModel(at("seeded"), { overrides: { vocab_size: 1024 }, seed: 1 });
  await writeSafetensors(join(other, "model.safetensors"), asTensors(weights), { format: "pt" });
  const made = randomAdapter({ method: "lora", rank: 2, targets: ["q_proj"] }, toLayerShapes(base.config), {
    seed: 3,
  });
  adapter = at("acme");
  const { fingerprint, identity } = base;
  await saveAdapter(adapter, made, { base: { name: "model", fingerprint, identity } });
  trainedOn = { name: "model", fingerprint };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const NOTICE =
  /acme: trained on another quantisation of the same model: model \(sha256:[0-9a-f]{12}…\); used unchanged/;
const REFUSAL = /acme was trained on another base: model \(sha256:/;

const identityAt = async (path: string): Promise<string | undefined> => {
  await using files = await openModel(path);
  return await computeIdentity(files);
};

test("the identity is that of the model, the fingerprint that of its numbers", async () => {
  const [half, unlike] = [await loadBase(halved), await loadBase(other)];
  expect(base.identity).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(half.identity).toBe(base.identity);
  expect(half.fingerprint).not.toBe(base.fingerprint);
  expect(unlike.identity).not.toBe(base.identity);
  expect(await identityAt(halved)).toBe(base.identity);
  await writeTinyModel(at("deeper"), { overrides: { vocab_size: 1024, rope_theta: 20000 } });
  expect(await identityAt(at("deeper"))).not.toBe(base.identity);
});

test("gains that are all one number identify nothing", async () => {
  await writeTinyModel(at("ones"), {
    edit: (weights) => {
      for (const [name, weight] of weights)
        if (name.includes("norm")) weights.set(name, { ...weight, data: weight.data.map(() => 1) });
    },
  });
  expect((await loadBase(at("ones"))).identity).toBeUndefined();
});

test("loading takes an adapter of another quantisation, not of another model, and an old one as before", async () => {
  const saved = JSON.parse(await readFile(join(adapter, "adapter_config.json"), "utf8"));
  expect(saved).toMatchObject({ base_fingerprint: base.fingerprint, base_identity: base.identity });
  const load = ({ config, fingerprint, identity }: LoadedModel, from = adapter) =>
    loadAdapter(from, { shapes: toLayerShapes(config), fingerprint, identity });
  const half = await loadBase(halved);
  expect((await load(half)).tensors).toEqual((await load(base)).tensors);
  await expect(load(await loadBase(other))).rejects.toThrow(REFUSAL);
  await cp(adapter, at("old/acme"), { recursive: true });
  const { base_identity: _, ...old } = saved;
  await writeFile(at("old/acme/adapter_config.json"), JSON.stringify(old));
  await load(base, at("old/acme"));
  await expect(load(half, at("old/acme"))).rejects.toThrow(REFUSAL);
});

/** Fields of config.json that change no weight. */
const OTHER_FUNCTIONS: readonly (readonly [string, object, RegExp])[] = [
  ["a window", { model_type: "mistral", sliding_window: 8 }, /has sliding_window none, this base has 8;/],
  ["an activation", { hidden_act: "relu" }, /has activation "silu", this base has "relu"/],
  ["an epsilon", { rms_norm_eps: 1e-3 }, /has norm_epsilon 0.00001, this base has 0.001/],
  [
    "a scale",
    { model_type: "granite", attention_multiplier: 0.25 },
    /has attention_scale 0.5, this base has 0.25/,
  ],
  [
    "a linear rope",
    { rope_scaling: { rope_type: "linear", factor: 4 } },
    /has rope_frequencies\[0\] 1, this base has 0.25/,
  ],
  [
    "YaRN",
    { rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 16 } },
    /has rope_frequencies\[\d\] .* this base has/,
  ],
  [
    "dynamic scaling",
    { rope_scaling: { rope_type: "dynamic", factor: 2 } },
    /has rope_original_positions none, this base has 128/,
  ],
];

/** A copy of the model with other fields in its config.json. */
async function changed(name: string, fields: object): Promise<string> {
  await cp(model, at(name), { recursive: true });
  const json = JSON.parse(await readFile(join(model, "config.json"), "utf8"));
  await writeFile(
    at(`${name}/config.json`),
    JSON.stringify({ ...json, architectures: undefined, ...fields }),
  );
  return at(name);
}

test.each(OTHER_FUNCTIONS)("%s makes another base of the same weights", async (name, fields, message) => {
  const { config, fingerprint, identity } = await loadBase(await changed(name, fields));
  expect(fingerprint).toBe(base.fingerprint);
  const refusal = { code: "bad_adapter", message: expect.stringMatching(message) };
  await expect(
    loadAdapter(adapter, { shapes: toLayerShapes(config), fingerprint, identity }),
  ).rejects.toMatchObject(refusal);
});

test("an engine, a merge and an import refuse an adapter of such a base", async () => {
  const windowed = await changed("windowed", { model_type: "mistral", sliding_window: 8 });
  const message = /was trained on another base: model has sliding_window none, this base has 8/;
  await using engine = await openEngine({ inProcess: true, model: windowed, adapters: { acme: adapter } });
  expect(engine.refusedAdapters()).toMatchObject([{ name: "acme", reason: expect.stringMatching(message) }]);
  const merging = mergeAdapter({ model: windowed, adapter, out: at("windowed-merged") });
  await expect(merging.next()).rejects.toThrow(message);
  const imported = { folder: adapter, model: windowed, out: at("windowed-imported") };
  await expect(importAdapter(imported)).rejects.toThrow(message);
});

test("the rule of a rope and the list of its factors are one function, in float32 too", () => {
  const llama3 = {
    kind: "llama3",
    theta: 10000,
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalMaxPositions: 256,
  } as const;
  const rotaryDim = base.config.headDim;
  const of = (rope: RopeConfig) => ropeFrequencies({ rope, rotaryDim });
  const plain = of({ kind: "default", theta: 10000 });
  const factors = of(llama3).map((frequency, i) => Math.fround(plain[i]! / frequency));
  const [rule, list] = [llama3, { kind: "factors", theta: 10000, factor: 1, factors } as const].map((rope) =>
    toLayerShapes({ ...base.config, rope, normEpsilon: 1e-5 }),
  );
  const saved = { name: "model", fingerprint: undefined, identity: undefined, decoder: rule!.decoder };
  expect(() => checkDecoder("acme", saved, list!.decoder)).not.toThrow();
  expect(() => checkDecoder("acme", saved, toLayerShapes(base.config).decoder)).toThrow(/rope_frequencies/);
});

test("an engine says for each of its adapters what it was trained on", async () => {
  await using engine = await openEngine({ inProcess: true, model: halved, adapters: { acme: adapter } });
  expect(engine.adapters()).toMatchObject([{ name: "acme", trainedOn }]);
  await using own = await openEngine({ inProcess: true, model, adapters: { acme: adapter } });
  expect(own.adapters()[0]).not.toHaveProperty("trainedOn");
});

test("an engine and generate say which adapter has learnt other token ids", async () => {
  const old = at("other-ids");
  await cp(adapter, old, { recursive: true });
  const file = join(old, "adapter_config.json");
  const saved = JSON.parse(await readFile(file, "utf8"));
  await writeFile(file, JSON.stringify({ ...saved, base_tokens: "sha256:other" }));
  await using engine = await openEngine({ inProcess: true, model, adapters: { acme: adapter, old } });
  expect(engine.adapters()).toMatchObject([
    { name: "acme" },
    { name: "old", trainedOn: { ...trainedOn, sameNumbers: true, otherTokens: true } },
  ]);
  expect(engine.adapters()[0]).not.toHaveProperty("trainedOn");
  const said = await mos([
    "generate",
    "--model",
    model,
    "--adapter",
    old,
    "--prompt",
    "Hello",
    "--max-tokens",
    "2",
  ]);
  expect(said.stderr).toMatch(/other-ids: trained with token ids that differ from this base's.*retrain it/);
});

test("merge, export and import say it", async () => {
  const events = [];
  for await (const event of mergeAdapter({ model: halved, adapter, out: at("merged") })) events.push(event);
  expect(events).toContainEqual({ type: "trainedOn", base: trainedOn });
  const out = at("acme-peft");
  expect(await exportAdapter({ adapter, model: halved, format: "peft", out })).toMatchObject({ trainedOn });
  expect(await exportAdapter({ adapter, model, format: "peft", out, overwrite: true })).not.toHaveProperty(
    "trainedOn",
  );
  const imported = { folder: adapter, model: halved, out: at("imported") };
  expect(await importAdapter(imported)).toMatchObject({ trainedOn });
  // from now on it is an adapter of that file
  const { fingerprint, identity, config } = await loadBase(halved);
  await loadAdapter(at("imported"), { shapes: toLayerShapes(config), fingerprint });
  expect(await readFile(at("imported/adapter_config.json"), "utf8")).toContain(identity);
  await expect(exportAdapter({ adapter, model: other, format: "peft", out: at("x") })).rejects.toThrow(
    REFUSAL,
  );
});

test("mos generate says it once, on stderr or as a field", async () => {
  const prompt = ["--prompt", "Hello", "--max-tokens", "2"];
  const shown = await mos(["generate", "--model", halved, "--adapter", adapter, ...prompt]);
  expect(shown.code, shown.stderr).toBe(0);
  expect(shown.stderr.match(new RegExp(NOTICE, "g"))).toHaveLength(1);
  const { stdout, stderr } = await mos([
    "generate",
    "--model",
    halved,
    "--adapter",
    adapter,
    ...prompt,
    "--json",
  ]);
  expect(JSON.parse(stdout)).toMatchObject({ answers: [{ adapter }], trainedOn });
  expect(stderr).toBe("");
});
