import { countElements, MosError } from "#common";
import { encodeBfloat16 } from "#files";
import { createHash, type Hash } from "#platform";
import type { ModelConfig } from "./config.ts";
import { floatData, type Weight } from "./weight.ts";
import { checkFinite, weightShapes } from "./weights.ts";

const SAMPLES = 4096;

/** At most 4,096 values, evenly spread over a tensor, which comes in parts. */
interface Sampler {
  /** Takes what it needs of the values from `begin` on. */
  take(part: Float32Array, begin: number): void;
  /** Takes every number that it needs by its index. */
  readSamples(numberAt: (index: number) => number): void;
  /** The values as float32, little-endian. */
  bytes(): Uint8Array;
}

/** A sampler of a tensor of `count` values. */
export function sampler(count: number): Sampler {
  const stride = Math.max(1, Math.ceil(count / SAMPLES));
  const bytes = new DataView(new ArrayBuffer(Math.ceil(count / stride) * 4));
  return {
    take(part, begin) {
      for (let i = Math.ceil(begin / stride) * stride; i < begin + part.length; i += stride)
        bytes.setFloat32((i / stride) * 4, part[i - begin] ?? 0, true);
    },
    readSamples(numberAt) {
      for (let i = 0; i < count; i += stride) bytes.setFloat32((i / stride) * 4, numberAt(i), true);
    },
    bytes: () => new Uint8Array(bytes.buffer),
  };
}

/**
 * Fields on which the file formats agree. Rope scaling, the norm's epsilon and the context length are left out: GGUF states
 * them in other terms or rounds them. So are token ids, which people edit.
 */
const shapeFields = (config: ModelConfig): readonly unknown[] => [
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

const startHash = (config: ModelConfig): Hash =>
  createHash("sha256").update(JSON.stringify(shapeFields(config)));

const addWeight = (
  hash: Hash,
  [name, shape]: readonly [name: string, shape: readonly number[]],
  samples: Uint8Array,
): Hash => hash.update(JSON.stringify([name, shape])).update(samples);

function littleEndian(halves: Uint16Array): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(halves.byteLength));
  for (const [i, half] of halves.entries()) bytes.setUint16(2 * i, half, true);
  return new Uint8Array(bytes.buffer);
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/**
 * A hash that identifies a base model whatever file format its float32 weights came from: its geometry, and name, shape
 * and a sample of every weight (`sampler`) in the order of the names.
 *
 * @returns "sha256:" and 64 hexadecimal digits.
 */
export function fingerprintSamples(config: ModelConfig, samples: ReadonlyMap<string, Uint8Array>): string {
  const hash = startHash(config);
  for (const [name, shape] of [...weightShapes(config)].sort(byName))
    addWeight(hash, [name, shape], samples.get(name) ?? new Uint8Array(0));
  return `sha256:${hash.digest("hex")}`;
}

/** Hashes the geometry and the gains, whose numbers are rounded to bfloat16: the narrowest type that files keep them in. */
function hashGains(config: ModelConfig, gains: ReadonlyMap<string, Float32Array>): string | undefined {
  // as before any training: all such models would be one
  if (new Set([...gains.values()].flatMap((gain) => [...gain])).size === 1) return undefined;
  const hash = startHash(config);
  for (const [name, gain] of [...gains].sort(byName))
    addWeight(hash, [name, [gain.length]], littleEndian(encodeBfloat16(gain)));
  return `sha256:${hash.digest("hex")}`;
}

/** Tests whether a weight is a norm's, which no quantisation changes. */
const isGain = (name: string): boolean => name.endsWith("norm.weight");

/**
 * A hash that is equal for all quantisations of a model and differs between models: its geometry and the gains of its
 * norms. Adapters belong to an identity; the fingerprint tells whether the weights are equal, too.
 * A model whose norms stayed as they were when it was trained further keeps its identity: base + adapter does.
 *
 * @returns "sha256:" and 64 hexadecimal digits; undefined if all gains are equal, which identifies no model.
 */
export function identity(config: ModelConfig, weights: ReadonlyMap<string, Weight>): string | undefined {
  const gains = [...weights].filter(([name]) => isGain(name));
  return hashGains(config, new Map(gains.map(([name, weight]) => [name, floatData(weight)])));
}

/**
 * The same hash of an open model, of which only the norms are read.
 *
 * @throws MosError as reading does, and "bad_model" for a weight that is NaN or infinite.
 */
export async function computeIdentity({
  path,
  config,
  readWeightParts,
}: FingerprintSource): Promise<string | undefined> {
  const gains = new Map<string, Float32Array>();
  for (const [name, [length = 0]] of weightShapes(config)) {
    if (!isGain(name)) continue;
    const gain = new Float32Array(length);
    let begin = 0;
    for await (const part of readWeightParts(name)) {
      checkFinite(name, part, { where: path, begin });
      gain.set(part, begin);
      begin += part.length;
    }
    gains.set(name, gain);
  }
  return hashGains(config, gains);
}

/** Members of an open model that `computeFingerprint` needs. */
interface FingerprintSource {
  readonly path: string;
  readonly config: ModelConfig;
  readWeightParts(name: string): AsyncIterable<Float32Array>;
}

interface FingerprintOptions {
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
 * @throws MosError as reading does, "bad_model" for a weight that is NaN or infinite, and "cancelled".
 */
export async function computeFingerprint(
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

/** `computeFingerprint` as a generator, which yields its progress after each weight and returns the hash. */
export async function* fingerprintSteps(
  model: FingerprintSource,
  { signal }: Pick<FingerprintOptions, "signal"> = {},
): AsyncGenerator<FingerprintProgress, string> {
  const { path, config } = model;
  const hash = startHash(config);
  const shapes = [...weightShapes(config)].sort(byName);
  for (const [i, [name, shape]] of shapes.entries()) {
    if (signal?.aborted)
      throw new MosError("cancelled", `${path}: reading was interrupted`, { cause: signal.reason });
    const samples = sampler(countElements(shape));
    let begin = 0;
    for await (const part of model.readWeightParts(name)) {
      checkFinite(name, part, { where: path, begin });
      samples.take(part, begin);
      begin += part.length;
    }
    addWeight(hash, [name, shape], samples.bytes());
    yield { done: i + 1, total: shapes.length };
  }
  return `sha256:${hash.digest("hex")}`;
}
