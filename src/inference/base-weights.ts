// The base as the engine holds it: one matrix for each group of linear layers, in float32 or quantised.
import type { FactorMap } from "#adapters";
import { MosError } from "#core";
import { add, constant, leaf, linear, matmul, quantizedLinear, type Value } from "#graph";
import {
  geometryOf,
  type LlamaConfig,
  QUANTIZATION,
  type Quantization,
  quantizeMatrix,
  type WeightValues,
} from "#models";
import {
  GROUPS,
  type GroupName,
  type GroupSite,
  groupKey,
  groupSites,
  LINEAR_NAMES,
  modulePath,
  siteKey,
  withBias,
} from "#nn";
import { type CompileOptions, compile, type HostTensor } from "#runtime";

/** How the linear layers and the head are kept. */
export type Quantize = "none" | "int8" | "int4";

/** d_in of a group, d_out of each of its linear layers, and their sum. */
export interface GroupWidths {
  readonly in: number;
  readonly outs: readonly number[];
  readonly out: number;
}

/** A base that is ready to be built into the programs of a model runner. */
export interface BaseWeights {
  readonly config: LlamaConfig;
  readonly widths: Readonly<Record<GroupName, GroupWidths>>;
  /** The linear layers of a group in one product, x [..., in] giving [..., Σ out]. */
  readonly project: (x: Value, site: GroupSite) => Value;
  /** Hidden states [..., C] giving logits [..., V]. */
  readonly head: (x: Value) => Value;
  /** Embedding and norms, by Hugging Face's names. */
  readonly values: WeightValues;
  /** Bytes of the matrices that are part of every program: all quantised ones. */
  readonly constantBytes: number;
  /** What the leaves among all these are fed with. */
  readonly feeds: Readonly<Record<string, HostTensor>>;
}

export interface PrepareOptions {
  readonly quantize: Quantize;
  /** An adapter that becomes part of the base; see `isWorthMerging`. */
  readonly mergedAdapter?: FactorMap | undefined;
  readonly onProgress?: (done: number, total: number) => void;
  /** How the merging is computed. */
  readonly compile?: CompileOptions;
}

const EMBEDDING = "model.embed_tokens.weight";

/**
 * Joins and quantises the weights. The map is emptied on the way, so that no weight is held twice for long; the arrays
 * in it are only read.
 */
export async function prepareWeights(
  config: LlamaConfig,
  weights: Map<string, HostTensor>,
  { quantize, mergedAdapter, onProgress, compile: compileOptions = {} }: PrepareOptions,
): Promise<BaseWeights> {
  if (mergedAdapter !== undefined)
    await mergeAdapter(weights, { config, adapter: mergedAdapter, compile: compileOptions });
  const widths = groupWidths(config);
  const feeds: Record<string, HostTensor> = {};
  const quantization = quantize === "none" ? undefined : QUANTIZATION[quantize];
  const sites = groupSites(config.layers);
  const products = new Map<string, Product>();
  let constantBytes = 0;
  const prepare = (name: string, matrix: HostTensor, at: "layers" | "head"): Product => {
    if (quantization !== undefined) {
      const quantized = quantizedProduct(matrix, quantization, at);
      constantBytes += quantized.bytes;
      return quantized.product;
    }
    feeds[name] = matrix;
    const weight = leaf(name, matrix.shape);
    return (x) => linear(x, weight);
  };
  for (const [done, site] of sites.entries()) {
    const key = groupKey(site);
    const product = prepare(`group.${key}`, joinedMatrix(site, widths[site.group], weights), "layers");
    const bias = joinedBias(site, weights);
    products.set(key, (x) => withBias(product(x), bias));
    onProgress?.(done, sites.length + 1);
    // long work on the engine's thread: let messages in
    await new Promise((resolve) => setImmediate(resolve));
  }
  const embedding = take(weights, EMBEDDING);
  feeds[EMBEDDING] = embedding;
  const head = config.tiedHead
    ? quantization === undefined
      ? (x: Value) => linear(x, leaf(EMBEDDING, embedding.shape))
      : prepare("head", embedding, "head")
    : prepare("lm_head.weight", take(weights, "lm_head.weight"), "head");
  onProgress?.(sites.length + 1, sites.length + 1);
  const norms = [...weights].map(([name, { data, shape }]): [string, Value] => [name, constant(data, shape)]);
  return {
    config,
    widths,
    head,
    feeds,
    constantBytes,
    project: (x, site) => found(products.get(groupKey(site)), groupKey(site))(x),
    values: new Map([...norms, [EMBEDDING, leaf(EMBEDDING, embedding.shape)]]),
  };
}

/** x [..., in] times a matrix that was prepared for it. */
type Product = (x: Value) => Value;

function groupWidths(config: LlamaConfig): BaseWeights["widths"] {
  const { widths } = geometryOf(config);
  const widthsOf = (group: GroupName): GroupWidths => {
    const [first] = GROUPS[group];
    const outs = GROUPS[group].map((name) => widths[name].out);
    return { in: widths[first].in, outs, out: outs.reduce((a, b) => a + b, 0) };
  };
  return { qkv: widthsOf("qkv"), o: widthsOf("o"), gateUp: widthsOf("gateUp"), down: widthsOf("down") };
}

function found<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new MosError("bad_model", `the model has no weight ${name}`);
  return value;
}

function take(weights: Map<string, HostTensor>, name: string): HostTensor {
  const tensor = found(weights.get(name), name);
  weights.delete(name);
  return tensor;
}

/** The matrices of a group under each other: [Σ out, in]. */
function joinedMatrix(
  { layer, group }: GroupSite,
  { in: width, out }: GroupWidths,
  weights: Map<string, HostTensor>,
): HostTensor {
  const names = GROUPS[group].map((name) => `${modulePath({ layer, linear: name })}.weight`);
  return joined(
    names.map((name) => take(weights, name)),
    [out, width],
  );
}

/** The biases of a group behind each other, [Σ out], where the model has them. */
function joinedBias({ layer, group }: GroupSite, weights: Map<string, HostTensor>): Value | undefined {
  const names = GROUPS[group].map((name) => `${modulePath({ layer, linear: name })}.bias`);
  const parts = names.filter((name) => weights.has(name)).map((name) => take(weights, name));
  if (parts.length === 0) return undefined;
  const { data, shape } = joined(parts, [parts.reduce((sum, part) => sum + part.data.length, 0)]);
  return constant(data, shape);
}

function joined(parts: readonly HostTensor[], shape: readonly number[]): HostTensor {
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return first;
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  let start = 0;
  for (const part of parts) {
    data.set(part.data, start);
    start += part.data.length;
  }
  return { shape, data };
}

function quantizedProduct(
  { shape: [out = 0, width = 0], data }: HostTensor,
  quantization: Quantization,
  at: "layers" | "head",
): { readonly product: Product; readonly bytes: number } {
  const matrix = quantizeMatrix(data as Float32Array, { out, in: width, ...quantization[at] });
  return {
    product: (x) => quantizedLinear(x, matrix, { activations: quantization.activations }),
    bytes: matrix.packed.byteLength + matrix.scales.byteLength,
  };
}

/** Numbers of the adapted weights up to which the second copy of them that merging makes is taken. */
const MERGE_LIMIT = 300e6;

/** Whether a lone adapter is better merged, W + scale · B A, than kept in a slot: float32 weights that are not large. */
export function isWorthMerging(adapter: FactorMap, quantize: Quantize): boolean {
  const numbers = [...adapter.values()].reduce(
    (sum, { rank, a, b }) => sum + (a.length / rank) * (b.length / rank),
    0,
  );
  return quantize === "none" && numbers <= MERGE_LIMIT;
}

interface MergeOptions {
  readonly config: LlamaConfig;
  readonly adapter: FactorMap;
  readonly compile: CompileOptions;
}

/** Puts W + scale · B A in the place of every weight that an adapter touches; the old arrays stay as they are. */
async function mergeAdapter(
  weights: Map<string, HostTensor>,
  { config, adapter, compile: options }: MergeOptions,
): Promise<void> {
  const { layers, widths } = geometryOf(config);
  for (const linear of LINEAR_NAMES) {
    const { in: width, out } = widths[linear];
    const delta = matmul(leaf("b", ["rank", out]), leaf("a", ["rank", width]), { transposeA: true });
    const sum = add(leaf("w", [out, width]), delta);
    // one program serves the layers, so that no more than one of them is held twice
    await using program = await compile({ sum }, options);
    for (let layer = 0; layer < layers; layer++) {
      const factors = adapter.get(siteKey({ layer, linear }));
      if (factors === undefined) continue;
      const { rank, scale } = factors;
      const name = `${modulePath({ layer, linear })}.weight`;
      const merged = await program.run({
        w: found(weights.get(name), name),
        a: { shape: [rank, width], data: factors.a },
        b: { shape: [rank, out], data: factors.b.map((x) => x * scale) },
      });
      weights.set(name, found(merged["sum"], name));
    }
  }
}
