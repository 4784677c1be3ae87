// The base as the engine holds it. Plain matrices stay in this process and are fed to the programs; all others are packed
// by the runtime, which only does that with constants: they go through a file while they are read, so that neither this
// process nor the disk's cache has to keep a second copy of the model.

import {
  add,
  compile,
  concat,
  DEFAULT_DEVICE,
  type Device,
  type HostTensor,
  int8Forward,
  leaf,
  linear,
  matmul,
  type PackedMatrix,
  packedLinear,
  type SessionOptions,
  softCap,
  split,
  storedWeight,
  supports,
  type TensorData,
  type Value,
  weightLeaf,
} from "mixture-of-shards-graph";
import { type WeightFormat, weightParts } from "mixture-of-shards-graph/common";
import type { FactorMap } from "#adapters";
import { MosError } from "#common";
import {
  type ComputeDtype,
  dequantizeWeight,
  fileWeight,
  findLinear,
  floatData,
  floatWeight,
  groupKey,
  isMatrix,
  LAYER_EMBEDDINGS,
  type LayerGroup,
  type LinearName,
  listLayerGroups,
  listPools,
  type ModelConfig,
  moduleKey,
  modulePath,
  type TargetModule,
  toLayerShapes,
  type Weight,
  weightFeeds,
  weightShapes,
} from "#models";
import { nextTurn } from "#platform";
import { canJoin, countRows, joinPlain, type MatrixArrays, packedBytes, packMatrix } from "./pack-matrix.ts";
import { type PackedStore, temporaryStore } from "./packed-store.ts";

/** Options of preparing a base for the model runner. */
export interface PrepareOptions {
  /** The precision of its products ("float32"); the base's embedding, norms and attention are float32 in any case. */
  readonly computeDtype?: ComputeDtype | undefined;
  /** Expands to float32 once, rather than at each step, 16-bit weights and what the device has no product for (true). */
  readonly expand?: boolean | undefined;
  /** The device of the steps. Where it is slow with blocks they stay as they are stored, or are expanded. */
  readonly device?: Device | undefined;
  /** The weights stay in memory for others: a table is fed from there and not copied. */
  readonly inMemory?: boolean | undefined;
  /**
   * Copies what would be fed, and weights of 8 bits as float32, into constants, which the runtime packs once rather than at each step:
   * for steps of many rows (false).
   */
  readonly prepack?: boolean | undefined;
  /** Store of packed matrices, disposed with the base (a temporary file). */
  readonly store?: PackedStore | undefined;
}

/** Bytes of matrices in a program up to which a second program holds them again. */
export const SECOND_COPY_LIMIT = 1e9;
/** The same where drafts need the second program, and memory has room for it. */
const DRAFT_COPY_LIMIT = 2e9;

/** Tests whether a second program holds matrices of so many bytes again; `twice` where drafts need it and there is room. */
export const isHeldTwice = (bytes: number, twice: boolean): boolean =>
  bytes <= (twice ? DRAFT_COPY_LIMIT : SECOND_COPY_LIMIT);

/** The embedding, by Hugging Face's name. */
export const EMBEDDING = "model.embed_tokens.weight";

/**
 * Makes weights ready for a model runner as they arrive. Float32 matrices are not copied.
 *
 * @throws MosError "bad_model" for a weight that is missing, "storage" where the disk has no room.
 */
export async function prepareWeights(
  config: ModelConfig,
  weights: Iterable<readonly [string, Weight]> | AsyncIterable<readonly [string, Weight]>,
  options: PrepareOptions = {},
): Promise<BaseWeights> {
  const base = new Base(config, options);
  try {
    for await (const [name, weight] of weights) {
      await base.take(name, weight);
      // long work on the engine's thread: let messages in
      await nextTurn();
    }
    base.assertComplete();
    return base;
  } catch (cause) {
    await base[Symbol.asyncDispose]();
    throw cause;
  }
}

/** Tests whether a weight is stored in blocks, with a product of its own for it. */
export const isBlocks = ({ kind }: WeightFormat): boolean => kind === "blocks" || kind === "nf4";

/** How a device multiplies with blocks as the runtime packs them, if it does, and whether plain weights are packed as well. */
interface Packing {
  readonly packs: boolean;
  readonly prepack: boolean;
}

/** Tests whether a weight becomes float32 where memory has room for it. */
export const isExpandable = (name: string, format: WeightFormat, { packs, prepack }: Packing): boolean => {
  const isHalf = format.kind === "float16" || format.kind === "bfloat16";
  // its product in float32 takes those of two matrices of 4 bits
  const isWide = prepack && format.kind === "blocks" && format.bits === 8;
  return name !== LAYER_EMBEDDINGS && (isHalf || isWide || (!packs && isBlocks(format)));
};

/** Sorts weights as they come into leaves, constants and packed matrices. */
class Base implements AsyncDisposable {
  readonly config: ModelConfig;
  /** Embedding and norms, and whatever else is plain, by Hugging Face's names. */
  readonly values = new Map<string, Value>();
  /** Feeds of all leaves: `mergeAdapter` changes them. */
  readonly feeds: Record<string, HostTensor> = {};
  /** Feeds of further leaves, whose numbers change between runs. */
  readonly changing: Readonly<Record<string, HostTensor>> = {};
  readonly computeDtype: ComputeDtype;
  /** True if all linear layers are float32, so that an adapter can be merged into them. */
  canMerge = true;
  readonly #expand: boolean;
  /** Whether the device multiplies with blocks as the runtime packs them. */
  readonly #packs: boolean;
  readonly #inMemory: boolean;
  readonly #prepack: boolean;
  readonly #store: PackedStore;
  readonly #layerGroups: readonly LayerGroup[];
  /** Weights of groups that lack others. */
  readonly #waiting = new Map<string, Map<LinearName, Weight>>();
  /** One product for all layers of a group, or one for each. */
  readonly #groups = new Map<string, Product | readonly Product[]>();
  #head: Product | undefined;
  #holders = 1;
  /** Bytes of the matrices that are part of every program, as the plan of an engine counts them. */
  constantBytes = 0;

  constructor(
    config: ModelConfig,
    {
      computeDtype = "float32",
      expand = true,
      device = DEFAULT_DEVICE,
      inMemory = false,
      prepack = false,
      store = temporaryStore(),
    }: PrepareOptions,
  ) {
    this.config = config;
    this.#layerGroups = listLayerGroups(config);
    this.computeDtype = computeDtype;
    this.#expand = expand;
    this.#packs = supports(device, "blockProduct") || computeDtype === "int8";
    this.#inMemory = inMemory;
    this.#prepack = prepack;
    this.#store = store;
  }

  /**
   * The linear layers of a group on their common input x [..., in], an output [..., out] for each, with what an adapter adds
   * to each.
   */
  project(x: Value, layerGroup: LayerGroup, branches: readonly Value[] = []): readonly Value[] {
    const products = this.#groups.get(groupKey(layerGroup)) ?? [];
    const { layer, linears, outs } = layerGroup;
    const biases = linears.map((name) => this.values.get(`${modulePath({ layer, linear: name })}.bias`));
    const plus = (y: Value, z: Value | undefined): Value => (z === undefined ? y : add(y, z));
    const last = x.shape.length - 1;
    if (typeof products !== "function")
      return products.map((product, i) => plus(plus(product(x), biases[i]), branches[i]));
    // one sum rather than one of each part
    const joined = branches.length === 0 ? products(x) : add(products(x), concat(branches, last));
    return split(joined, { axis: last, sizes: outs }).map((y, i) => plus(y, biases[i]));
  }

  /** Hidden states [..., C] giving logits [..., V]. */
  head(x: Value): Value {
    return softCap((this.#head as Product)(x), this.config.logitSoftCap);
  }

  /** Keeps its file until it is disposed once more: for whoever compiles programs later. */
  hold(): void {
    this.#holders += 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#holders -= 1;
    if (this.#holders === 0) await this.#store[Symbol.asyncDispose]();
  }

  async take(name: string, given: Weight): Promise<void> {
    // norms, biases and kernels are constants, since every leaf costs some microseconds at each step
    const { shape } = given;
    if (!isMatrix(shape)) {
      const vector = { shape, dtype: "float32", data: () => floatData(given) } as const;
      this.values.set(name, await this.#store.vector(name, vector));
      return;
    }
    const packing = { packs: this.#packs, prepack: this.#prepack };
    const weight =
      this.#expand && isExpandable(name, given.format, packing)
        ? floatWeight(shape, dequantizeWeight(given))
        : given;
    const target = findLinear(name);
    if (target !== undefined) {
      this.canMerge &&= weight.format.kind === "float32" && this.#isPlain(weight);
      return this.#takeLayer(target, weight);
    }
    // rows of an embedding are read as they are stored, unless a product is fed with them
    const table = this.#prepack && name === EMBEDDING ? given : weight;
    if (name !== HEAD) this.values.set(name, await this.#table(name, table));
    if (name !== (this.config.tiedHead ? EMBEDDING : HEAD)) return;
    this.#head = this.#isFed(weight) ? this.#plain(name, weight) : await this.#constants(HEAD, [weight]);
  }

  assertComplete(): void {
    const missing = [...weightShapes(this.config).keys()].find((name) => {
      const target = findLinear(name);
      const isProduct = target !== undefined && this.#groups.has(groupKey(this.#groupOf(target)));
      return !isProduct && name !== HEAD && !this.values.has(name) && this.feeds[name] === undefined;
    });
    if (missing !== undefined) throw missingError(missing);
    if (this.#head === undefined) throw missingError(this.config.tiedHead ? EMBEDDING : HEAD);
  }

  #groupOf({ layer, linear: name }: TargetModule): LayerGroup {
    const found = this.#layerGroups.find((one) => one.layer === layer && one.linears.includes(name));
    if (found === undefined) throw missingError(modulePath({ layer, linear: name }));
    return found;
  }

  /** Makes the products of a group when its last weight arrives, so that few are held at a time. */
  async #takeLayer(target: TargetModule, weight: Weight): Promise<void> {
    const layerGroup = this.#groupOf(target);
    const key = groupKey(layerGroup);
    const waiting = this.#waiting.get(key) ?? new Map<LinearName, Weight>();
    this.#waiting.set(key, waiting.set(target.linear, weight));
    const { linears: names } = layerGroup;
    const weights = names.flatMap((part) => waiting.get(part) ?? []);
    if (weights.length < names.length) return;
    this.#waiting.delete(key);
    // a weight that is fed is a product by itself: joined it would be a copy, and no faster
    if (!weights.some((one) => this.#isFed(one)) && canJoin(weights)) {
      this.#groups.set(key, await this.#constants(key, weights));
      return;
    }
    const products: Product[] = [];
    for (const [i, one] of weights.entries()) {
      const name = `${modulePath({ layer: layerGroup.layer, linear: names[i] as LinearName })}.weight`;
      products.push(this.#isFed(one) ? this.#plain(name, one) : await this.#constants(name, [one]));
    }
    this.#groups.set(key, products);
  }

  /** Weights that the graph's own product takes. */
  #isPlain({ format }: Weight): boolean {
    return this.computeDtype === "float32" && !(this.#packs && isBlocks(format));
  }

  /** Those of them that stay where they are. */
  #isFed(weight: Weight): boolean {
    return !this.#prepack && this.#isPlain(weight);
  }

  #leaf(name: string, weight: Weight): Value {
    Object.assign(this.feeds, weightFeeds(name, weight));
    return weightLeaf(name, weight.shape, weight.format);
  }

  /** A table whose rows are gathered: only those are dequantised, and of one in the store only those are in memory. */
  async #table(name: string, weight: Weight): Promise<Value> {
    const inFile = fileWeight(weight);
    if (inFile !== undefined) return inFile;
    const { format, shape, parts } = weight;
    const isStored = isBlocks(format) || (name === LAYER_EMBEDDINGS && !this.#inMemory);
    if (!this.#packs || !isStored) return this.#leaf(name, weight);
    const values: [string, Value][] = [];
    for (const { part, ...type } of weightParts(format, shape)) {
      const data = (): TensorData => {
        const found = parts[part];
        if (found === undefined) throw missingError(`${name}:${part}`);
        return found;
      };
      values.push([part, await this.#store.tensor(`${name}:${part}`, { ...type, data })]);
    }
    return storedWeight(format, shape, Object.fromEntries(values));
  }

  #plain(name: string, weight: Weight): Product {
    const value = this.values.get(name) ?? this.#leaf(name, weight);
    return (x) => linear(x, value);
  }

  /** A product with weights under each other, whose tensors become constants. */
  async #constants(name: string, weights: readonly Weight[]): Promise<Product> {
    if (!weights.every((one) => this.#isPlain(one))) return this.#packed(name, weights);
    const plain = joinPlain(weights);
    const parts: [string, Value][] = [];
    for (const { part, ...type } of weightParts(plain.format, plain.shape)) {
      const data = plain.parts[part];
      if (data === undefined) continue;
      this.constantBytes += data.byteLength;
      parts.push([part, await this.#store.tensor(`${name}:${part}`, { ...type, data: () => data })]);
    }
    return plainProduct(plain, Object.fromEntries(parts));
  }

  async #packed(name: string, weights: readonly Weight[]): Promise<Product> {
    const { computeDtype } = this;
    const shape = { out: countRows(weights), in: weights[0]?.shape[1] ?? 0 };
    const pack = (): MatrixArrays => packMatrix(weights, computeDtype);
    for (const one of weights) this.constantBytes += packedBytes(one.format, one.shape, computeDtype);
    return makeProduct(await this.#store.matrix(name, shape, pack), computeDtype);
  }
}

/** A base that is ready to be built into the programs of a model runner; disposal removes its file once they are open. */
export type BaseWeights = Omit<Base, "take" | "assertComplete">;

/** A function of its own, since one beside the packing would keep the weights in memory. */
const makeProduct =
  (matrix: PackedMatrix, computeDtype: ComputeDtype): Product =>
  (x) =>
    packedLinear(x, matrix, { computeDtype });

/** The same for plain weights. */
const plainProduct = (
  { format, shape }: Pick<Weight, "format" | "shape">,
  parts: Readonly<Record<string, Value>>,
): Product => {
  const [data] = Object.values(parts);
  return format.kind === "int8rows"
    ? (x) => int8Forward(x, { format, shape, parts })
    : (x) => linear(x, data as Value);
};

const HEAD = "lm_head.weight";

const missingError = (name: string): MosError =>
  new MosError("bad_model", `the weight ${name} is missing from the model`);

/** x [..., in] times a matrix that was prepared for it. */
type Product = (x: Value) => Value;

/**
 * Puts W + scale · B A in the place of every weight that an adapter touches; the old arrays stay as they are.
 *
 * @throws MosError "bad_option" where such a weight is not float32.
 */
export async function mergeAdapter(
  { config, feeds }: BaseWeights,
  adapter: FactorMap,
  options: SessionOptions = {},
): Promise<void> {
  for (const { linear, in: width, out, layers } of listPools(toLayerShapes(config))) {
    const delta = matmul(leaf("b", ["rank", out]), leaf("a", ["rank", width]), { transposeA: true });
    const sum = add(leaf("w", [out, width]), delta);
    // one program serves the layers, so that no more than one of them is held twice
    await using program = await compile({ sum }, options);
    for (const layer of layers) {
      const factors = adapter.get(moduleKey({ layer, linear }));
      if (factors === undefined) continue;
      const { rank, scale } = factors;
      const name = `${modulePath({ layer, linear })}.weight`;
      const w = feeds[name];
      if (!(w?.data instanceof Float32Array))
        throw new MosError("bad_option", `${name} is not float32, so no adapter can be merged into it`);
      const merged = await program.run({
        w,
        a: { shape: [rank, width], data: factors.a },
        b: { shape: [rank, out], data: factors.b.map((x) => x * scale) },
      });
      feeds[name] = merged["sum"] as HostTensor;
    }
  }
}
