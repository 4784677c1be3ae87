import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openSafetensors, type WritableTensor, writeSafetensors } from "#files";
import { LINEAR_NAMES } from "#models";
import { randomAdapter } from "../../test/random-adapter.ts";
import { type Adapter, createAdapter } from "./adapter.ts";
import { type AdapterConfigInput, parseAdapterConfig } from "./adapter-settings.ts";
import { loadAdapter } from "./folder.ts";
import { saveAdapter, writeAdapterFiles } from "./folder-files.ts";
import type { LayerShapes } from "./method.ts";

const shapes: LayerShapes = {
  layers: 2,
  widths: { q_proj: { in: 8, out: 8 }, v_proj: { in: 8, out: 4 } },
};
const base = { name: "tiny", fingerprint: "sha256:0123456789abcdef" };
const CONFIG = "adapter_config.json";
const MODEL = "adapter_model.safetensors";
const MOS = {
  method: "mos",
  rank: 3,
  equivalentRank: 2,
  shardsPerVector: 2,
  privateRank: 1,
  targets: ["q_proj", "v_proj"],
} as const satisfies AdapterConfigInput;
const SUBSET = {
  method: "subset-selection",
  rank: 3,
  equivalentRank: 2,
  targets: ["q_proj", "v_proj"],
} as const;
const SCALED = { method: "random-scaling", rank: 4, targets: ["q_proj", "v_proj"] } as const;
const LORA = { method: "lora", rank: 2, targets: ["q_proj", "v_proj"] } as const satisfies AdapterConfigInput;

/** An adapter whose numbers are all random. */
const trained = (settings: AdapterConfigInput, shape = shapes): Adapter =>
  randomAdapter(settings, shape, { seed: 9 });

let folder = "";
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), "adapter-")), "acme");
});
afterEach(() => rm(join(folder, ".."), { recursive: true, force: true }));

const save = (settings: AdapterConfigInput): Promise<void> =>
  saveAdapter(folder, trained(settings), { base });
const load = (): Promise<Adapter> => loadAdapter(folder, { shapes, fingerprint: base.fingerprint });

async function editConfig(fields: Readonly<Record<string, unknown>>): Promise<void> {
  const path = join(folder, CONFIG);
  const before: object = JSON.parse(await readFile(path, "utf8"));
  await writeFile(path, JSON.stringify({ ...before, ...fields }));
}

/** Writes the tensors anew after `edit` has changed them. */
async function editTensors(edit: (tensors: Map<string, WritableTensor>) => void): Promise<void> {
  const path = join(folder, MODEL);
  const tensors = new Map<string, WritableTensor>();
  {
    await using file = await openSafetensors(path);
    for (const [name, { dtype, shape }] of file.tensors)
      tensors.set(
        name,
        dtype === "I32"
          ? { dtype, shape, data: await file.readInt32(name) }
          : { dtype: "F32", shape, data: await file.readFloat32(name) },
      );
  }
  edit(tensors);
  await writeSafetensors(path, Object.fromEntries(tensors), { format: "pt" });
}

const put = (name: string, values: Readonly<Record<number, number>>): Promise<void> =>
  editTensors((tensors) => {
    const data = tensors.get(`base_model.model.${name}`)!.data;
    for (const [at, value] of Object.entries(values)) data[Number(at)] = value;
  });

/** The load fails with this code and exactly this message; FOLDER, CONFIG and MODEL stand for the paths. */
async function expectRefusal(code: string, message: string): Promise<void> {
  const full = message
    .replace(/^CONFIG/, join(folder, CONFIG))
    .replace(/^MODEL/, join(folder, MODEL))
    .replace(/^FOLDER/, folder);
  await expect(load()).rejects.toThrowError(expect.objectContaining({ code, message: full }));
}

const lacking = (name: string): string =>
  `MODEL: tensor base_model.model.${name} is missing; the adapter may be for a base of another shape`;
const broken = (name: string, what: string): string =>
  `MODEL: base_model.model.${name}: ${what}, so the file is damaged; save the adapter again`;

describe("adapter_config.json", () => {
  test.each<[string, Readonly<Record<string, unknown>>, string, string]>([
    [
      "unknown method",
      { peft_type: "VERA" },
      "unsupported",
      'peft_type "VERA" is not supported; it can be LORA, MOS, PURE_SHARING, RANDOM_SCALING, SUBSET_SELECTION, VERA_BY_TYPE, TIED_LORA, PROLORA, LORA_XS or UNILORA_BY_SEED',
    ],
    [
      "peft_type absent",
      { peft_type: undefined },
      "bad_adapter",
      'field "peft_type" is missing; expected a string',
    ],
    [
      "a later format",
      { format: 2 },
      "unsupported",
      "format 2 comes from another version of this program; this one reads format 1",
    ],
    [
      "a setting absent",
      { private_rank: undefined },
      "bad_adapter",
      'field "private_rank" is missing; save the adapter again',
    ],
    ["rank as text", { r: "3" }, "bad_adapter", 'field "r" is "3"; expected a number'],
    ["rank 0", { r: 0 }, "bad_adapter", "r 0 is invalid; give a whole number from 1 to 4096"],
    [
      "private rank −1",
      { private_rank: -1 },
      "bad_adapter",
      "private_rank -1 is invalid; give a whole number from 0 to 4096",
    ],
    [
      "private rank above the budget",
      { private_rank: 3 },
      "bad_adapter",
      "private rank 3 is more than the equivalent rank 2; a layer cannot own more than its budget. Use a private rank of 0 to 2",
    ],
    [
      "shards that do not divide",
      { shards_per_vector: 3 },
      "bad_adapter",
      "q_proj: its d_in of 8 does not split into 3 shards; shards per vector can be 1, 2, 4 for these targets",
    ],
    ["dropout 1", { lora_dropout: 1 }, "bad_adapter", 'field "lora_dropout" is 1; expected less than 1'],
    [
      "a target that Llama lacks",
      { target_modules: ["q_proj", "c_attn"] },
      "bad_adapter",
      `target_modules.1 "c_attn" is invalid; give one of ${LINEAR_NAMES.join(", ")}`,
    ],
    [
      "a target that this base lacks",
      { target_modules: ["o_proj"] },
      "bad_adapter",
      "targets: this model has no o_proj; it has q_proj, v_proj",
    ],
    [
      "a pattern of targets",
      { target_modules: ".*_proj" },
      "unsupported",
      "target_modules is a pattern; convert the folder with mos import",
    ],
    [
      "fingerprint and format absent",
      { base_fingerprint: undefined, format: undefined },
      "bad_adapter",
      'field "base_fingerprint" is missing, so its base is unknown; save the adapter again',
    ],
    [
      "fingerprint absent",
      { base_fingerprint: undefined },
      "bad_adapter",
      'field "base_fingerprint" is missing, so its base is unknown; save the adapter again',
    ],
  ])("%s", async (_, fields, code, message) => {
    await save(MOS);
    await editConfig(fields);
    await expectRefusal(code, `CONFIG: ${message}`);
  });

  test("a missing seed is an error only where a part is drawn from it", async () => {
    const settings = { method: "vera", rank: 3, seed: 7, targets: ["q_proj", "v_proj"] } as const;
    await save(settings);
    expect((await load()).tensors.get("q_proj.A")).toEqual(
      createAdapter(parseAdapterConfig(settings), shapes).tensors.get("q_proj.A"),
    );
    await editConfig({ seed: undefined });
    await expectRefusal(
      "bad_adapter",
      'CONFIG: field "seed", from which a part of the adapter is generated, is missing; save the adapter again',
    );
    await save(MOS);
    await editConfig({ seed: undefined });
    expect((await load()).tensors).toEqual(trained(MOS).tensors);
  });

  test("no config, no JSON, no object, too much of it", async () => {
    await save(MOS);
    await writeFile(join(folder, CONFIG), '{"peft_type": "MOS"');
    await expect(load()).rejects.toThrowError(
      expect.objectContaining({
        code: "bad_adapter",
        message: expect.stringContaining(`${CONFIG}: not valid JSON (`),
      }),
    );
    await writeFile(join(folder, CONFIG), "[]");
    await expectRefusal("bad_adapter", "CONFIG: this is a list; expected an object");
    await writeFile(join(folder, CONFIG), `{"target_modules": [${"1,".repeat(2000)}1]}`);
    await expectRefusal(
      "bad_adapter",
      'CONFIG: field "target_modules" has 2001 entries; at most 2000 are read',
    );
    await truncate(join(folder, CONFIG), 2 ** 30);
    await expectRefusal("bad_adapter", "CONFIG: the file has 1073741824 bytes; the limit is 262144");
    await rm(join(folder, CONFIG));
    await expectRefusal("not_found", `FOLDER: no adapter here (there is no ${CONFIG})`);
    await rm(folder, { recursive: true });
    await expectRefusal("not_found", `FOLDER: no adapter here (there is no ${CONFIG})`);
  });

  test("another base", async () => {
    await save(MOS);
    await editConfig({ base_fingerprint: "sha256:fedcba9876543210" });
    await expectRefusal(
      "bad_adapter",
      "FOLDER was trained on another base: tiny (sha256:fedcba987654…), this one is sha256:0123456789ab…; use the base it was trained on",
    );
  });
});

describe("adapter_model.safetensors", () => {
  test("is missing, or is a pickle", async () => {
    await save(MOS);
    await rm(join(folder, MODEL));
    await expectRefusal("not_found", `FOLDER: ${MODEL} is missing`);
    await writeFile(join(folder, "adapter_model.bin"), "");
    await expectRefusal(
      "not_found",
      `FOLDER: ${MODEL} is missing; adapter_model.bin may contain code and is never read: load it with torch.load(…, weights_only=True) and save it with safetensors.torch.save_file`,
    );
  });

  test("is cut short: at the front, in the header, in the data", async () => {
    for (const [length, message] of [
      [5, "5 bytes are too few for a safetensors file; download it again"],
      [100, "it is cut short or not a safetensors file"],
      [1000, "it is cut short or damaged; download it again"],
    ] as const) {
      await save(MOS);
      await truncate(join(folder, MODEL), length);
      await expect(load()).rejects.toThrowError(
        expect.objectContaining({ code: "bad_adapter", message: expect.stringContaining(message) }),
      );
    }
  });

  test.each<[string, AdapterConfigInput, string]>([
    ["a pool", MOS, "q_proj.B_pool"],
    ["a table", MOS, "v_proj.I_b"],
    ["a table of pairs", SUBSET, "v_proj.I"],
    ["the scales", SCALED, "q_proj.scale"],
    ["a layer's A", LORA, "model.layers.1.self_attn.v_proj.lora_A.weight"],
  ])("%s is missing", async (_, settings, name) => {
    await save(settings);
    await editTensors((tensors) => tensors.delete(`base_model.model.${name}`));
    await expectRefusal("bad_adapter", lacking(name));
  });

  test.each([MOS, LORA, SUBSET, SCALED])("a tensor too many ($method)", async (settings) => {
    await save(settings);
    await editTensors((tensors) =>
      tensors.set("lm_head.weight", { dtype: "F32", shape: [1], data: Float32Array.of(1) }),
    );
    await expectRefusal("bad_adapter", "MODEL: tensor lm_head.weight is not part of such an adapter");
  });

  test("was made for a base of other widths, or of more layers", async () => {
    await saveAdapter(
      folder,
      trained(MOS, { ...shapes, widths: { q_proj: { in: 16, out: 8 }, v_proj: { in: 16, out: 4 } } }),
      { base },
    );
    await expectRefusal(
      "bad_adapter",
      "MODEL: tensor base_model.model.q_proj.A_pool has shape [8, 8], but this base and these settings need [8, 4]",
    );
    await saveAdapter(folder, trained(MOS, { ...shapes, layers: 3 }), { base });
    await expectRefusal(
      "bad_adapter",
      "MODEL: tensor base_model.model.q_proj.A_pool has shape [12, 4], but this base and these settings need [8, 4]",
    );
    await saveAdapter(folder, trained(LORA, { ...shapes, layers: 3 }), { base });
    await expectRefusal(
      "bad_adapter",
      "MODEL: tensor base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight is not part of such an adapter",
    );
  });

  test("a rank in the config that the tensors do not have", async () => {
    await save(LORA);
    await editConfig({ r: 3 });
    await expectRefusal(
      "bad_adapter",
      "MODEL: tensor base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight has shape [2, 8], but this base and these settings need [3, 8]",
    );
  });

  // L 2 · e 2 · p 1 · l 2: rows 0 to 3 are shared, 4 and 5 belong to layer 0, 6 and 7 to layer 1; six places a layer
  test.each<[string, Readonly<Record<number, number>>, string]>([
    ["an index out of range", { 0: 8 }, "layer 0 uses shared shard 8, but there are 4"],
    ["a negative index", { 7: -1 }, "layer 1 uses shared shard -1, but there are 4"],
    [
      "the largest index there is",
      { 6: 2 ** 31 - 1 },
      "layer 1 uses shared shard 2147483647, but there are 4",
    ],
    ["a private shard in a shared place", { 1: 4 }, "layer 0 uses shared shard 4, but there are 4"],
    ["the same shard twice", { 6: 2, 7: 2, 8: 1, 9: 0 }, "layer 1 uses a shared shard twice"],
    ["another layer's private shard", { 10: 4 }, "layer 1 uses shard 4 where its own should be"],
    ["its own shards in another order", { 4: 5, 5: 4 }, "layer 0 uses shard 5 where its own should be"],
  ])("%s", async (_, values, message) => {
    await save(MOS);
    await put("v_proj.I_a", values);
    await expectRefusal("bad_adapter", broken("v_proj.I_a", message));
  });

  // L 2 · e 2: four pairs, of which each layer uses three
  test.each<[string, Readonly<Record<number, number>>, string]>([
    ["a pair out of range", { 0: 4 }, "layer 0 uses pair 4, but there are 4"],
    ["a negative pair", { 5: -1 }, "layer 1 uses pair -1, but there are 4"],
    ["the largest pair there is", { 3: 2 ** 31 - 1 }, "layer 1 uses pair 2147483647, but there are 4"],
    ["the same pair twice", { 0: 2, 1: 1, 2: 2 }, "layer 0 uses a pair twice"],
  ])("subset selection: %s", async (_, values, message) => {
    await save(SUBSET);
    await put("v_proj.I", values);
    await expectRefusal("bad_adapter", broken("v_proj.I", message));
  });

  test.each<[string, AdapterConfigInput, string, readonly number[], string]>([
    ["fewer pairs", SUBSET, "q_proj.I", [2, 2], "[2, 3]"],
    ["one layer's pairs", SUBSET, "q_proj.I", [1, 3], "[2, 3]"],
    ["a flat table", SUBSET, "v_proj.I", [6], "[2, 3]"],
    ["the scales of one layer", SCALED, "q_proj.scale", [1, 4], "[2, 4]"],
    ["turned scales", SCALED, "v_proj.scale", [4, 2], "[2, 4]"],
  ])("a frozen tensor of another shape: %s", async (_, settings, name, shape, needed) => {
    await save(settings);
    const full = `base_model.model.${name}`;
    await editTensors((tensors) => {
      const tensor = tensors.get(full)!;
      const length = shape.reduce((a, b) => a * b, 1);
      tensors.set(full, { ...tensor, shape, data: tensor.data.slice(0, length) } as WritableTensor);
    });
    await expectRefusal(
      "bad_adapter",
      `MODEL: tensor ${full} has shape [${shape.join(", ")}], but this base and these settings need ${needed}`,
    );
  });

  test("another budget or rank than the tensors have", async () => {
    await save(SUBSET);
    await editConfig({ equivalent_rank: 3 });
    await expect(load()).rejects.toThrowError(/q_proj\.A has shape \[4, 8\], .* need \[6, 8\]/);
    await editConfig({ equivalent_rank: 1 });
    await expectRefusal(
      "bad_adapter",
      "CONFIG: rank 3 is more than the 2 shared pairs of 2 layers × equivalent rank 1; use a rank of at most 2",
    );
    await save(SCALED);
    await editConfig({ scale_deviation: -1 });
    await expectRefusal("bad_adapter", "CONFIG: scale_deviation -1 is invalid; give a number from 0 to 1000");
  });

  test("two routings where the config says that there is one", async () => {
    await save({ ...MOS, pairDissociation: false });
    await put("q_proj.I_b", { 0: 0, 1: 1, 2: 2, 3: 3 });
    await put("q_proj.I_a", { 0: 0, 1: 1, 2: 3, 3: 2 });
    await expectRefusal(
      "bad_adapter",
      broken("q_proj.I_b", "entry 2 is 2, but A's table has 3, and pair_dissociation is false"),
    );
  });

  test.each<[AdapterConfigInput, string, number]>([
    [MOS, "q_proj.A_pool", Number.NaN],
    [MOS, "v_proj.B_pool", Number.POSITIVE_INFINITY],
    [LORA, "model.layers.0.self_attn.q_proj.lora_B.weight", Number.NEGATIVE_INFINITY],
    [SCALED, "v_proj.scale", Number.NaN],
    [SUBSET, "q_proj.B", Number.POSITIVE_INFINITY],
  ])("%o: a number of %s is %d", async (settings, name, value) => {
    await save(settings);
    await put(name, { 5: value });
    await expectRefusal("bad_adapter", broken(name, `value 5 is ${value}`));
  });

  test("tables of floats, pools of integers", async () => {
    await save(MOS);
    const name = "base_model.model.q_proj.I_a";
    await editTensors((tensors) => {
      const { shape, data } = tensors.get(name)!;
      tensors.set(name, { dtype: "F32", shape, data: Float32Array.from(data) });
    });
    await expectRefusal("unsupported", `MODEL: tensor "${name}" has type F32; expected I32 or I64`);
    await save(MOS);
    const pool = "base_model.model.q_proj.A_pool";
    await editTensors((tensors) => {
      const { shape, data } = tensors.get(pool)!;
      tensors.set(pool, { dtype: "I32", shape, data: Int32Array.from(data) });
    });
    await expectRefusal("unsupported", `MODEL: tensor "${pool}" has type I32; expected F32, F16 or BF16`);
  });
});

describe("saving", () => {
  const cyclic = (): Adapter => {
    const adapter = trained(MOS);
    const [name, tensor] = [...adapter.tensors].at(-1)!;
    return { ...adapter, tensors: new Map([...adapter.tensors, [name, { ...tensor, shape: [1] }]]) };
  };

  test("a failure inside leaves the folder that was there, and nothing else", async () => {
    await save(MOS);
    const before = await Promise.all([CONFIG, MODEL].map((name) => readFile(join(folder, name))));
    await writeFile(join(folder, "notes.txt"), "kept");
    await expect(saveAdapter(folder, cyclic(), { base })).rejects.toThrowError(
      expect.objectContaining({
        code: "bad_config",
        message: 'tensor "base_model.model.v_proj.I_b" of shape [1] needs 1 values, but has 12',
      }),
    );
    expect(await Promise.all([CONFIG, MODEL].map((name) => readFile(join(folder, name))))).toEqual(before);
    expect(await readdir(join(folder, ".."))).toEqual(["acme"]);
    expect((await readdir(folder)).sort()).toEqual([CONFIG, MODEL, "notes.txt"]);
  });

  test("a failure where nothing was leaves nothing", async () => {
    await expect(saveAdapter(folder, cyclic(), { base })).rejects.toThrowError();
    expect(await readdir(join(folder, ".."))).toEqual([]);
  });

  test("takes the place of what was there", async () => {
    await save(LORA);
    await writeFile(join(folder, "old.txt"), "old");
    await save(MOS);
    expect((await load()).config.method).toBe("mos");
    expect((await readdir(folder)).sort()).toEqual([CONFIG, MODEL]);
    expect(await readdir(join(folder, ".."))).toEqual(["acme"]);
  });

  test("into a folder that holds other things: the config comes last", async () => {
    await mkdir(folder);
    await writeFile(join(folder, "metrics.jsonl"), "");
    await expect(writeAdapterFiles(folder, cyclic(), { base })).rejects.toThrowError();
    expect(await readdir(folder)).toEqual(["metrics.jsonl"]);
    // the name of the config is taken by a folder, so the last step fails: the tensors are there by then
    await mkdir(join(folder, CONFIG));
    await writeFile(join(folder, CONFIG, "in-the-way"), "");
    await expect(writeAdapterFiles(folder, trained(MOS), { base })).rejects.toThrowError(
      expect.objectContaining({ code: "storage" }),
    );
    expect((await readdir(folder)).sort()).toEqual([CONFIG, MODEL, "metrics.jsonl"]);
    await rm(join(folder, CONFIG), { recursive: true });
    await writeAdapterFiles(folder, trained(MOS), { base });
    expect((await load()).tensors).toEqual(trained(MOS).tensors);
    expect((await readdir(folder)).sort()).toEqual([CONFIG, MODEL, "metrics.jsonl"]);
  });

  test("the same adapter gives the same bytes", async () => {
    await save(MOS);
    const first = await readFile(join(folder, MODEL));
    await save(MOS);
    expect(await readFile(join(folder, MODEL))).toEqual(first);
  });

  test("a folder that a killed writer had moved aside is found again", async () => {
    await save(MOS);
    await rename(folder, join(folder, "..", ".acme.replaced"));
    expect((await load()).tensors).toEqual(trained(MOS).tensors);
  });
});

describe("a LoRA as PEFT saves it", () => {
  // what PEFT 0.19 writes for plain settings, without the fields that are ours
  const plain = {
    alora_invocation_tokens: null,
    alpha_pattern: {},
    arrow_config: null,
    auto_mapping: null,
    base_fingerprint: undefined,
    base_model_name_or_path: null,
    bias: "none",
    corda_config: null,
    eva_config: null,
    exclude_modules: null,
    fan_in_fan_out: false,
    format: undefined,
    inference_mode: true,
    init_lora_weights: true,
    layer_replication: null,
    layers_pattern: null,
    layers_to_transform: null,
    loftq_config: {},
    lora_bias: false,
    megatron_config: null,
    megatron_core: "megatron.core",
    modules_to_save: null,
    peft_version: "0.19.1",
    qalora_group_size: 16,
    rank_pattern: {},
    revision: null,
    seed: undefined,
    target_parameters: null,
    trainable_token_indices: null,
    use_dora: false,
    use_qalora: false,
    use_rslora: false,
  };

  test.each([
    ["names", ["v_proj", "q_proj"]],
    ["whole paths", [0, 1].flatMap((k) => ["q", "v"].map((x) => `model.layers.${k}.self_attn.${x}_proj`))],
  ])("loads, with targets as %s", async (_, target_modules) => {
    await save(LORA);
    await editConfig({ ...plain, target_modules });
    const adapter = await loadAdapter(folder, { shapes, fingerprint: "any" });
    expect(adapter.config).toEqual(parseAdapterConfig({ ...LORA }));
    expect(adapter.tensors).toEqual(trained(LORA).tensors);
  });

  test.each([false, "gaussian", "orthogonal", "eva", "mica"])("loads what began as %s", async (start) => {
    await save(LORA);
    await editConfig({ ...plain, init_lora_weights: start });
    const adapter = await loadAdapter(folder, { shapes, fingerprint: "any" });
    expect(adapter.tensors).toEqual(trained(LORA).tensors);
  });

  test("loads from half precision", async () => {
    await save(LORA);
    await editConfig(plain);
    await editTensors((tensors) => {
      for (const [name, { shape, data }] of tensors)
        tensors.set(name, { dtype: "BF16", shape, data: Float32Array.from(data) });
    });
    const adapter = await loadAdapter(folder, { shapes, fingerprint: "any" });
    for (const [name, { data }] of trained(LORA).tensors)
      adapter.tensors.get(name)!.data.forEach((value, i) => {
        expect(Math.abs(value - data[i]!)).toBeLessThanOrEqual(Math.abs(data[i]!) / 256);
      });
  });
});

test.each([CONFIG, MODEL])("nothing of a file that %s is a link to is in a message", async (name) => {
  await save(MOS);
  const secret = join(folder, "..", "secret");
  await writeFile(secret, `root:x:0:0:root:/root:/bin/bash\n${"x".repeat(100)}\n`);
  await rm(join(folder, name));
  await symlink(secret, join(folder, name));
  const { message } = await load().then(
    () => new Error("it was loaded"),
    (error: Error) => error,
  );
  expect(message).toMatch(
    name === CONFIG
      ? /adapter_config\.json: not valid JSON/
      : /the header claims 9007199254740991 bytes, but/,
  );
  // neither as text nor as the number that the first eight bytes are
  const first = Buffer.from("root:x:0").readBigUInt64LE();
  for (const part of ["root", "'r'", String(first), String(Number(first))])
    expect(message).not.toContain(part);
});
