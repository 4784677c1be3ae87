// GGUF files that are broken or lie: each gives one clear error, and none a large allocation.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { openGguf } from "#files";
import { openModel } from "#models";
import { runs } from "../../../test/runs.ts";
import { type GgufInput, ggufBytes, type Typed, tinyGguf } from "./tiny-gguf.ts";
import { tinyModel } from "./tiny-model.ts";

const folder = mkdtempSync(join(tmpdir(), "mos-gguf-"));
const path = join(folder, "x.gguf");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const good = tinyGguf(tinyModel());
const bytes = ggufBytes(good);
const withKeys = (keys: Record<string, Typed | undefined>): GgufInput => ({
  ...good,
  metadata: Object.entries({ ...good.metadata, ...keys }).filter(
    (pair): pair is [string, Typed] => pair[1] !== undefined,
  ),
});
const withTensor = (index: number, change: object): GgufInput => ({
  ...good,
  tensors: good.tensors.map((tensor, i) => (i === index ? { ...tensor, ...change } : tensor)),
});
/** A header of Qwen 3.5. */
const qwen35 = (keys: Record<string, Typed>): GgufInput => ({
  ...good,
  metadata: {
    ...Object.fromEntries(
      Object.entries(good.metadata).map(([key, value]) => [key.replace("llama.", "qwen35."), value]),
    ),
    "general.architecture": ["string", "qwen35"],
    ...keys,
  },
});
/** The good file with a number overwritten `shift` bytes behind the first occurrence of a text. */
function patched(text: string, shift: number, value: bigint, width: 4 | 8 = 8): Buffer {
  const copy = Buffer.from(bytes);
  const position = copy.indexOf(text) + text.length + shift;
  if (width === 8) copy.writeBigUInt64LE(value, position);
  else copy.writeUInt32LE(Number(value), position);
  return copy;
}
const float = (x: number): Typed => ["float32", x];

test("every type of value is read, and 64-bit numbers become plain ones where they fit", async () => {
  writeFileSync(
    path,
    ggufBytes(
      withKeys({
        a: ["uint64", 2 ** 40],
        b: ["bool", true],
        c: float(0.5),
        d: ["strings", ["é", ""]],
        e: ["string", ""],
      }),
    ),
  );
  await using file = await openGguf(path);
  expect(file.metadata).toMatchObject({ a: 2 ** 40, b: true, c: 0.5, d: ["é", ""], e: "" });
  expect(file.tensors.get("blk.0.ffn_up.weight")).toMatchObject({ type: "F32", shape: [40, 16] });
});

test.each<[string, Uint8Array | GgufInput, RegExp, string?]>([
  ["an empty file", new Uint8Array(0), /not a GGUF file/],
  ["another kind of file", Buffer.from("PK".repeat(30)), /does not begin with "GGUF"/],
  ["version 1", { ...good, version: 1 }, /GGUF version 1; versions 2 and 3/, "unsupported"],
  ["big-endian", { ...good, version: 0x03000000 }, /big-endian/, "unsupported"],
  ["2⁶³ tensors", patched("GGUF", 4, 2n ** 63n), /number of tensors is 9223372036854775808/],
  ["2⁶³ keys", patched("GGUF", 12, 2n ** 63n), /number of keys is 9223372036854775808/],
  ["a million keys", patched("GGUF", 12, 1000000n), /claims 1000000 keys/],
  [
    "one tensor more than there is",
    { ...good, tensorCount: good.tensors.length + 1 },
    /claims|needs|is \d+; the limit|dimensions/,
  ],
  [
    "one key more than there is",
    { ...good, keyCount: Object.keys(good.metadata).length + 1 },
    /value type|needs|the limit is/,
  ],
  [
    "a string beyond the file",
    patched("general.architecture", 4, 60000n),
    /general.architecture (needs 60000 bytes|is 60000)/,
  ],
  [
    "a string of 2⁶⁰ bytes",
    patched("general.architecture", 4, 2n ** 60n),
    /length of general.architecture is 1152921504606846976/,
  ],
  [
    "a list longer than the file",
    patched("tokenizer.ggml.tokens", 8, 5000000n),
    /tokenizer.ggml.tokens claims 5000000 items/,
  ],
  [
    "a list of 2⁶⁰ items",
    patched("tokenizer.ggml.tokens", 8, 2n ** 60n),
    /length of tokenizer.ggml.tokens is/,
  ],
  [
    "a list of an unknown type",
    patched("tokenizer.ggml.tokens", 4, 77n, 4),
    /tokenizer.ggml.tokens has the unknown value type 77/,
  ],
  [
    "an unknown value type",
    patched("llama.block_count", 0, 99n, 4),
    /llama.block_count has the unknown value type 99/,
  ],
  [
    "a key twice",
    {
      ...good,
      metadata: [
        ["a", float(1)],
        ["a", float(2)],
      ],
    },
    /key "a" .* occurs twice/,
  ],
  ["a poisonous key", { ...good, metadata: [["__proto__", float(1)]] }, /key "__proto__"/],
  ["an alignment of 3", withKeys({ "general.alignment": ["uint32", 3] }), /general.alignment is 3/],
  [
    "an alignment of 2³¹",
    withKeys({ "general.alignment": ["uint32", 2 ** 31] }),
    /general.alignment is 2147483648/,
  ],
  [
    "nine dimensions",
    withTensor(0, { shape: [1, 1, 1, 1, 1, 1, 1, 1, 768] }),
    /"token_embd.weight" has 9 dimensions/,
  ],
  [
    "an impossible shape",
    withTensor(0, { shape: [2 ** 30, 2 ** 30] }),
    /impossible shape \[1073741824, 1073741824\]/,
  ],
  ["a shape larger than the file", withTensor(0, { shape: [4800, 16] }), /overlap|ends at byte/],
  [
    "an offset beyond the file",
    withTensor(20, { offset: 10000000 }),
    /"output.weight" ends at byte \d+, but the file has/,
  ],
  [
    "overlapping tensors",
    withTensor(1, { offset: 32 }),
    /"token_embd.weight" and "blk.0.attn_norm.weight" overlap/,
  ],
  ["a tensor twice", withTensor(1, { name: "token_embd.weight" }), /"token_embd.weight" occurs twice/],
  ["rows that do not fill blocks", withTensor(0, { type: 8 }), /rows of 16, but Q8_0 stores blocks of 32/],
  ["a cut file", bytes.subarray(0, bytes.length - 40), /"output.weight" ends at byte .* cut short/],
  [
    "a file cut in its header",
    bytes.subarray(0, 300),
    /(needs \d+ bytes at byte \d+, but the file ends at 300|claims \d+ items)/,
  ],
])("%s is refused", async (_, input, message, code = "bad_model") => {
  writeFileSync(path, input instanceof Uint8Array ? input : ggufBytes(input));
  await expect(openGguf(path)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
});

test("a type that cannot be read is refused by name", async () => {
  writeFileSync(path, ggufBytes(withTensor(2, { type: 16 })));
  await using file = await openGguf(path);
  const { name } = good.tensors[2]!;
  await expect(file.readFloat32(name)).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringMatching(/the unsupported type IQ2_XXS; supported types are F32, F16/),
  });
  await expect(file.readFloat32("none")).rejects.toMatchObject({ code: "bad_model" });
});

test.each<[string, GgufInput, RegExp, string?]>([
  [
    "experts by its name",
    withKeys({ "general.architecture": ["string", "qwen3moe"] }),
    /type "qwen3moe" are not supported; supported are qwen35, .*llama/,
    "unsupported",
  ],
  ["no architecture", withKeys({ "general.architecture": undefined }), /lacks general.architecture/],
  ["experts", withKeys({ "llama.expert_count": ["uint32", 8] }), /mixture-of-experts models/, "unsupported"],
  ["one part of several", withKeys({ "split.count": ["uint32", 3] }), /split GGUF/, "unsupported"],
  [
    "a rope by sections",
    withKeys({ "llama.rope.scaling.type": ["string", "mrope"] }),
    /"mrope"/,
    "unsupported",
  ],
  [
    "YaRN of its own turns",
    withKeys({
      "llama.rope.scaling.type": ["string", "yarn"],
      "llama.rope.scaling.factor": ["float32", 4],
      "llama.rope.scaling.yarn_beta_fast": ["float32", 8],
    }),
    /YaRN with rope\.scaling\.yarn_beta_fast 8 is not supported/,
    "unsupported",
  ],
  [
    "YaRN without a factor",
    withKeys({ "llama.rope.scaling.type": ["string", "yarn"] }),
    /lacks llama.rope.scaling.factor/,
  ],
  ["half rotation", withKeys({ "llama.rope.dimension_count": ["uint32", 2] }), /only 2 of 4/, "unsupported"],
  ["a missing width", withKeys({ "llama.embedding_length": undefined }), /lacks llama.embedding_length/],
  [
    "a width that is text",
    withKeys({ "llama.block_count": ["string", "two"] }),
    /llama.block_count is "two"; expected a number/,
  ],
  [
    "zero heads",
    withKeys({ "llama.attention.head_count": ["uint32", 0] }),
    /x\.gguf: llama\.attention\.head_count is 0/,
  ],
  [
    "far too many layers",
    qwen35({ "qwen35.block_count": ["uint32", 1e8] }),
    /x\.gguf: qwen35\.block_count is 100000000; expected a whole number from 1 to 1024/,
  ],
  [
    "kinds of fewer layers",
    qwen35({ "qwen35.attention.recurrent_layers": ["numbers", [1]] }),
    /x\.gguf: qwen35\.attention\.recurrent_layers must have 2 entries/,
  ],
  [
    "another number of layers",
    withKeys({ "llama.block_count": ["uint32", 3] }),
    /model.layers.2.input_layernorm.weight .* is missing/,
  ],
  [
    "fewer layers",
    withKeys({ "llama.block_count": ["uint32", 1] }),
    /blk.1.\S+ does not belong to this model/,
  ],
  [
    "another vocabulary",
    withKeys({ "tokenizer.ggml.tokens": ["strings", ["a", "b", "c"]] }),
    /embed_tokens.weight has the shape \[48, 16\], the config implies \[3, 16\]/,
  ],
  [
    "an end outside the vocabulary",
    withKeys({ "tokenizer.ggml.eos_token_id": ["uint32", 48] }),
    /tokenizer\.ggml\.eos_token_id 48 is outside/,
  ],
  [
    "biases on q alone",
    {
      ...good,
      tensors: [...good.tensors, { name: "blk.0.attn_q.bias", shape: [16], bytes: new Uint8Array(64) }],
    },
    /only some of the layers attn_q, attn_k and attn_v have biases/,
    "unsupported",
  ],
])("a model with %s is refused", async (_, input, message, code = "bad_model") => {
  writeFileSync(path, ggufBytes(input));
  await expect(openModel(path)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
});

test("no damage to the header goes further than a clear error", async () => {
  const header = bytes.indexOf("output.weight");
  await fc.assert(
    fc.asyncProperty(
      fc.nat(header + 40),
      fc.nat(255),
      fc.option(fc.nat(bytes.length)),
      async (position, byte, cut) => {
        const bad = Buffer.from(bytes);
        bad[position] = byte;
        writeFileSync(path, cut === null ? bad : bad.subarray(0, cut));
        try {
          await using file = await openModel(path);
          expect(file.config.hiddenSize).toBe(16);
        } catch (error) {
          expect(error).toMatchObject({ name: "MosError" });
        }
      },
    ),
    { numRuns: runs(500) },
  );
});
