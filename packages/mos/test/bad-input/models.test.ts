// Model folders that are broken, lie, or are of another kind, as `mos train` and `mos generate` meet them.

import { copyFile, mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeSafetensors } from "mixture-of-shards-core/files";
import { loadModel } from "mixture-of-shards-core/models";
import { afterAll, beforeAll, describe, test } from "vitest";
import { writeTinyFolder } from "../../../core/test/tiny-folder.ts";
import {
  asTensors,
  type TinyModelOptions,
  tinyConfigJson,
  writeTinyModel,
} from "../../../core/test/tiny-model.ts";
import { expectError, expectRefusal } from "./run-mos.ts";

let folder: string;
let data: string;
let model: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bad-model-"));
  ({ model, data } = await writeTinyFolder(folder));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const overrides = { vocab_size: 1024, max_position_embeddings: 128, bos_token_id: 0, eos_token_id: 2 };

/** A copy of the good folder; `options` makes its weights and config anew. */
async function modelFolder(name: string, options: TinyModelOptions = {}): Promise<string> {
  const at = join(folder, name);
  await mkdir(at);
  await writeTinyModel(at, { ...options, overrides: { ...overrides, ...options.overrides } });
  for (const file of ["tokenizer.json", "tokenizer_config.json"])
    await copyFile(join(model, file), join(at, file));
  return at;
}

type Arrange = (at: string) => Promise<unknown>;
type Case = readonly [name: string, arrange: Arrange, message: RegExp];

const WEIGHTS = "model.safetensors";

/** The eight bytes of a header's length, the header, and the data as they are. */
const headerEdit =
  (
    edit: (header: Record<string, { dtype: string; shape: number[]; data_offsets: number[] }>) => unknown,
  ): Arrange =>
  async (at) => {
    const bytes = await readFile(join(at, WEIGHTS));
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
    const { __metadata__, ...tensors } = header;
    const edited = edit(tensors) ?? { __metadata__, ...tensors };
    const text = Buffer.from(typeof edited === "string" ? edited : JSON.stringify(edited));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    await writeFile(join(at, WEIGHTS), Buffer.concat([size, text, bytes.subarray(8 + length)]));
  };

const bytesEdit =
  (edit: (bytes: Buffer) => Uint8Array | undefined): Arrange =>
  async (at) => {
    const bytes = await readFile(join(at, WEIGHTS));
    await writeFile(join(at, WEIGHTS), edit(bytes) ?? bytes);
  };

const withLength = (length: bigint): Arrange =>
  bytesEdit((bytes) => {
    bytes.writeBigUInt64LE(length, 0);
    return undefined;
  });

const Q = "model.layers.0.self_attn.q_proj.weight";
const weightEdit =
  (value: number): NonNullable<TinyModelOptions["edit"]> =>
  (weights) => {
    weights.get(Q)!.data[7] = value;
  };

const safetensorsCases: readonly Case[] = [
  [
    "cut short",
    bytesEdit((bytes) => bytes.subarray(0, bytes.length - 100)),
    /the tensors end at byte \d+, but the file has \d+; it is cut short/,
  ],
  [
    "cut within the header",
    bytesEdit((bytes) => bytes.subarray(0, 200)),
    /the header claims \d+ bytes, but the file has 200/,
  ],
  ["of five bytes", bytesEdit((bytes) => bytes.subarray(0, 5)), /5 bytes are too few/],
  ["empty", bytesEdit(() => new Uint8Array()), /0 bytes are too few/],
  [
    "with more bytes than its tensors",
    bytesEdit((bytes) => Buffer.concat([bytes, Buffer.alloc(4)])),
    /the tensors end at byte/,
  ],
  ["whose header claims a terabyte", withLength(1n << 40n), /the header claims 1099511627776 bytes/],
  ["whose header's length is -1", withLength(0xffff_ffff_ffff_ffffn), /the header claims \d+ bytes, but/],
  [
    "whose header ends just behind the file",
    async (at) => {
      const { length } = await readFile(join(at, WEIGHTS));
      await withLength(BigInt(length - 7))(at);
    },
    /the header claims/,
  ],
  ["whose header is not JSON", headerEdit(() => '{"a": '), /model\.safetensors: header: not valid JSON/],
  ["whose header is a list", headerEdit(() => "[]"), /expected an object with dtype/],
  [
    "with a tensor beyond the data",
    headerEdit((tensors) => {
      tensors[Q]!.data_offsets = [10_000_000, 10_001_024];
    }),
    /begins at byte/,
  ],
  [
    "with tensors that overlap",
    headerEdit((tensors) => {
      tensors[Q]!.data_offsets = [0, 1024];
    }),
    /overlap|gap/,
  ],
  [
    "with offsets that run backwards",
    headerEdit((tensors) => {
      tensors[Q]!.data_offsets = [1024, 0];
    }),
    /takes 1024 bytes, but the offsets span -1024/,
  ],
  [
    "of a type that is not known",
    headerEdit((tensors) => {
      tensors[Q]!.dtype = "F4";
    }),
    /q_proj\.weight" has the unknown type F4; known types are/,
  ],
  [
    "of whole numbers",
    headerEdit((tensors) => {
      tensors[Q]!.dtype = "I32";
    }),
    /has type I32; expected F32, F16 or BF16/,
  ],
  [
    "with a huge shape",
    headerEdit((tensors) => {
      tensors[Q]!.shape = [2 ** 40, 2 ** 40];
    }),
    /takes .* bytes, but the offsets span 1024/,
  ],
  [
    "with a shape that the config does not have",
    headerEdit((tensors) => {
      tensors[Q]!.shape = [8, 32];
    }),
    /q_proj\.weight has the shape \[8, 32\], the config implies \[16, 16\]/,
  ],
  [
    "with a tensor under another name",
    headerEdit((tensors) => {
      const { [Q]: moved, ...others } = tensors;
      return { ...others, "model.layers.0.self_attn.query.weight": moved };
    }),
    /the weight model\.layers\.0\.self_attn\.q_proj\.weight \[16, 16\] is missing/,
  ],
];

const configEdit =
  (change: Readonly<Record<string, unknown>>): Arrange =>
  (at) =>
    writeFile(join(at, "config.json"), JSON.stringify({ ...tinyConfigJson, ...overrides, ...change }));

const configCases: readonly Case[] = [
  ["is missing", (at) => rm(join(at, "config.json")), /no config\.json and no \.gguf file/],
  [
    "is broken",
    (at) => writeFile(join(at, "config.json"), '{"model_type": "llama", '),
    /config\.json: not valid JSON/,
  ],
  ["is empty", (at) => writeFile(join(at, "config.json"), ""), /config\.json: /],
  [
    "is a list",
    (at) => writeFile(join(at, "config.json"), "[]"),
    /config\.json: this is a list; expected an object/,
  ],
  [
    "is UTF-16",
    (at) => writeFile(join(at, "config.json"), Buffer.of(0xff, 0xfe, 0x7b)),
    /the text is UTF-16; save it as UTF-8/,
  ],
  [
    "has a text for a number",
    configEdit({ hidden_size: "16" }),
    /field "hidden_size" is "16"; expected a number/,
  ],
  [
    "lacks a size",
    configEdit({ num_hidden_layers: undefined }),
    /field "num_hidden_layers" is missing; expected a number/,
  ],
  [
    "has no layers",
    configEdit({ num_hidden_layers: 0 }),
    /config\.json: num_hidden_layers is 0; expected a whole number from 1 to/,
  ],
  [
    "has a billion layers",
    configEdit({ num_hidden_layers: 1e9 }),
    /num_hidden_layers" is 1000000000; expected at most 1024/,
  ],
  [
    "has more layers than the weights",
    configEdit({ num_hidden_layers: 3 }),
    /model\.layers\.2\.\S+ \[16\] is missing/,
  ],
  ["has a negative width", configEdit({ hidden_size: -16 }), /hidden_size is -16/],
  [
    "has heads that do not divide",
    configEdit({ num_key_value_heads: 3 }),
    /4 heads cannot share 3 key-value heads/,
  ],
  [
    "says nothing of the kind",
    configEdit({ model_type: undefined, architectures: undefined }),
    /neither model_type nor architectures/,
  ],
  [
    "is of GPT-2",
    configEdit({ model_type: "gpt2", architectures: ["GPT2LMHeadModel"] }),
    /type "gpt2" are not supported; supported are qwen3_5_text, .*llama/,
  ],
  [
    "is of Qwen3's experts",
    configEdit({ model_type: "qwen3_moe", architectures: ["Qwen3MoeForCausalLM"] }),
    /type "qwen3_moe" are not supported/,
  ],
  [
    "is of Gemma",
    configEdit({ model_type: "gemma", architectures: ["GemmaForCausalLM"] }),
    /type "gemma" are not supported/,
  ],
  [
    "is of a classifier",
    configEdit({ architectures: ["LlamaForSequenceClassification"] }),
    /LlamaForSequenceClassification/,
  ],
  [
    "has an empty sliding window",
    configEdit({ model_type: "mistral", architectures: ["MistralForCausalLM"], sliding_window: 0 }),
    /sliding_window is 0; expected a whole number of at least 1/,
  ],
  [
    "has proportional scaling",
    configEdit({ rope_scaling: { rope_type: "proportional", factor: 4 } }),
    /rope scaling of the type "proportional" is not supported; supported are default, linear, dynamic, yarn, longrope and llama3/,
  ],
  ["has scaling without a factor", configEdit({ rope_scaling: { rope_type: "linear" } }), /lacks factor/],
  [
    "is quantised",
    configEdit({ quantization_config: { quant_method: "gptq" } }),
    /quantised weights \(quantization_config\)/,
  ],
  ["has another activation", configEdit({ hidden_act: "mish" }), /hidden_act "mish"/],
  [
    "has a token outside the vocabulary",
    configEdit({ eos_token_id: 5000 }),
    /_token_id 5000 is outside the vocabulary of 1024/,
  ],
];

const tokenizerEdit =
  (edit: (json: { model: Record<string, unknown> }) => unknown): Arrange =>
  async (at) => {
    const json = JSON.parse(await readFile(join(at, "tokenizer.json"), "utf8"));
    await writeFile(join(at, "tokenizer.json"), JSON.stringify(edit(json) ?? json));
  };

const otherCases: readonly Case[] = [
  [
    "no weights",
    (at) => rm(join(at, WEIGHTS)),
    /found neither model\.safetensors nor model\.safetensors\.index\.json/,
  ],
  [
    "pickled weights",
    async (at) => {
      await rm(join(at, WEIGHTS));
      await writeFile(join(at, "pytorch_model.bin"), "x");
    },
    /pytorch_model\.bin is a Python pickle/,
  ],
  ["no tokenizer", (at) => rm(join(at, "tokenizer.json")), /tokenizer\.json/],
  [
    "a broken tokenizer",
    (at) => writeFile(join(at, "tokenizer.json"), '{"model": {'),
    /tokenizer\.json: not valid JSON/,
  ],
  ["a tokenizer without a model", tokenizerEdit(() => ({ version: "1.0" })), /tokenizer\.json/],
  [
    "a tokenizer of an unknown kind",
    tokenizerEdit((json) => {
      json.model["type"] = "Mystery";
    }),
    /tokenizer\.json.*Mystery/,
  ],
  [
    "a tokenizer whose vocabulary is a number",
    tokenizerEdit((json) => {
      json.model["vocab"] = 3;
    }),
    /tokenizer\.json/,
  ],
  [
    "a broken tokenizer_config.json",
    (at) => writeFile(join(at, "tokenizer_config.json"), "{"),
    /tokenizer_config\.json/,
  ],
  [
    "a chat template that does not parse",
    (at) => writeFile(join(at, "chat_template.jinja"), "{% for m in messages %}"),
    /chat_template\.jinja/,
  ],
  [
    "a broken generation_config.json",
    (at) => writeFile(join(at, "generation_config.json"), '{"eos_token_id": "x"}'),
    /generation_config\.json/,
  ],
];

/** Cuts the weights into two shards, with an index. */
const inShards =
  (change: (index: { weight_map: Record<string, string> }, at: string) => unknown): Arrange =>
  async (at) => {
    const { weights } = await writeTinyModel(at, { overrides });
    await rm(join(at, WEIGHTS));
    const entries = [...weights];
    const shards = { "a.safetensors": entries.slice(0, 5), "b.safetensors": entries.slice(5) };
    const index = { weight_map: {} as Record<string, string> };
    for (const [name, part] of Object.entries(shards)) {
      await writeSafetensors(join(at, name), asTensors(new Map(part)));
      for (const [weight] of part) index.weight_map[weight] = name;
    }
    const changed = (await change(index, at)) ?? index;
    await writeFile(
      join(at, "model.safetensors.index.json"),
      typeof changed === "string" ? changed : JSON.stringify(changed),
    );
  };

const indexCases: readonly Case[] = [
  [
    "a missing shard",
    inShards((_, at) => rm(join(at, "b.safetensors"))),
    /b\.safetensors: the index names this shard, but it is missing/,
  ],
  [
    "an index that points outside",
    inShards((index) => {
      index.weight_map[Q] = "../model/model.safetensors";
    }),
    /the index says that \S+ is in "\.\.\/model\/model\.safetensors"; expected a \.safetensors file of this folder/,
  ],
  [
    "an index with an absolute path",
    inShards((index) => {
      index.weight_map[Q] = "/etc/passwd";
    }),
    /the index says that \S+ is in "\/etc\/passwd"/,
  ],
  [
    "an index that names the wrong shard",
    inShards((index) => {
      index.weight_map[Q] = "b.safetensors";
    }),
    /the index says that \S+ is in b\.safetensors, but it is not/,
  ],
  ["an index without a map", inShards(() => ({})), /field "weight_map" is missing/],
  ["an index that is broken", inShards(() => "{"), /index\.json: not valid JSON/],
];

let count = 0;
const check = async (arrange: Arrange, message: RegExp, options: TinyModelOptions = {}): Promise<void> => {
  const at = await modelFolder(`model-${count++}`, options);
  await arrange(at);
  await expectError(() => loadModel(at), message);
  // some show how commands say it
  if (count % 12 === 1) {
    const run = ["--data", data, "--out", join(folder, "out"), "--max-length", "64"];
    for (const args of [
      ["train", "--model", at, ...run],
      ["generate", "--model", at, "--prompt", "Hi"],
    ])
      await expectRefusal(args, { code: 1, message, untouched: folder });
  }
  await rm(at, { recursive: true });
};

describe("safetensors", () => {
  test.each(safetensorsCases)("%s", async (_, arrange, message) => check(arrange, message));
  test.each([
    ["NaN", Number.NaN],
    ["Infinity", Number.POSITIVE_INFINITY],
  ])("with the weight %s", (name, value) =>
    check(
      async () => undefined,
      new RegExp(`q_proj\\.weight holds the value ${name} at 7; the file is damaged`),
      { edit: weightEdit(value) },
    ),
  );
  test("of a gigantic size, without reading it", async () =>
    check(async (at) => {
      await using file = await open(join(at, WEIGHTS), "r+");
      await file.truncate(2 ** 36); // sparse
    }, /the tensors end at byte/));
});
describe("config.json", () => {
  test.each(configCases)("%s", async (_, arrange, message) => check(arrange, message));
});
describe("a model with", () => {
  test.each([...otherCases, ...indexCases])("%s", async (_, arrange, message) => check(arrange, message));
});
