import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MosError } from "#common";
import { poolingFromFolder, poolingFromGguf } from "./load-text.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-pooling-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let count = 0;
async function readFiles(files: Readonly<Record<string, unknown>>): Promise<string> {
  const model = join(folder, String(count++));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(model, name)), { recursive: true });
    await writeFile(join(model, name), JSON.stringify(content));
  }
  const found = await poolingFromFolder(model);
  return found instanceof MosError ? `${found.code}: ${found.message}` : found;
}

/** As Qwen3-Embedding has it, and as sentence-transformers 6 writes it. */
const before6 = ["Transformer", "Pooling", "Normalize"].map((name, i) => ({
  idx: i,
  name: String(i),
  path: i === 0 ? "" : `${i}_${name}`,
  type: `sentence_transformers.models.${name}`,
}));
const since6 = [
  { path: "", type: "sentence_transformers.base.modules.transformer.Transformer" },
  { path: "1_Pooling", type: "sentence_transformers.sentence_transformer.modules.pooling.Pooling" },
  { path: "2_Normalize", type: "sentence_transformers.base.modules.normalize.Normalize" },
];
const flags = (...modes: readonly string[]) => ({
  word_embedding_dimension: 1024,
  ...Object.fromEntries(
    ["cls_token", "mean_tokens", "max_tokens", "lasttoken"].map((mode) => [
      `pooling_mode_${mode}`,
      modes.includes(mode),
    ]),
  ),
  include_prompt: true,
});
const withPooling = (pooling: unknown, modules: unknown = before6) => ({
  "modules.json": modules,
  "1_Pooling/config.json": pooling,
});

describe("a folder", () => {
  test.each([
    ["no modules.json", {}, "last"],
    ["the last token", withPooling(flags("lasttoken")), "last"],
    ["the mean", withPooling(flags("mean_tokens")), "mean"],
    ["the mean in version 6", withPooling({ pooling_mode: "mean" }, since6), "mean"],
    ["the last token in version 6", withPooling({ pooling_mode: "lasttoken" }, since6), "last"],
    [
      "a text configuration",
      { ...withPooling(flags("mean_tokens")), "sentence_bert_config.json": { max_seq_length: 512 } },
      "mean",
    ],
  ])("with %s", async (_, files, pooling) => expect(await readFiles(files)).toBe(pooling));

  test.each([
    [
      "the first token",
      withPooling(flags("cls_token")),
      /^unsupported: .*1_Pooling\/config.json: .*pooling_mode_cls_token/,
    ],
    [
      "two poolings",
      withPooling(flags("mean_tokens", "lasttoken")),
      /pooling_mode_mean_tokens with pooling_mode_lasttoken/,
    ],
    ["two poolings in version 6", withPooling({ pooling_mode: ["mean", "max"] }, since6), /mean with max/],
    ["a pooling of no mode", withPooling(flags()), /of no mode/],
    [
      "a dense layer, as EmbeddingGemma",
      withPooling(flags("mean_tokens"), [
        ...before6,
        { path: "2_Dense", type: "sentence_transformers.models.Dense" },
      ]),
      /type Dense/,
    ],
    [
      "no pooling",
      { "modules.json": before6.slice(0, 1) },
      /no module of the type Transformer or none of the type Pooling/,
    ],
    [
      "a pooling elsewhere",
      withPooling(flags("lasttoken"), [before6[0], { path: "../1_Pooling", type: "Pooling" }]),
      /"..\/1_Pooling" is not the name of a folder/,
    ],
    [
      "texts in a chat template",
      {
        ...withPooling({ pooling_mode: "mean" }, since6),
        "sentence_bert_config.json": { modality_config: { text: {}, message: {} } },
      },
      /modality_config has "message"/,
    ],
    ["a missing file", { "modules.json": before6 }, /1_Pooling/],
    ["a broken file", { "modules.json": {} }, /^bad_model: .*modules.json/],
  ])("with %s cannot embed", async (_, files, message) => expect(await readFiles(files)).toMatch(message));
});

test("a GGUF file has llama.cpp's pooling", () => {
  const pooling = (type: unknown) =>
    poolingFromGguf({ "general.architecture": "qwen3", "qwen3.pooling_type": type });
  expect([undefined, 0, 1, 3].map(pooling)).toEqual(["last", "last", "mean", "last"]);
  for (const type of [2, 4, "mean"]) {
    const found = pooling(type);
    expect(found instanceof MosError && found.message).toMatch(`qwen3.pooling_type ${type} is not supported`);
  }
});
