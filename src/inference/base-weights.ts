// The base as the engine holds it: one matrix for each group of linear layers, in float32 or quantised.
import { MosError } from "#core";
import { constant, leaf, linear, quantizedLinear, type Value } from "#graph";
import { type LlamaConfig, QUANTIZATION, type Quantization, quantizeMatrix, weightShapes } from "#models";
import { modulePath } from "#nn";
import type { HostTensor } from "#runtime";
import { GROUPS, type GroupSite, type GroupWidths, groupKey, groupSites, groupWidths } from "./groups.ts";

/** How the linear layers and the head are kept. */
export type Quantize = "none" | "int8" | "int4";

/** x [..., in] times a matrix that was prepared for it. */
export type Product = (x: Value) => Value;

/** A base that is ready to be built into step programs. */
export interface BaseWeights {
  readonly config: LlamaConfig;
  readonly widths: ReturnType<typeof groupWidths>;
  readonly product: (site: GroupSite) => Product;
  readonly head: Product;
  /** Embedding, norms and biases, by Hugging Face's names. */
  readonly values: ReadonlyMap<string, Value>;
  /** Bytes of the matrices that are part of every program: all quantised ones. */
  readonly constantBytes: number;
  /** What the leaves among all these are fed with. */
  readonly feeds: Readonly<Record<string, HostTensor>>;
}

interface PrepareOptions {
  readonly quantize: Quantize;
  readonly onProgress?: (done: number, total: number) => void;
}

const EMBEDDING = "model.embed_tokens.weight";

/**
 * Joins and quantises the weights. The map is emptied on the way, so that no weight is held twice for long.
 */
export async function prepareWeights(
  config: LlamaConfig,
  weights: Map<string, HostTensor>,
  { quantize, onProgress }: PrepareOptions,
): Promise<BaseWeights> {
  const shapes = weightShapes(config);
  const widths = groupWidths((name) => shapes.get(`${modulePath({ layer: 0, linear: name })}.weight`) ?? []);
  const feeds: Record<string, HostTensor> = {};
  const take = takeFrom(weights);
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
    products.set(
      groupKey(site),
      prepare(`group.${groupKey(site)}`, joined(site, widths[site.group], take), "layers"),
    );
    onProgress?.(done, sites.length + 1);
    // long work on the engine's thread: let messages in
    await new Promise((resolve) => setImmediate(resolve));
  }
  const embedding = take(EMBEDDING);
  feeds[EMBEDDING] = embedding;
  const head = config.tiedHead
    ? quantization === undefined
      ? (x: Value) => linear(x, leaf(EMBEDDING, embedding.shape))
      : prepare("head", embedding, "head")
    : prepare("lm_head.weight", take("lm_head.weight"), "head");
  onProgress?.(sites.length + 1, sites.length + 1);
  const small = [...weights].map(([name, { data, shape }]): [string, Value] => [name, constant(data, shape)]);
  return {
    config,
    widths,
    head,
    feeds,
    constantBytes,
    product: (site) => found(products.get(groupKey(site)), groupKey(site)),
    values: new Map([...small, [EMBEDDING, leaf(EMBEDDING, embedding.shape)]]),
  };
}

function found<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new MosError("bad_model", `the model has no weight ${name}`);
  return value;
}

const takeFrom =
  (weights: Map<string, HostTensor>) =>
  (name: string): HostTensor => {
    const tensor = found(weights.get(name), name);
    weights.delete(name);
    return tensor;
  };

/** The matrices of a group under each other: [Σ out, in]. */
function joined(
  { layer, group }: GroupSite,
  widths: GroupWidths,
  take: (name: string) => HostTensor,
): HostTensor {
  const parts = GROUPS[group].map((name) => take(`${modulePath({ layer, linear: name })}.weight`));
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return first;
  const data = new Float32Array(widths.out * widths.in);
  let place = 0;
  for (const part of parts) {
    data.set(part.data, place);
    place += part.data.length;
  }
  return { shape: [widths.out, widths.in], data };
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
