// The base as the engine holds it: float32 matrices as they were loaded, or one quantised matrix for each group.
import type { FactorMap } from "#adapters";
import { MosError } from "#core";
import { add, constant, leaf, linear, matmul, quantizedLinear, split, type Value } from "#graph";
import {
  eachLinear,
  geometryOf,
  headWeight,
  type LlamaConfig,
  QUANTIZATION,
  type Quantization,
  type QuantizeSettings,
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
  plainLinear,
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
  /**
   * The linear layers of a group on their common input x [..., in], an output [..., out] for each. What an adapter adds
   * to them comes joined: `branch` [..., Σ out].
   */
  readonly project: (x: Value, site: GroupSite, branch?: Value) => readonly Value[];
  /** Hidden states [..., C] giving logits [..., V]. */
  readonly head: (x: Value) => Value;
  /** Embedding and norms, and whatever else is float32, by Hugging Face's names. */
  readonly values: WeightValues;
  /** Bytes of the matrices that are part of every program: all quantised ones. */
  readonly constantBytes: number;
  /** What the leaves among all these are fed with. */
  readonly feeds: Readonly<Record<string, HostTensor>>;
}

/** How a base is prepared for the model runner. */
export interface PrepareOptions {
  readonly quantize: Quantize;
  /** An adapter that becomes part of the base. */
  readonly mergedAdapter?: FactorMap | undefined;
  /** Called after each matrix, with how many of all are done. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** How the merging is computed. */
  readonly compile?: CompileOptions;
}

const EMBEDDING = "model.embed_tokens.weight";

/**
 * Makes the weights ready for a model runner. Float32 matrices are not copied. Where they are quantised, the map is
 * emptied on the way, so that no weight is held twice for long.
 */
export async function prepareWeights(
  config: LlamaConfig,
  weights: Map<string, HostTensor>,
  { quantize, mergedAdapter, onProgress, compile: compileOptions = {} }: PrepareOptions,
): Promise<BaseWeights> {
  if (mergedAdapter !== undefined)
    await mergeAdapter(weights, { config, adapter: mergedAdapter, compile: compileOptions });
  if (quantize === "none") {
    onProgress?.(1, 1);
    return floatWeights(config, weights);
  }
  return quantizedWeights(config, weights, { quantization: QUANTIZATION[quantize], onProgress });
}

/** Every matrix by itself, in the model's own memory: joined they would be copies, and no faster. */
function floatWeights(config: LlamaConfig, weights: ReadonlyMap<string, HostTensor>): BaseWeights {
  const widths = groupWidths(config);
  const values = valuesOf(weights);
  const project = eachLinear(values, plainLinear);
  return {
    config,
    widths,
    values,
    constantBytes: 0,
    feeds: feedsOf(weights),
    head: (x) => linear(x, headWeight(config, values)),
    project(x, site, branch) {
      const outputs = project(x, site);
      if (branch === undefined) return outputs;
      const added = split(branch, { axis: branch.shape.length - 1, sizes: widths[site.group].outs });
      return outputs.map((y, i) => add(y, added[i] as Value));
    },
  };
}

interface QuantizedOptions extends Pick<PrepareOptions, "onProgress"> {
  readonly quantization: Quantization;
}

/** One product for each group: few operators, and a matrix that is large enough to be read at full speed. */
async function quantizedWeights(
  config: LlamaConfig,
  weights: Map<string, HostTensor>,
  { quantization: { layers, head, activations }, onProgress }: QuantizedOptions,
): Promise<BaseWeights> {
  const widths = groupWidths(config);
  const sites = groupSites(config.layers);
  const products = new Map<string, Product>();
  let constantBytes = 0;
  const product = (
    { shape: [out = 0, width = 0], data }: HostTensor,
    settings: QuantizeSettings,
  ): Product => {
    const matrix = quantizeMatrix(data as Float32Array, { out, in: width, ...settings });
    constantBytes += matrix.packed.byteLength + matrix.scales.byteLength;
    return (x) => quantizedLinear(x, matrix, { activations });
  };
  for (const [done, site] of sites.entries()) {
    const joined = product(joinedMatrix(site, widths[site.group], weights), layers);
    const bias = joinedBias(site, weights);
    products.set(groupKey(site), (x) => withBias(joined(x), bias));
    onProgress?.(done, sites.length + 1);
    // long work on the engine's thread: let messages in
    await new Promise((resolve) => setImmediate(resolve));
  }
  const headProduct = product(
    config.tiedHead ? found(weights.get(EMBEDDING), EMBEDDING) : take(weights, "lm_head.weight"),
    head,
  );
  onProgress?.(sites.length + 1, sites.length + 1);
  return {
    config,
    widths,
    values: valuesOf(weights),
    constantBytes,
    feeds: feedsOf(weights),
    head: headProduct,
    project(x, site, branch) {
      const y = found(products.get(groupKey(site)), groupKey(site))(x);
      const whole = branch === undefined ? y : add(y, branch);
      return split(whole, { axis: whole.shape.length - 1, sizes: widths[site.group].outs });
    },
  };
}

/** x [..., in] times a matrix that was prepared for it. */
type Product = (x: Value) => Value;

const isMatrix = ({ shape }: HostTensor): boolean => shape.length === 2;

/** Matrices as leaves; norms and biases as constants, since every leaf costs some microseconds at each step. */
const valuesOf = (weights: ReadonlyMap<string, HostTensor>): WeightValues =>
  new Map(
    [...weights].map(([name, weight]) => [
      name,
      isMatrix(weight) ? leaf(name, weight.shape) : constant(weight.data, weight.shape),
    ]),
  );

const feedsOf = (weights: ReadonlyMap<string, HostTensor>): Readonly<Record<string, HostTensor>> =>
  Object.fromEntries([...weights].filter(([, weight]) => isMatrix(weight)));

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
