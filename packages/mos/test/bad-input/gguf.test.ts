// GGUF files that are broken, lie, or hold what cannot be run, as `mos generate` and `mos params` meet them.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, test } from "vitest";
import { type GgufInput, ggufBytes, type Typed, tinyGguf } from "../../../core/test/tiny-gguf.ts";
import { tinyModel } from "../../../core/test/tiny-model.ts";
import { expectRefusal } from "./run-mos.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bad-gguf-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Good = ReturnType<typeof tinyGguf>;
const withKeys =
  (keys: Readonly<Record<string, Typed>>) =>
  (good: Good): GgufInput => ({ ...good, metadata: { ...good.metadata, ...keys } });
const without =
  (key: string) =>
  ({ metadata: { [key]: _, ...metadata }, ...good }: Good): GgufInput => ({ ...good, metadata });
const withTensor =
  (change: object) =>
  (good: Good): GgufInput => ({
    ...good,
    tensors: good.tensors.map((tensor) =>
      tensor.name === "blk.0.attn_q.weight" ? { ...tensor, ...change } : tensor,
    ),
  });

/** Where the first key's length stands: magic, version and two counts come before. */
const FIRST_KEY = 24;
const edited =
  (edit: (bytes: Buffer) => Uint8Array | undefined) =>
  (good: Good): Uint8Array => {
    const bytes = ggufBytes(good);
    return edit(bytes) ?? bytes;
  };
const written =
  (write: (bytes: Buffer) => unknown) =>
  (good: Good): Uint8Array => {
    const bytes = ggufBytes(good);
    write(bytes);
    return bytes;
  };

const cases: readonly (readonly [string, (good: Good) => GgufInput | Uint8Array, RegExp])[] = [
  ["an empty file", () => new Uint8Array(), /this is not a GGUF file/],
  [
    "another magic number",
    written((bytes) => bytes.write("GGML")),
    /this is not a GGUF file \(it does not begin with "GGUF"\)/,
  ],
  ["version 1", (good) => ({ ...good, version: 1 }), /GGUF version 1; versions 2 and 3 are supported/],
  ["version 99", (good) => ({ ...good, version: 99 }), /GGUF version 99/],
  ["a big-endian file", written((bytes) => bytes.writeUInt32BE(3, 4)), /big-endian/],
  [
    "a header cut short",
    edited((bytes) => bytes.subarray(0, 300)),
    /the file ends at 300; it is cut short or damaged/,
  ],
  ["data cut short", edited((bytes) => bytes.subarray(0, bytes.length - 500)), /cut short|ends|beyond/],
  [
    "a string of a terabyte",
    written((bytes) => bytes.writeBigUInt64LE(1n << 40n, FIRST_KEY)),
    /the length of .* is 1099511627776; the limit is/,
  ],
  [
    "a string of length -1",
    written((bytes) => bytes.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, FIRST_KEY)),
    /is 18446744073709551615; the limit is/,
  ],
  [
    "a billion tensors",
    (good) => ({ ...good, tensorCount: 1e9 }),
    /the number of tensors is 1000000000; the limit is/,
  ],
  ["one tensor more than there are", (good) => ({ ...good, tensorCount: good.tensors.length + 1 }), /gguf: /],
  ["a billion keys", (good) => ({ ...good, keyCount: 1e9 }), /gguf: /],
  [
    "one key more than there are",
    (good) => ({ ...good, keyCount: Object.keys(good.metadata).length + 1 }),
    /gguf: /,
  ],
  ["a tensor beyond the file", withTensor({ offset: 1 << 30 }), /attn_q\.weight/],
  ["a tensor that is not aligned", withTensor({ offset: 7 }), /attn_q\.weight/],
  ["tensors that overlap", withTensor({ offset: 0 }), /attn_q\.weight|overlap/],
  [
    "a tensor of another shape",
    withTensor({ shape: [8, 32] }),
    /q_proj\.weight has the shape \[8, 32\], the config implies \[16, 16\]/,
  ],
  ["a tensor of an impossible shape", withTensor({ shape: [2 ** 30, 2 ** 30] }), /impossible shape/],
  ["a tensor of a type that cannot be read", withTensor({ type: 16 }), /IQ2_XXS/],
  ["a tensor of an unknown type", withTensor({ type: 1234 }), /1234/],
  ["rows that do not fill blocks", withTensor({ type: 12 }), /rows of 16, but Q4_K stores blocks of 256/],
  [
    "a tensor under another name",
    withTensor({ name: "blk.0.attn_query.weight" }),
    /q_proj\.weight \[16, 16\] is missing/,
  ],
  [
    "a weight that is not a number",
    withTensor({ bytes: new Uint8Array(new Float32Array(256).fill(Number.NaN).buffer) }),
    /q_proj\.weight holds the value NaN/,
  ],
  [
    "another architecture",
    withKeys({ "general.architecture": ["string", "qwen3moe"] }),
    /type "qwen3moe" are not supported; supported are qwen35, .*llama/,
  ],
  ["no architecture", without("general.architecture"), /the header lacks general\.architecture/],
  ["no number of layers", without("llama.block_count"), /the header lacks llama\.block_count/],
  [
    "a number as text",
    withKeys({ "llama.block_count": ["string", "2"] }),
    /llama\.block_count is "2"; expected a number/,
  ],
  [
    "a billion layers",
    withKeys({ "llama.block_count": ["uint32", 1e9] }),
    /llama\.block_count is 1000000000/,
  ],
  [
    "a mixture of experts",
    withKeys({ "llama.expert_count": ["uint32", 8] }),
    /mixture-of-experts models are not supported/,
  ],
  [
    "a part of a split file",
    withKeys({ "split.count": ["uint32", 3] }),
    /one part of a split GGUF; join the parts/,
  ],
  [
    "scaling by sections",
    withKeys({ "llama.rope.scaling.type": ["string", "mrope"] }),
    /rope scaling of the type "mrope" is not supported; supported are none, linear, yarn and longrope/,
  ],
  ["an odd alignment", withKeys({ "general.alignment": ["uint32", 33] }), /general\.alignment is 33/],
  ["no tokenizer", without("tokenizer.ggml.tokens"), /tokenizer\.ggml/],
  ["a tokenizer of an unknown kind", withKeys({ "tokenizer.ggml.model": ["string", "mystery"] }), /mystery/],
];

/** A tokenizer is read before the weights. */
const withTokenizer = withKeys({
  "tokenizer.ggml.model": ["string", "gpt2"],
  "tokenizer.ggml.pre": ["string", "gpt-2"],
  "tokenizer.ggml.merges": ["strings", []],
});

let count = 0;
test.each(cases)("%s", async (_, arrange, message) => {
  const path = join(folder, `model-${count++}.gguf`);
  const made = arrange(withTokenizer(tinyGguf(tinyModel())) as Good);
  await writeFile(path, made instanceof Uint8Array ? made : ggufBytes(made));
  await expectRefusal(["generate", "--model", path, "--prompt", "Hi"], {
    code: 1,
    message,
    untouched: folder,
  });
});
