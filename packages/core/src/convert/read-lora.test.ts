import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  createAdapter,
  expandFactors,
  IMPORTED_OPTIONS,
  methods,
  openAdapterFolder,
  parseAdapterConfig,
  REFUSED_OPTIONS,
} from "#adapters";
import { randomStream } from "#common";
import { type WritableTensor, writeSafetensors } from "#files";
import {
  COMMON_LINEARS,
  type LinearName,
  moduleKey,
  modulePath,
  parseHuggingFaceConfig,
  type TargetModule,
  toLayerShapes,
} from "#models";
import { startCpuTimer } from "../../../../test/cpu-time.ts";
import { type ImportSource, modulePatterns, readLora } from "./read-lora.ts";

const makeConfig = (fields: Readonly<Record<string, unknown>>) =>
  parseHuggingFaceConfig(
    {
      model_type: "llama",
      vocab_size: 16,
      hidden_size: 8,
      intermediate_size: 12,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      max_position_embeddings: 64,
      rms_norm_eps: 1e-5,
      tie_word_embeddings: false,
      ...fields,
    },
    "config.json",
  );
const model = makeConfig({});
const shapes = toLayerShapes(model);
const makeTargets = (linears: readonly LinearName[]): readonly TargetModule[] =>
  linears.flatMap((linear) => [0, 1].map((layer) => ({ layer, linear })));

let root: string;
let folder: string;
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mos-read-lora-"));
});
beforeEach(async () => {
  folder = join(root, String(count++));
  await mkdir(folder);
});
afterAll(() => rm(root, { recursive: true, force: true }));

const plain = {
  peft_type: "LORA",
  r: 2,
  lora_alpha: 6,
  lora_dropout: 0.1,
  target_modules: ["q_proj", "v_proj"],
  bias: "none",
  fan_in_fan_out: false,
  init_lora_weights: true,
  task_type: "CAUSAL_LM",
};

type Tensors = Record<string, WritableTensor>;
const tensorName = (target: TargetModule, side: string): string =>
  `base_model.model.${modulePath(target)}.lora_${side}.weight`;

/** Random factors of the sites, of rank 2 unless told otherwise. */
function factors(
  places: readonly TargetModule[],
  {
    siteRank = () => 2,
    name = tensorName,
  }: { siteRank?: (target: TargetModule) => number; name?: typeof tensorName } = {},
): Tensors {
  const tensors: Tensors = {};
  for (const target of places) {
    const { in: width, out } = shapes.widths[target.linear]!;
    const rank = siteRank(target);
    const random = randomStream(1, moduleKey(target));
    const draw = (shape: readonly number[]): WritableTensor => ({
      dtype: "F32",
      shape,
      data: Float32Array.from({ length: shape[0]! * shape[1]! }, () => random.normal()),
    });
    tensors[name(target, "A")] = draw([rank, width]);
    tensors[name(target, "B")] = draw([out, rank]);
  }
  return tensors;
}

async function save(fields: Readonly<Record<string, unknown>>, tensors: Tensors): Promise<void> {
  await writeFile(join(folder, "adapter_config.json"), JSON.stringify({ ...plain, ...fields }));
  await writeSafetensors(join(folder, "adapter_model.safetensors"), tensors, { format: "pt" });
}
const read = (from: ImportSource = "peft") => readLora(folder, { model, from });

/** Scale of each site by what was read: folded B beside the B of the file, times the adapter's own scale. */
async function readScales(given: Tensors): Promise<Readonly<Record<string, number>>> {
  const { adapter, alpha } = await read();
  const { rank, targets } = adapter.config;
  const found: Record<string, number> = {};
  for (const target of makeTargets(targets)) {
    const stored = given[tensorName(target, "B")];
    if (stored === undefined) continue;
    const own = adapter.tensors.get(`${target.linear}.${target.layer}.B`)!.data;
    found[moduleKey(target)] = ((own[0]! / stored.data[0]!) * alpha) / rank;
  }
  return found;
}

describe("what is read", () => {
  const both = makeTargets(["q_proj", "v_proj"]);

  test("rank, alpha, dropout, targets", async () => {
    const tensors = factors(both);
    await save({ base_model_name_or_path: "org/base" }, tensors);
    const lora = await read();
    const settings = { rank: 2, alpha: 6, dropout: 0.1, targets: ["q_proj", "v_proj"] };
    expect(lora.adapter.config).toEqual(parseAdapterConfig({ method: "lora", ...settings }));
    expect(lora).toMatchObject({ base: { name: "org/base" }, padded: [], folded: [], absent: [] });
    for (const target of both)
      for (const side of ["A", "B"])
        expect(lora.adapter.tensors.get(`${target.linear}.${target.layer}.${side}`)?.data).toEqual(
          tensors[tensorName(target, side)]!.data,
        );
  });

  test.each<[string, Readonly<Record<string, unknown>>, readonly TargetModule[]]>([
    ["full paths", { target_modules: both.map(modulePath) }, both],
    ["a pattern", { target_modules: ".*\\.(q|v)_proj" }, both],
    ["no list at all", { target_modules: null }, both],
    ["all-linear", { target_modules: "all-linear" }, makeTargets(COMMON_LINEARS)],
    [
      "all but one",
      { target_modules: "all-linear", exclude_modules: ["layers.1.mlp.up_proj"] },
      makeTargets(COMMON_LINEARS).filter((target) => moduleKey(target) !== "1.up_proj"),
    ],
    ["one layer", { layers_to_transform: 1 }, both.filter(({ layer }) => layer === 1)],
    [
      "listed layers",
      { layers_to_transform: [0], layers_pattern: "layers" },
      both.filter(({ layer }) => layer === 0),
    ],
    [
      "full paths, which are meant whatever the layers",
      { target_modules: ["model.layers.1.self_attn.q_proj", "v_proj"], layers_to_transform: [0] },
      [
        { layer: 1, linear: "q_proj" },
        { layer: 0, linear: "v_proj" },
      ],
    ],
    ["another name of layers", { layers_to_transform: [0], layers_pattern: ["h"] }, both.slice(0, 3)],
  ])("targets as %s", async (_, fields, places) => {
    await save(fields, factors(places));
    const { adapter, absent } = await read();
    const kept = makeTargets(adapter.config.targets)
      .map(moduleKey)
      .filter((key) => !absent.includes(key));
    expect(kept.sort()).toEqual(places.map(moduleKey).sort());
  });

  test("rank_pattern and alpha_pattern: the first key that fits, else r and lora_alpha", async () => {
    const siteRank = ({ layer, linear }: TargetModule): number =>
      linear === "v_proj" ? 3 : layer === 1 ? 4 : 2;
    const tensors = factors(both, { siteRank });
    await save(
      {
        rank_pattern: { "layers.1.self_attn.q_proj": 4, v_proj: 3 },
        alpha_pattern: { "^model\\.layers\\.0\\.self_attn\\.q_proj": 9, q_proj: 10 },
      },
      tensors,
    );
    const { adapter, padded, folded } = await read();
    expect(adapter.config).toMatchObject({ rank: 4, alpha: 8 }); // v_proj's 6 / 3, of which there are two
    expect(padded).toEqual(["0.q_proj", "0.v_proj", "1.v_proj"]);
    expect(folded).toEqual(["0.q_proj", "1.q_proj"]);
    const scales = await readScales(tensors);
    expect(scales["0.q_proj"]).toBeCloseTo(9 / 2, 5);
    expect(scales["1.q_proj"]).toBeCloseTo(10 / 4, 5);
    expect(scales["0.v_proj"]).toBeCloseTo(6 / 3, 5);
  });

  test("use_rslora scales by alpha / √r of each site", async () => {
    const tensors = factors(both, { siteRank: ({ linear }) => (linear === "v_proj" ? 3 : 2) });
    await save({ use_rslora: true, rank_pattern: { v_proj: 3 } }, tensors);
    const scales = await readScales(tensors);
    expect(scales["0.q_proj"]).toBeCloseTo(6 / Math.SQRT2, 5);
    expect(scales["1.v_proj"]).toBeCloseTo(6 / Math.sqrt(3), 5);
  });

  test.each(["F16", "BF16"] as const)("numbers in %s", async (dtype) => {
    const tensors = factors(both);
    const halves = Object.entries(tensors).map(([name, tensor]) => [name, { ...tensor, dtype }]);
    await save({}, Object.fromEntries(halves));
    const { adapter } = await read();
    const [own, given] = [adapter.tensors.get("q_proj.0.A")!.data, tensors[tensorName(both[0]!, "A")]!.data];
    own.forEach((value, i) => {
      expect(Math.abs(value - given[i]!)).toBeLessThanOrEqual(Math.abs(given[i]!) / 128);
    });
  });

  test.each([false, "gaussian", "orthogonal", "eva", "mica"])("what began as %s", async (start) => {
    await save({ init_lora_weights: start }, factors(both));
    expect((await read()).adapter.config).toMatchObject({ rank: 2, alpha: 6 });
  });

  test("an adapter's name in the tensors' names", async () => {
    const name = (target: TargetModule, side: string) =>
      `base_model.model.${modulePath(target)}.lora_${side}.default.weight`;
    await save({}, factors(both, { name }));
    expect((await read()).adapter.tensors).toEqual((await saved(factors(both))).adapter.tensors);
  });
  const saved = async (tensors: Tensors) => {
    await save({}, tensors);
    return read();
  };
});

describe("what the code of the authors of MoS saves", () => {
  test("an expanded LoRA, whose rank is the tensors' own", async () => {
    await save(
      { r: 64, target_modules: ["k_proj"] },
      factors(makeTargets(["k_proj"]), { siteRank: () => 3 }),
    );
    expect((await read("mos-official")).adapter.config).toMatchObject({ rank: 3, alpha: 6 });
    await expect(read("peft")).rejects.toThrowError("has rank 3, adapter_config.json says 64");
  });

  test("pools with masks expand as this package's own MoS does", async () => {
    const settings = { ...methods.mos.example, targets: ["k_proj", "down_proj"] as const };
    const adapter = createAdapter(parseAdapterConfig(settings), shapes);
    const { rank, shardsPerVector: l } = methods.mos.example;
    const tensors: Tensors = {};
    for (const linear of settings.targets) {
      const get = (name: string) => adapter.tensors.get(`${linear}.${name}`)!;
      const random = randomStream(2, linear);
      const poolB = get("B_pool").data as Float32Array;
      poolB.set(poolB.map(() => random.normal()));
      const [rows, width] = get("B_pool").shape as [number, number];
      for (const layer of [0, 1]) {
        const path = `base_model.model.${modulePath({ layer, linear })}`;
        const mask = (name: string): WritableTensor => ({
          dtype: "I32",
          shape: [rank * l],
          data: (get(name).data as Int32Array).slice(layer * rank * l, (layer + 1) * rank * l),
        });
        const ones: WritableTensor = { dtype: "F32", shape: [rank], data: new Float32Array(rank).fill(1) };
        tensors[`${path}.lora_A.weight`] = {
          dtype: "F32",
          shape: get("A_pool").shape,
          data: get("A_pool").data as Float32Array,
        };
        tensors[`${path}.lora_B.weight`] = {
          dtype: "F32",
          shape: [width, rows],
          data: Float32Array.from(
            { length: rows * width },
            (_, i) => poolB[(i % rows) * width + Math.floor(i / rows)]!,
          ),
        };
        tensors[`${path}.lora_pair_mask`] = mask("I_a");
        tensors[`${path}.lora_pair_mask_B`] = mask("I_b");
        tensors[`${path}.lora_A_vec`] = { ...ones, data: ones.data.map(() => 2) as Float32Array };
        tensors[`${path}.lora_A_anti_vec`] = { ...ones, data: ones.data.map(() => 0.5) as Float32Array };
      }
    }
    await save({ r: rank, lora_alpha: 16, target_modules: [...settings.targets] }, tensors);
    const lora = await read("mos-official");
    const [expected, found] = [await expandFactors(adapter), await expandFactors(lora.adapter)];
    expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [key, site] of expected) expect(found.get(key)).toEqual(site);
    await expect(read("peft")).rejects.toThrowError("add --from mos-official");

    const mask = tensors[`base_model.model.${modulePath({ layer: 1, linear: "k_proj" })}.lora_pair_mask`]!;
    mask.data[1] = 99;
    await save({ r: rank, target_modules: [...settings.targets] }, tensors);
    await expect(read("mos-official")).rejects.toThrowError(
      /lora_pair_mask: entry 1 is 99, but the pool has \d+ chunks/,
    );
  });
});

test("masks do not make a large adapter of a small file", async () => {
  const wide = makeConfig({
    hidden_size: 16_384,
    num_hidden_layers: 8,
    num_attention_heads: 128,
    num_key_value_heads: 8,
  });
  const pool = (shape: readonly number[]): WritableTensor => ({
    dtype: "F32",
    shape,
    data: new Float32Array(shape[0]! * shape[1]!),
  });
  const mask: WritableTensor = { dtype: "I32", shape: [4096], data: new Int32Array(4096) };
  const tensors: Tensors = {};
  for (let layer = 0; layer < 8; layer++) {
    const path = `base_model.model.${modulePath({ layer, linear: "k_proj" })}`;
    tensors[`${path}.lora_A.weight`] = pool([1, 16_384]);
    tensors[`${path}.lora_B.weight`] = pool([1024, 1]);
    tensors[`${path}.lora_pair_mask`] = mask;
    tensors[`${path}.lora_pair_mask_B`] = mask;
  }
  await save({ target_modules: ["k_proj"] }, tensors);
  await expect(readLora(folder, { model: wide, from: "mos-official" })).rejects.toThrowError(
    "its masks would expand the pools to 570425344 values; the limit for a file of this size is 268435456",
  );
});

describe("an option of PEFT that A, B and a scale cannot express", () => {
  const places = makeTargets(["q_proj", "v_proj"]);
  const open = async (): Promise<void> => {
    await using opened = await openAdapterFolder(folder);
    await opened.check({ shapes, fingerprint: undefined });
  };
  const given: Readonly<Record<string, readonly [unknown, string]>> = {
    use_dora: [true, "true: DoRA also trains magnitudes"],
    lora_bias: [true, "true: a plain LoRA cannot hold biases of B"],
    modules_to_save: [["lm_head"], '["lm_head"]: whole modules were also trained'],
    trainable_token_indices: [[1], "[1]: rows of the embedding"],
    target_parameters: [["experts"], '["experts"]: it adapts parameters'],
    layer_replication: [[[0, 2]], "[[0,2]]: it repeats layers"],
    alora_invocation_tokens: [[1], "[1]: it activates"],
    arrow_config: [{ top_k: 3 }, '{"top_k":3}: it chooses'],
    use_qalora: [true, "true: it pools the inputs of A"],
    use_bdlora: [{ blocks: 2 }, '{"blocks":2}: its factors are block-diagonal'],
    kasa_config: [{ beta: 1 }, '{"beta":1}: it changes the base'],
    monteclora_config: [{ draws: 2 }, '{"draws":2}: its factors are drawn'],
    megatron_config: [{ layers: 2 }, '{"layers":2}: its layers are Megatron layers'],
    fan_in_fan_out: [true, "true: its base stores transposed weights"],
  };
  const more: readonly (readonly [string, unknown, string])[] = [
    ["bias", "all", '"all": biases of the base'],
    ["bias", "lora_only", '"lora_only": biases of the base'],
    ["init_lora_weights", "pissa", '"pissa", an initialisation that changes the base'],
    ["init_lora_weights", "pissa_niter_4", '"pissa_niter_4", an initialisation that changes the base'],
    ["init_lora_weights", "loftq", '"loftq", an initialisation that changes the base'],
  ];

  test("is known to this test", () => {
    expect(Object.keys(given).toSorted()).toEqual(Object.keys(REFUSED_OPTIONS).toSorted());
  });

  test.each([...Object.entries(given).map(([name, [value, said]]) => [name, value, said] as const), ...more])(
    "%s %j is refused where the folder is opened and where it is imported",
    async (name, value, said) => {
      await save({ [name]: value }, factors(places));
      const refusal = expect.objectContaining({
        code: "unsupported",
        message: expect.stringContaining(`${join(folder, "adapter_config.json")}: ${name} is ${said}`),
      });
      await expect(open()).rejects.toThrowError(refusal);
      await expect(read()).rejects.toThrowError(refusal);
    },
  );

  test.each([
    ["use_rslora", true],
    ["rank_pattern", { q_proj: 2 }],
    ["alpha_pattern", { q_proj: 6 }],
    ["layers_to_transform", [0, 1]],
  ] as const)("%s %j is for mos import alone", async (name, value) => {
    expect(IMPORTED_OPTIONS).toContain(name);
    await save({ [name]: value }, factors(places));
    await expect(open()).rejects.toThrowError(
      `${name} is ${JSON.stringify(value)}; convert the folder with mos import`,
    );
    await expect(read()).resolves.toBeDefined();
  });
});

describe("what is refused, by name", () => {
  const places = makeTargets(["q_proj", "v_proj"]);
  test.each<[Readonly<Record<string, unknown>>, string]>([
    [{ peft_type: "LOHA" }, 'peft_type "LOHA" is not a LoRA'],
    [{ lora_alpha: 0 }, "lora_alpha is 0, so the adapter has no effect"],
    [{ lora_alpha: "6" }, 'field "lora_alpha" is "6"; expected a number'],
    [{ alpha_pattern: { "(a+)+": 3 } }, 'alpha_pattern: the pattern "(a+)+" is too complex'],
    [{ rank_pattern: { v_proj: 3 } }, "layers.0.self_attn.v_proj has rank 2, adapter_config.json says 3"],
    [
      { target_modules: ["q_proj"] },
      "layers.0.self_attn.v_proj has tensors, but adapter_config.json does not target it",
    ],
    [
      { target_modules: ["q_proj", "v_proj", "o_proj"] },
      "o_proj is targeted by adapter_config.json, but its tensors are missing",
    ],
  ])("%o", async (fields, message) => {
    await save(fields, factors(places));
    await expect(read()).rejects.toThrowError(message);
  });

  const one: WritableTensor = { dtype: "F32", shape: [1], data: Float32Array.of(1) };
  const path = "base_model.model.model.layers.0.self_attn.q_proj";
  test.each<[string, string]>([
    [`${path}.lora_magnitude_vector.weight`, "is a magnitude of DoRA"],
    [`${path}.lora_B.bias`, "is a bias of B"],
    ["base_model.model.model.embed_tokens.lora_embedding_A", "is part of a LoRA of the embedding"],
    ["base_model.model.model.embed_tokens.base_layer.weight", "is part of a LoRA of the embedding"],
    ["base_model.model.lm_head.lora_A.weight", "is part of a LoRA of the head; train again"],
    ["base_model.model.lm_head.base_layer.weight", "is part of a LoRA of the head; train again"],
    ["base_model.model.lm_head.weight", "is a whole module that was also trained"],
    [
      "base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.weight",
      "is not a factor of a linear layer of this base, which has q_proj, k_proj",
    ],
    [
      "base_model.model.model.layers.0.mlp.q_proj.lora_A.weight",
      "is not a factor of a linear layer of this base, which has q_proj, k_proj",
    ],
    [`${path.replace(".0.", ".7.")}.lora_A.weight`, "is for layer 7; this base has layers 0 to 1"],
    [`${path}.lora_A.other.weight`, "occurs under two names"],
    [`${path}.lora_A.\u001b[2J.weight`, "lora_A.\ufffd[2J.weight is not a factor"],
    [`${"x".repeat(300)}`, `tensor ${"x".repeat(200)}… is not a factor`],
    [`${path}.lora_C.weight`, "is not a factor of a linear layer of this base, which has q_proj, k_proj"],
  ])("a tensor %s", async (name, message) => {
    await save({}, { ...factors(places), [name]: one });
    await expect(read()).rejects.toThrowError(message);
  });

  test.each<[string, (tensors: Tensors) => void, string]>([
    [
      "half a pair",
      (tensors) => delete tensors[`${path}.lora_B.weight`],
      "self_attn.q_proj has no lora_B; the file is incomplete",
    ],
    [
      "another width",
      (tensors) => {
        tensors[`${path}.lora_A.weight`] = { ...one, shape: [1, 1] };
      },
      "lora_A.weight has shape [1, 1], but this base needs [rank, 8]",
    ],
    [
      "halves that do not fit",
      (tensors) => {
        tensors[`${path}.lora_B.weight`] = { ...one, shape: [8, 1], data: new Float32Array(8) };
      },
      "lora_B.weight has shape [8, 1], but this base and its A need [8, 2]",
    ],
    [
      "a number that is none",
      (tensors) => {
        tensors[`${path}.lora_B.weight`]!.data[3] = Number.NaN;
      },
      "lora_B.weight: value 3 is NaN",
    ],
    [
      "nothing",
      (tensors) => {
        for (const name of Object.keys(tensors)) delete tensors[name];
      },
      "the file has no tensors of a language model",
    ],
  ])("%s", async (_, edit, message) => {
    const tensors = factors(places);
    edit(tensors);
    await save({}, tensors);
    await expect(read()).rejects.toThrowError(
      expect.objectContaining({ code: "bad_adapter", message: expect.stringContaining(message) }),
    );
  });

  test("a config that is far too long", async () => {
    await save({ target_modules: ["x".repeat(1 << 20)] }, factors(places));
    await expect(read()).rejects.toThrowError("bytes; the limit is 262144");
  });

  test("a pickled file is never opened", async () => {
    await writeFile(join(folder, "adapter_config.json"), JSON.stringify(plain));
    await writeFile(join(folder, "adapter_model.bin"), "cos\nsystem\n");
    await expect(read()).rejects.toThrowError(
      "adapter_model.bin may contain code and is never read: load it with torch.load",
    );
  });
});

describe("patterns of module paths", () => {
  test("match as PEFT's do: the whole path, or its end after a dot", () => {
    const fits = (key: string, where: string) => modulePatterns([key], "here")[0]!(where);
    expect(fits("q_proj", "model.layers.0.self_attn.q_proj")).toBe(true);
    expect(fits("proj", "model.layers.0.self_attn.q_proj")).toBe(false);
    expect(fits("^model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_proj")).toBe(true);
    expect(fits("layers\\.\\d+\\.self_attn\\.(q|k)_proj", "model.layers.12.self_attn.k_proj")).toBe(true);
    expect(fits("self_attn", "model.layers.0.self_attn.q_proj")).toBe(false);
    const layers = Array.from({ length: 32 }, (_, i) => i).join("|");
    expect(fits(`layers\\.(${layers})\\.mlp\\.(up|down)_proj`, "model.layers.31.mlp.up_proj")).toBe(true);
    expect(fits(".*\\.layers\\.[0-9]{1,2}\\..*_proj", "model.layers.31.mlp.up_proj")).toBe(true);
  });

  test.each([
    ["alternatives that multiply", ["(.|.)".repeat(16)]],
    ["more names than a model has", Array.from({ length: 1025 }, (_, i) => `model.layers.${i}.mlp.up_proj`)],
    ["many that are slow together", Array.from({ length: 9 }, (_, i) => `.*.*.*${i}`)],
    ["a repeat from nothing, which JavaScript takes literally", ["a{,3}"]],
    ["a class that Python ends later", ["[]a]"]],
  ])("refused: %s", (_, keys) => {
    expect(() => modulePatterns(keys, "here")).toThrowError(/is too complex; list the names of the modules/);
  });

  test("no pattern keeps a matcher busy", () => {
    const path = `model.layers.0.${"a".repeat(40)}.q_proj`;
    fc.assert(
      fc.property(fc.stringMatching(/^[a.*+?()|\\dq_]{1,24}$/), (key) => {
        const spent = startCpuTimer();
        try {
          modulePatterns([key], "here")[0]!(path);
        } catch (error) {
          expect(error).toMatchObject({ code: "unsupported" });
        }
        expect(spent()).toBeLessThan(1000);
      }),
      { examples: [["(a+)+b"], [".*.*.*b"], ["(a|a)*b"], ["(a?)+b"], ["a)|(b"], ["("]] },
    );
  });
});
