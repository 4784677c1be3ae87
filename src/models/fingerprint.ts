import { createHash, type Hash } from "node:crypto";
import { MosError } from "#core";
import type { LlamaConfig } from "./config.ts";
import { checkFinite, type Weight, weightShapes } from "./weights.ts";

const SAMPLES = 4096;

/** Takes at most 4,096 numbers, evenly spread over a tensor, from its parts in their order. */
function sampler(count: number) {
  const stride = Math.max(1, Math.ceil(count / SAMPLES));
  const bytes = new DataView(new ArrayBuffer(Math.ceil(count / stride) * 4));
  let seen = 0;
  return {
    take(part: Float32Array): void {
      for (let i = Math.ceil(seen / stride) * stride; i < seen + part.length; i += stride)
        bytes.setFloat32((i / stride) * 4, part[i - seen] ?? 0, true);
      seen += part.length;
    },
    bytes: (): Uint8Array => new Uint8Array(bytes.buffer),
  };
}

function sample(data: Float32Array): Uint8Array {
  const { take, bytes } = sampler(data.length);
  take(data);
  return bytes();
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

type NamedShape = readonly [name: string, shape: readonly number[]];

const startOf = (config: LlamaConfig): Hash => createHash("sha256").update(JSON.stringify(geometry(config)));

const addWeight = (hash: Hash, [name, shape]: NamedShape, samples: Uint8Array): Hash =>
  hash.update(JSON.stringify([name, shape])).update(samples);

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/**
 * A hash that identifies a base model whatever file format its float32 weights came from: its geometry, and name, shape
 * and a sample of every weight in the order of the names.
 *
 * @returns "sha256:" and 64 hexadecimal digits.
 */
export function fingerprint(config: LlamaConfig, weights: ReadonlyMap<string, Weight>): string {
  const hash = startOf(config);
  for (const [name, { shape, data }] of [...weights].sort(byName))
    addWeight(hash, [name, shape], sample(data));
  return `sha256:${hash.digest("hex")}`;
}

/** What `fingerprintOf` needs of an open model. */
export interface FingerprintSource {
  readonly path: string;
  readonly config: LlamaConfig;
  readWeightParts(name: string): AsyncIterable<Float32Array>;
}

export interface FingerprintOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after each weight with how many of `total` were read. */
  readonly onProgress?: ((progress: FingerprintProgress) => void) | undefined;
}

export interface FingerprintProgress {
  readonly done: number;
  readonly total: number;
}

/**
 * The same hash of an open model, of which only a part of one weight at a time is in memory.
 *
 * @throws MosError as reading does, "bad_model" for a number that is none, and "cancelled".
 */
export async function fingerprintOf(
  model: FingerprintSource,
  { signal, onProgress }: FingerprintOptions = {},
): Promise<string> {
  const steps = fingerprintSteps(model, { signal });
  for (;;) {
    const { done, value } = await steps.next();
    if (done === true) return value;
    onProgress?.(value);
  }
}

/** `fingerprintOf` as a generator: gives how far it is after each weight, and returns the hash. */
export async function* fingerprintSteps(
  model: FingerprintSource,
  { signal }: Pick<FingerprintOptions, "signal"> = {},
): AsyncGenerator<FingerprintProgress, string> {
  const { path, config } = model;
  const hash = startOf(config);
  const shapes = [...weightShapes(config)].sort(byName);
  for (const [i, [name, shape]] of shapes.entries()) {
    if (signal?.aborted)
      throw new MosError("cancelled", `${path}: reading was stopped`, { cause: signal.reason });
    const samples = sampler(shape.reduce((product, size) => product * size, 1));
    let begin = 0;
    for await (const part of model.readWeightParts(name)) {
      checkFinite(name, part, { where: path, begin });
      samples.take(part);
      begin += part.length;
    }
    addWeight(hash, [name, shape], samples.bytes());
    yield { done: i + 1, total: shapes.length };
  }
  return `sha256:${hash.digest("hex")}`;
}
