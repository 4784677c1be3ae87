// Adapters that are broken or for another base, as `mos generate` meets them.

import { copyFile, cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AdapterConfigInput,
  createAdapter,
  loadAdapter,
  parseAdapterConfig,
  saveAdapter,
} from "mixture-of-shards-core/adapters";
import { openSafetensors, type WritableTensor, writeSafetensors } from "mixture-of-shards-core/files";
import { loadBase, toLayerShapes } from "mixture-of-shards-core/models";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writeTinyFolder } from "../../../core/test/tiny-folder.ts";
import { writeTinyModel } from "../../../core/test/tiny-model.ts";
import { expectError, expectRefusal, mos } from "./run-mos.ts";

let folder: string;
let model: string;
let adapter: string;
let base: ReturnType<typeof loadBase>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bad-adapter-"));
  const tiny = await writeTinyFolder(folder);
  model = tiny.model;
  base = loadBase(model);
  adapter = join(folder, "adapter");
  const trained = await mos([
    ...["train", "--model", model, "--data", tiny.data, "--out", adapter, "--rank", "3", "--quiet"],
    ...["--shards-per-vector", "2", "--max-length", "64", "--steps", "1", "--validation-split", "0"],
  ]);
  expect(trained).toEqual({ code: 0, stdout: "", stderr: "" });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Arrange = (at: string) => Promise<unknown>;

const CONFIG = "adapter_config.json";
const TENSORS = "adapter_model.safetensors";
const configEdit =
  (change: Readonly<Record<string, unknown>>): Arrange =>
  async (at) => {
    const config = JSON.parse(await readFile(join(at, CONFIG), "utf8"));
    await writeFile(join(at, CONFIG), JSON.stringify({ ...config, ...change }));
  };

type Tensors = Record<string, WritableTensor>;
/** Reads the tensors, lets them be changed, and writes them again. */
const tensorEdit =
  (edit: (tensors: Tensors) => Tensors | undefined): Arrange =>
  async (at) => {
    const tensors: Tensors = {};
    {
      await using file = await openSafetensors(join(at, TENSORS));
      for (const [name, { dtype, shape }] of file.tensors)
        tensors[name] =
          dtype === "I32"
            ? { dtype, shape, data: await file.readInt32(name) }
            : { dtype: "F32", shape, data: await file.readFloat32(name) };
    }
    await writeSafetensors(join(at, TENSORS), edit(tensors) ?? tensors);
  };

const POOL = "base_model.model.q_proj.A_pool";
const ZEROS = `sha256:${"0".repeat(64)}`;
const TABLE = "base_model.model.q_proj.I_a";
const numberEdit = (name: string, place: number, value: number): Arrange =>
  tensorEdit((tensors) => {
    tensors[name]!.data[place] = value;
    return undefined;
  });

const cases: readonly (readonly [string, Arrange, RegExp])[] = [
  ["no config", (at) => rm(join(at, CONFIG)), /no adapter here \(there is no adapter_config\.json\)/],
  ["no tensors", (at) => rm(join(at, TENSORS)), /adapter_model\.safetensors is missing/],
  [
    "a broken config",
    (at) => writeFile(join(at, CONFIG), '{"peft_type": "MOS",'),
    /adapter_config\.json: not valid JSON/,
  ],
  ["an empty config", (at) => writeFile(join(at, CONFIG), ""), /adapter_config\.json: /],
  [
    "a config that is a list",
    (at) => writeFile(join(at, CONFIG), "[1]"),
    /this is a list; expected an object/,
  ],
  [
    "an unknown peft_type",
    configEdit({ peft_type: "VERA" }),
    /peft_type "VERA" is not supported; it can be LORA, MOS, /,
  ],
  ["no peft_type", configEdit({ peft_type: undefined }), /field "peft_type" is missing; expected a string/],
  [
    "a rank of zero",
    configEdit({ r: 0 }),
    /adapter_config\.json: r 0 is invalid; give a whole number from 1/,
  ],
  ["a rank as text", configEdit({ r: "3" }), /field "r" is "3"; expected a number/],
  [
    "another rank",
    configEdit({ r: 2 }),
    /I_a has shape \[2, 6\], but this base and these settings need \[2, 4\]/,
  ],
  ["a huge rank", configEdit({ r: 4000 }), /rank 4000 needs .* shared ranks, but 2 layers/],
  [
    "shards that do not divide",
    configEdit({ shards_per_vector: 7 }),
    /does not split into 7 shards; shards per vector can be/,
  ],
  [
    "a field left out",
    configEdit({ private_rank: undefined }),
    /field "private_rank" is missing; save the adapter again/,
  ],
  ["a negative alpha", configEdit({ lora_alpha: -1 }), /alpha.* -1 is invalid; give a number above 0/],
  [
    "unknown target modules",
    configEdit({ target_modules: ["c_attn"] }),
    /c_attn.* is invalid; give one of q_proj/,
  ],
  ["no target modules", configEdit({ target_modules: [] }), /is invalid; give a list of one or more/],
  ["a later format", configEdit({ format: 99 }), /format 99 comes from another version/],
  [
    "another base",
    configEdit({ base_fingerprint: ZEROS, base_identity: ZEROS }),
    /was trained on another base: model \(sha256:0/,
  ],
  [
    "other numbers, without an identity",
    configEdit({ base_fingerprint: ZEROS, base_identity: undefined }),
    /was trained on another base: model \(sha256:0/,
  ],
  ["no fingerprint", configEdit({ base_fingerprint: undefined }), /field "base_fingerprint" is missing/],
  [
    "an index out of range",
    numberEdit(TABLE, 0, 4096),
    /I_a: layer 0 uses shared shard 4096, but there are 4/,
  ],
  ["a negative index", numberEdit(TABLE, 0, -1), /I_a: layer 0 uses shared shard -1, but/],
  [
    "an index used twice",
    tensorEdit((tensors) => {
      const { data } = tensors[TABLE]!;
      data[1] = data[0]!;
      return undefined;
    }),
    /I_a: layer 0 uses a shared shard twice/,
  ],
  ["another layer's private shard", numberEdit(TABLE, 5, 7), /where its own should be/],
  ["a pool with NaN", numberEdit(POOL, 3, Number.NaN), /A_pool: value 3 is NaN, so the file is damaged/],
  [
    "a pool with a number whose products overflow",
    numberEdit(POOL, 3, -1e38),
    /A_pool: value 3 is -9\.99\S+e\+37, and products overflow from 1e18/,
  ],
  ["a pool with infinity", numberEdit(POOL, 3, Number.NEGATIVE_INFINITY), /A_pool: value 3 is -Infinity/],
  ["a missing tensor", tensorEdit(({ [POOL]: _, ...others }) => others), /q_proj\.A_pool is missing/],
  [
    "a tensor too many",
    tensorEdit((tensors) => ({ ...tensors, extra: tensors[POOL]! })),
    /tensor extra is not part of such an adapter/,
  ],
  [
    "a pool of another width",
    tensorEdit((tensors) => ({
      ...tensors,
      [POOL]: { dtype: "F32", shape: [8, 4], data: new Float32Array(32) },
    })),
    /A_pool has shape \[8, 4\], but this base and these settings need \[8, 8\]/,
  ],
  [
    "a table of floats",
    tensorEdit((tensors) => ({
      ...tensors,
      [TABLE]: { dtype: "F32", shape: tensors[TABLE]!.shape, data: new Float32Array(12) },
    })),
    /has type F32; expected I32 or I64/,
  ],
  [
    "tensors cut short",
    async (at) => writeFile(join(at, TENSORS), (await readFile(join(at, TENSORS))).subarray(0, 4000)),
    /adapter_model\.safetensors: .*cut short/,
  ],
  [
    "tensors that are a text",
    (at) => writeFile(join(at, TENSORS), "hello, hello, hello"),
    /the header claims .* not a safetensors file/,
  ],
  [
    "tensors in a folder of that name",
    async (at) => {
      await rm(join(at, TENSORS));
      await cp(at, join(at, TENSORS), { recursive: true, filter: () => true }).catch(() => undefined);
    },
    /is missing|found a folder/,
  ],
  [
    "pickled tensors",
    async (at) => {
      await rm(join(at, TENSORS));
      await copyFile(join(at, CONFIG), join(at, "adapter_model.bin"));
    },
    /adapter_model\.bin may contain code and is never read/,
  ],
];

let count = 0;
const load = async (at: string): Promise<unknown> => {
  const { config, fingerprint, identity } = await base;
  return loadAdapter(at, { shapes: toLayerShapes(config), fingerprint, identity });
};
test.each(cases)("%s", async (_, arrange, message) => {
  const at = join(folder, `adapter-${count++}`);
  await cp(adapter, at, { recursive: true });
  await arrange(at);
  await expectError(() => load(at), message);
  // one for each file shows how a command says it
  if (count < 3)
    await expectRefusal(["generate", "--model", model, "--adapter", at, "--prompt", "Hi"], {
      code: 1,
      message,
      untouched: folder,
    });
  await rm(at, { recursive: true });
});

const PAIRS = "base_model.model.k_proj.I";
const SCALES = "base_model.model.k_proj.scale";
const otherCases: readonly (readonly [string, AdapterConfigInput, Arrange, RegExp])[] = [
  [
    "a pair out of range",
    { method: "subset-selection", rank: 3 },
    numberEdit(PAIRS, 0, 4),
    /k_proj\.I: layer 0 uses pair 4, but there are 4/,
  ],
  [
    "a pair used twice",
    { method: "subset-selection", rank: 3 },
    tensorEdit((tensors) => {
      const { data } = tensors[PAIRS]!;
      data[5] = data[3]!;
      return undefined;
    }),
    /k_proj\.I: layer 1 uses a pair twice, so the file is damaged/,
  ],
  [
    "a table for one layer",
    { method: "subset-selection", rank: 3 },
    tensorEdit((tensors) => ({
      ...tensors,
      [PAIRS]: { dtype: "I32", shape: [1, 3], data: Int32Array.of(0, 1, 2) },
    })),
    /k_proj\.I has shape \[1, 3\], but this base and these settings need \[2, 3\]/,
  ],
  [
    "a scale that is not a number",
    { method: "random-scaling", rank: 4 },
    numberEdit(SCALES, 2, Number.NaN),
    /k_proj\.scale: value 2 is NaN, so the file is damaged/,
  ],
  [
    "no scales",
    { method: "random-scaling", rank: 4 },
    tensorEdit(({ [SCALES]: _, ...others }) => others),
    /k_proj\.scale is missing/,
  ],
  ["no seed", { method: "vera", rank: 4 }, configEdit({ seed: undefined }), /field "seed", .*, is missing/],
  [
    "a rank of another adapter",
    { method: "prolora", rank: 4 },
    configEdit({ unshared_rank: 2 }),
    /A_unshared has shape \[1, 16\], but this base and these settings need \[2, 16\]/,
  ],
  [
    "a target that the method cannot have",
    { method: "tied-lora", rank: 2 },
    configEdit({ target_modules: ["q_proj", "up_proj"] }),
    /"up_proj" is invalid; give one of q_proj, k_proj, v_proj/,
  ],
];
test.each(otherCases)("%s", async (_, settings, arrange, message) => {
  const { config, fingerprint } = await base;
  const at = join(folder, `adapter-${count++}`);
  const made = createAdapter(parseAdapterConfig(settings), toLayerShapes(config));
  await saveAdapter(at, made, { base: { name: "model", fingerprint } });
  await arrange(at);
  await expectError(() => load(at), message);
  await rm(at, { recursive: true });
});

test("finite numbers that overflow in use", async () => {
  const { config, fingerprint } = await loadBase(model);
  const at = join(folder, "large");
  const made = createAdapter(parseAdapterConfig({ method: "lora", rank: 2 }), toLayerShapes(config));
  for (const { data } of made.tensors.values()) data.fill(9e17);
  await saveAdapter(at, made, { base: { name: "model", fingerprint } });
  const generate = ["generate", "--model", model, "--adapter", at, "--prompt", "Hi"];
  const message = /logits are NaN; its weights or the adapter are corrupt/;
  await expectRefusal(generate, { code: 1, message, untouched: folder });
  await rm(at, { recursive: true });
});

test("a base with other numbers", async () => {
  const other = join(folder, "other");
  await cp(model, other, { recursive: true });
  await writeTinyModel(other, {
    overrides: { vocab_size: 1024, max_position_embeddings: 128, bos_token_id: 0, eos_token_id: 2 },
    seed: 1,
  });
  const message = /was trained on another base: model \(sha256:.*use the base it was trained on/;
  await expectRefusal(["generate", "--model", other, "--adapter", adapter, "--prompt", "Hi"], {
    code: 1,
    message,
    untouched: folder,
  });
});
test("a folder that does not exist", async () => {
  await expectRefusal(["generate", "--model", model, "--adapter", join(folder, "none"), "--prompt", "Hi"], {
    code: 1,
    message: /none: no adapter here/,
    untouched: folder,
  });
});
test("a file in place of a folder", async () => {
  await expectRefusal(["generate", "--model", model, "--adapter", join(adapter, CONFIG), "--prompt", "Hi"], {
    code: 1,
    message: /adapter_config\.json: no adapter here|folder/,
    untouched: folder,
  });
});
