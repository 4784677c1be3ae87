// The base as the engine holds it. Plain matrices stay in this process and are fed to the programs; all others are packed
// by the runtime, which only does that with constants: they go through a file while they are read, so that neither this
// process nor the disk's cache has to keep a second copy of the model.
import type { FactorMap } from "#adapters";
import { MosError } from "#core";
import { weightParts } from "#files";
import {
  GROUPS,
  type GroupName,
  type HostTensor,
  type LayerGroup,
  linear,
  type PackedMatrix,
  packedLinear,
  type SessionOptions,
  softCap,
  storedWeight,
  type TensorData,
  type Value,
  weightLeaf,
} from "#graph";
import {
  type ComputeDtype,
  dequantizeWeight,
  floatData,
  floatWeight,
  type ModelConfig,
  toLayerShapes,
  type Weight,
  type WeightValues,
  weightFeeds,
  weightShapes,
} from "#models";
import { mergeAdapter } from "./merge-adapter.ts";
import { countRows, packMatrix } from "./pack-matrix.ts";
import { findLayer, type GroupWidths, PackedLayers, type Product } from "./packed-layers.ts";
import { type PackedStore, temporaryStore } from "./packed-store.ts";

/** A base that is ready to be built into the programs of a model runner; disposal removes its file once they are open. */
export interface BaseWeights extends AsyncDisposable {
  readonly config: ModelConfig;
  readonly widths: Readonly<Record<GroupName, GroupWidths>>;
  /**
   * The linear layers of a group on their common input x [..., in], an output [..., out] for each. What an adapter adds
   * to them comes joined: `branch` [..., Σ out].
   */
  readonly project: (x: Value, layerGroup: LayerGroup, branches?: readonly Value[]) => readonly Value[];
  /** Hidden states [..., C] giving logits [..., V]. */
  readonly head: (x: Value) => Value;
  /** Embedding and norms, and whatever else is plain, by Hugging Face's names. */
  readonly values: WeightValues;
  /** Bytes of the matrices that are part of every program: all but plain ones. */
  readonly constantBytes: number;
  /** Feeds of all leaves: `mergeAdapter` changes them. */
  readonly feeds: Record<string, HostTensor>;
  /** True if all linear layers are float32, so that an adapter can be merged into them. */
  readonly canMerge: boolean;
}

/** Weights by name, in any order: those of a model in memory, or of one that is read. */
export type WeightStream =
  | Iterable<readonly [string, Weight]>
  | AsyncIterable<readonly [name: string, weight: Weight]>;

/** Options of preparing a base for the model runner. */
export interface PrepareOptions {
  /** The precision of its products ("float32"); the base's embedding, norms and attention are float32 in any case. */
  readonly computeDtype?: ComputeDtype | undefined;
  /** Expands 16-bit numbers to float32 once, rather than at each step (true). */
  readonly expand?: boolean | undefined;
  /** An adapter that becomes part of the base, all of whose linear layers must be float32 then. */
  readonly mergedAdapter?: FactorMap | undefined;
  /** Called after each weight, with how many of all are done. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Session options of merging. */
  readonly session?: SessionOptions;
  /** Store of packed matrices, disposed with the base (a temporary file). */
  readonly store?: PackedStore;
}

/** Bytes of matrices in a program up to which a second program holds them again. */
export const SECOND_COPY_LIMIT = 1e9;

/** The embedding, by Hugging Face's name. */
export const EMBEDDING = "model.embed_tokens.weight";

/** Weights that are let go of as they are taken, so that no more than one is held twice. */
export function* consume(weights: Map<string, Weight>): Generator<readonly [string, Weight]> {
  for (const entry of weights) {
    weights.delete(entry[0]);
    yield entry;
  }
}

/**
 * Makes weights ready for a model runner as they arrive. Float32 matrices are not copied.
 *
 * @throws MosError "bad_model" for a weight that is missing, "storage" where the disk has no room, "bad_option" for an
 * adapter that would have to be merged into numbers of fewer bits.
 */
export async function prepareWeights(
  config: ModelConfig,
  weights: WeightStream,
  {
    computeDtype = "float32",
    expand = true,
    mergedAdapter,
    onProgress,
    session = {},
    store,
  }: PrepareOptions = {},
): Promise<BaseWeights> {
  const base = new BaseBuilder(config, { computeDtype, expand, store: store ?? temporaryStore() });
  try {
    const total = weightShapes(config).size;
    let done = 0;
    for await (const [name, weight] of weights) {
      await base.take(name, weight);
      onProgress?.(++done, total);
      // long work on the engine's thread: let messages in
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (mergedAdapter !== undefined)
      await mergeAdapter(base.feeds, { config, adapter: mergedAdapter, session });
    return base.finish();
  } catch (cause) {
    await base[Symbol.asyncDispose]();
    throw cause;
  }
}

/** Sorts weights as they come into leaves, constants and packed matrices. */
class BaseBuilder implements AsyncDisposable {
  readonly feeds: Record<string, HostTensor> = {};
  readonly #config: ModelConfig;
  readonly #options: BuilderOptions;
  readonly #values = new Map<string, Value>();
  readonly #layers: PackedLayers;
  #head: Product | undefined;
  #canMerge = true;

  constructor(config: ModelConfig, options: BuilderOptions) {
    this.#config = config;
    this.#options = options;
    this.#layers = new PackedLayers({
      isPlain: (weight) => this.#isPlain(weight),
      plain: (name, weight) => this.#leaf(name, weight),
      packed: (name, packed) => this.#packed(name, packed),
    });
  }

  async take(name: string, given: Weight): Promise<void> {
    // norms and biases are constants, since every leaf costs some microseconds at each step
    const { shape } = given;
    if (shape.length === 1) {
      const vector = { shape, dtype: "float32", data: () => floatData(given) } as const;
      this.#values.set(name, await this.#options.store.vector(name, vector));
      return;
    }
    const is16Bits = given.format.kind === "float16" || given.format.kind === "bfloat16";
    const weight =
      is16Bits && this.#options.expand ? floatWeight(given.shape, dequantizeWeight(given)) : given;
    const layer = findLayer(name);
    if (layer !== undefined) {
      this.#canMerge &&= weight.format.kind === "float32" && this.#isPlain(weight);
      return this.#layers.take(layer, weight);
    }
    const isEmbedding = name === EMBEDDING;
    if (isEmbedding) this.#values.set(name, await this.#table(name, weight));
    if (isEmbedding === this.#config.tiedHead) this.#head = await this.#product(name, weight);
  }

  finish(): BaseWeights {
    const config = this.#config;
    const values = this.#values;
    const widths = groupWidths(config);
    for (const name of weightShapes(config).keys())
      if (!values.has(name) && !this.#layers.has(name) && this.feeds[name] === undefined && name !== HEAD)
        throw missingError(name);
    const head = this.#head;
    if (head === undefined) throw missingError(config.tiedHead ? EMBEDDING : HEAD);
    return {
      config,
      widths,
      values,
      feeds: this.feeds,
      constantBytes: this.#options.store.bytes,
      head: (x) => softCap(head(x), config.logitSoftCap),
      canMerge: this.#canMerge,
      project: (x, layerGroup, branches) =>
        this.#layers.project(x, { layerGroup, widths: widths[layerGroup.group], values, branches }),
      [Symbol.asyncDispose]: () => this[Symbol.asyncDispose](),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#options.store[Symbol.asyncDispose]();
  }

  /** Weights that the graph's own product takes. */
  #isPlain({ format: { kind } }: Weight): boolean {
    return this.#options.computeDtype === "float32" && kind !== "blocks" && kind !== "nf4";
  }

  #leaf(name: string, weight: Weight): Value {
    Object.assign(this.feeds, weightFeeds(name, weight));
    return weightLeaf(name, weight.shape, weight.format);
  }

  /** A table whose rows are gathered: only those are dequantised. */
  async #table(name: string, weight: Weight): Promise<Value> {
    const { format, shape, parts } = weight;
    if (format.kind !== "blocks" && format.kind !== "nf4") return this.#leaf(name, weight);
    const values: [string, Value][] = [];
    for (const { part, ...type } of weightParts(format, shape)) {
      const data = (): TensorData => {
        const found = parts[part];
        if (found === undefined) throw missingError(`${name}:${part}`);
        return found;
      };
      values.push([part, await this.#options.store.tensor(`${name}:${part}`, { ...type, data })]);
    }
    return storedWeight(format, shape, Object.fromEntries(values));
  }

  async #product(name: string, weight: Weight): Promise<Product> {
    if (!this.#isPlain(weight)) return this.#packed(HEAD, [weight]);
    const value = this.#values.get(name) ?? this.#leaf(name, weight);
    return (x) => linear(x, value);
  }

  async #packed(name: string, weights: readonly Weight[]): Promise<Product> {
    const { computeDtype, store } = this.#options;
    const shape = { out: countRows(weights), in: weights[0]?.shape[1] ?? 0 };
    return makeProduct(
      await store.matrix(name, shape, () => packMatrix(weights, computeDtype)),
      computeDtype,
    );
  }
}

/** A function of its own, since one beside the packing would keep the weights in memory. */
const makeProduct =
  (matrix: PackedMatrix, computeDtype: ComputeDtype): Product =>
  (x) =>
    packedLinear(x, matrix, { computeDtype });

interface BuilderOptions {
  readonly computeDtype: ComputeDtype;
  readonly expand: boolean;
  readonly store: PackedStore;
}

const HEAD = "lm_head.weight";

const missingError = (name: string): MosError => new MosError("bad_model", `the model has no weight ${name}`);

function groupWidths(config: ModelConfig): BaseWeights["widths"] {
  const { widths } = toLayerShapes(config);
  const widthsInGroup = (group: GroupName): GroupWidths => {
    const [first] = GROUPS[group];
    const outs = GROUPS[group].map((name) => widths[name].out);
    return { in: widths[first].in, outs, out: outs.reduce((a, b) => a + b, 0) };
  };
  return {
    qkv: widthsInGroup("qkv"),
    o: widthsInGroup("o"),
    gateUp: widthsInGroup("gateUp"),
    down: widthsInGroup("down"),
  };
}
