import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { TINY_FAMILIES } from "../../test/tiny-families.ts";
import { tinyConfigJson } from "../../test/tiny-model.ts";
import type { ModelConfig } from "./config.ts";
import { parseHuggingFaceConfig } from "./config-json.ts";
import { dequantizeWeight } from "./dequantize-weight.ts";
import { computeFingerprint } from "./fingerprint.ts";
import { ggufName } from "./gguf-model.ts";
import { columnOrder, reorderColumns, reorderRows, rowOrder } from "./gguf-order.ts";
import { loadBase, openModel } from "./load.ts";
import { readNumbers } from "./read-weights.ts";
import { weightShapes } from "./weights.ts";

const BUNDLED = "assets/tiny-english";
const config = async (fields: Readonly<Record<string, number>>): Promise<ModelConfig> =>
  parseHuggingFaceConfig(
    { ...JSON.parse(await readFile(`${BUNDLED}/config.json`, "utf8")), ...fields },
    "config.json",
  );

test("names as llama.cpp has them", async () => {
  const llama = await config({});
  expect(ggufName(llama, "model.layers.11.self_attn.o_proj.weight")).toBe("blk.11.attn_output.weight");
  expect(ggufName(llama, "model.layers.0.mlp.down_proj.bias")).toBe("blk.0.ffn_down.bias");
  expect(ggufName(llama, "lm_head.weight")).toBe("output.weight");
});

const toFile = (config: ModelConfig, name: string) => ({ config, name, direction: "toFile" }) as const;

test("rows of q in the order of llama.cpp: [heads, 2, D/2] becomes [heads, D/2, 2]", async () => {
  const two = await config({ num_attention_heads: 2, num_key_value_heads: 1, head_dim: 6, hidden_size: 12 });
  const rows = Float32Array.from({ length: 12 }, (_, i) => i);
  const q = reorderRows(rows, toFile(two, "model.layers.0.self_attn.q_proj.weight"));
  expect([...q]).toEqual([0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
  const k = reorderRows(rows, toFile(two, "model.layers.0.self_attn.k_proj.weight")); // one head of six rows of width 2
  expect([...k]).toEqual([0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
  expect(reorderRows(rows, toFile(two, "model.layers.0.self_attn.v_proj.weight"))).toBe(rows);
});

/** A model of the tiny Qwen 3.5, with these value heads to each of its key heads. */
const tiles = (keyHeads: number, perKeyHead: number): ModelConfig =>
  parseHuggingFaceConfig(
    {
      ...tinyConfigJson,
      ...TINY_FAMILIES["qwen3_5"],
      linear_num_key_heads: keyHeads,
      linear_num_value_heads: keyHeads * perKeyHead,
      linear_value_head_dim: 3,
    },
    "config.json",
  );

test("value heads in the order of llama.cpp: [key heads, heads of each] becomes [heads of each, key heads]", () => {
  const order = toFile(tiles(2, 3), "model.layers.0.linear_attn.dt_bias");
  expect([...reorderRows(Float32Array.of(0, 1, 2, 3, 4, 5), order)]).toEqual([0, 3, 1, 4, 2, 5]);
  const same = Float32Array.of(0, 1);
  expect(reorderRows(same, toFile(tiles(2, 1), "model.layers.0.linear_attn.dt_bias"))).toBe(same);
});

const numbers = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => i + 1);

test("there and back is where it was, in memory and in reading", async () => {
  const part = fc.constantFrom("in_proj_qkv", "in_proj_z", "in_proj_a", "out_proj");
  const cases = fc.record({
    groups: fc.integer({ min: 1, max: 4 }),
    keyValueHeads: fc.integer({ min: 1, max: 4 }),
    half: fc.integer({ min: 1, max: 8 }),
    linear: fc.oneof(fc.constantFrom("q_proj", "k_proj"), part),
  });
  await fc.assert(
    fc.asyncProperty(cases, async ({ groups, keyValueHeads, half, linear }) => {
      const heads = groups * keyValueHeads;
      const isAttention = linear === "q_proj" || linear === "k_proj";
      const some = isAttention
        ? await config({
            num_attention_heads: heads,
            num_key_value_heads: keyValueHeads,
            head_dim: 2 * half,
            hidden_size: heads * 2 * half,
          })
        : tiles(keyValueHeads, groups);
      const name = `model.layers.0.${isAttention ? "self_attn" : "linear_attn"}.${linear}.weight`;
      const [rows = 0, width = 0] = weightShapes(some).get(name) ?? [];
      const data = numbers(rows * width);
      const there = reorderColumns(reorderRows(data, toFile(some, name)), toFile(some, name));
      const back = { config: some, name, direction: "fromFile" } as const;
      expect(reorderRows(reorderColumns(there, back), back)).toEqual(data);
      const bytes = new Uint8Array(there.buffer);
      const read = await readNumbers({
        type: "F32",
        shape: [rows, width],
        width,
        value: undefined,
        order: rowOrder(some, name),
        columns: columnOrder(some, name),
        place: { path: "here", begin: 0 },
        readInto: async (target, begin) => target.set(bytes.subarray(begin, begin + target.length)),
      });
      expect(read).toEqual(data);
    }),
    { numRuns: 60 },
  );
});

test("the fingerprint of an open model is that of the loaded one", async () => {
  const loaded = await loadBase(BUNDLED);
  // what adapters of the bundled model have recorded
  expect(loaded.fingerprint).toBe("sha256:13e568bbb49810c9c2ba7599bfc863b2ee8d5b48b79a9adbeef0fd40ff63ffc6");
  await using files = await openModel(BUNDLED);
  const seen: number[] = [];
  expect(await computeFingerprint(files, { onProgress: ({ done }) => seen.push(done) })).toBe(
    loaded.fingerprint,
  );
  expect(seen).toEqual(Array.from({ length: loaded.weights.size }, (_, i) => i + 1));
  await expect(computeFingerprint(files, { signal: AbortSignal.abort() })).rejects.toThrowError(
    "reading was interrupted",
  );
});

test("the fingerprint does not depend on the parts in which a weight is read", async () => {
  const { config, weights, fingerprint: whole } = await loadBase(BUNDLED);
  for (const step of [1000, 4096, 7777]) {
    const parts = {
      path: BUNDLED,
      config,
      async *readWeightParts(name: string) {
        const data = dequantizeWeight(weights.get(name)!);
        for (let begin = 0; begin < data.length; begin += step) yield data.subarray(begin, begin + step);
      },
    };
    expect(await computeFingerprint(parts)).toBe(whole);
  }
});

test("the parts of a weight are the weight", async () => {
  await using files = await openModel(BUNDLED);
  const name = "model.layers.0.self_attn.q_proj.weight";
  const parts: Float32Array[] = [];
  for await (const part of files.readWeightParts(name)) parts.push(part);
  expect(parts.flatMap((part) => [...part])).toEqual([...(await files.readWeight(name))]);
});
