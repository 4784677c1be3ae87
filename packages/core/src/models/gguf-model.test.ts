import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ModelConfig } from "./config.ts";
import { parseHuggingFaceConfig } from "./config-json.ts";
import { dequantizeWeight } from "./dequantize-weight.ts";
import { computeFingerprint } from "./fingerprint.ts";
import { ggufName, rowFromGguf, toGgufRows } from "./gguf-model.ts";
import { loadBase, openModel } from "./load.ts";
import { readNumbers } from "./read-weights.ts";

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

test("rows of q in the order of llama.cpp: [heads, 2, D/2] becomes [heads, D/2, 2]", async () => {
  const two = await config({ num_attention_heads: 2, num_key_value_heads: 1, head_dim: 6, hidden_size: 12 });
  const rows = Float32Array.from({ length: 12 }, (_, i) => i);
  const q = toGgufRows(two, "model.layers.0.self_attn.q_proj.weight", rows);
  expect([...q]).toEqual([0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
  const k = toGgufRows(two, "model.layers.0.self_attn.k_proj.weight", rows); // one head of six rows of width 2
  expect([...k]).toEqual([0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
  expect(toGgufRows(two, "model.layers.0.self_attn.v_proj.weight", rows)).toBe(rows);
});

test("there and back is where it was", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        groups: fc.integer({ min: 1, max: 4 }),
        keyValueHeads: fc.integer({ min: 1, max: 4 }),
        half: fc.integer({ min: 1, max: 8 }),
        width: fc.integer({ min: 1, max: 5 }),
      }),
      async ({ groups, keyValueHeads, half, width }) => {
        const heads = groups * keyValueHeads;
        const some = await config({
          num_attention_heads: heads,
          num_key_value_heads: keyValueHeads,
          head_dim: 2 * half,
          hidden_size: heads * 2 * half,
        });
        for (const [linear, count] of [
          ["q_proj", heads],
          ["k_proj", keyValueHeads],
        ] as const) {
          const name = `model.layers.0.self_attn.${linear}.weight`;
          const data = Float32Array.from({ length: count * 2 * half * width }, (_, i) => i);
          const bytes = new Uint8Array(toGgufRows(some, name, data).buffer);
          const read = await readNumbers({
            type: "F32",
            shape: [count * 2 * half, width],
            width,
            plus: 0,
            order: rowFromGguf(some, name),
            readInto: async (target, begin) => target.set(bytes.subarray(begin, begin + target.length)),
          });
          expect(read).toEqual(data);
        }
      },
    ),
    { numRuns: 40 },
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
