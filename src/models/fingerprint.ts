import { createHash } from "node:crypto";
import type { LlamaConfig } from "./config.ts";
import type { Weight } from "./weights.ts";

const SAMPLES = 4096;

/** At most 4,096 numbers, evenly spread over the tensor. */
function sample(data: Float32Array): Uint8Array {
  const stride = Math.max(1, Math.ceil(data.length / SAMPLES));
  const count = Math.ceil(data.length / stride);
  const bytes = new DataView(new ArrayBuffer(count * 4));
  for (let i = 0; i < count; i++) bytes.setFloat32(i * 4, data[i * stride] ?? 0, true);
  return new Uint8Array(bytes.buffer);
}

/**
 * What the file formats agree on. Rope scaling, the norm's epsilon and the longest context are left out: GGUF states
 * them in other terms or rounds them. So are token ids, which people edit.
 */
const geometry = (config: LlamaConfig): readonly unknown[] => [
  config.vocabularySize,
  config.hiddenSize,
  config.intermediateSize,
  config.layers,
  config.heads,
  config.keyValueHeads,
  config.headDim,
  config.tiedHead,
  config.attentionBias,
  config.mlpBias,
  Math.fround(config.rope.theta),
];

/**
 * A hash that identifies a base model whatever file format its float32 weights came from: its geometry, and name, shape
 * and a sample of every weight in the order of the names.
 *
 * @returns "sha256:" and 64 hexadecimal digits.
 */
export function fingerprint(config: LlamaConfig, weights: ReadonlyMap<string, Weight>): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify(geometry(config)));
  const ordered = [...weights].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, { shape, data }] of ordered) {
    hash.update(JSON.stringify([name, shape]));
    hash.update(sample(data));
  }
  return `sha256:${hash.digest("hex")}`;
}
