// The table of all methods, and an adapter of one: in memory, as part of a graph, and as a hook on the model's linear layers.

import { constant, leaf, lowRankLinear, type Merge, type Value } from "mixture-of-shards-graph";
import { countElements, MosError, omitUndefined, randomStream } from "#common";
import { type LinearHook, plainLinear, type TargetModule, withBias } from "#models";
import { nextTurn } from "#platform";
import { type LoraConfig, lora } from "./lora.ts";
import { type LoraXsConfig, loraXs } from "./lora-xs.ts";
import type {
  AdapterMethod,
  AdapterTensor,
  AdapterTensors,
  FactorOptions,
  Factors,
  LayerShapes,
  TensorSpec,
  TensorView,
} from "./method.ts";
import { uniform } from "./method-parts.ts";
import { type MosConfig, mos } from "./mos.ts";
import { type ProloraConfig, prolora } from "./prolora.ts";
import {
  type PureSharingConfig,
  pureSharing,
  type RandomScalingConfig,
  randomScaling,
  type SubsetSelectionConfig,
  subsetSelection,
} from "./pure-sharing.ts";
import { type TiedLoraConfig, tiedLora } from "./tied-lora.ts";
import { type UniLoraConfig, uniLora } from "./uni-lora.ts";
import { type VeraConfig, vera } from "./vera.ts";

/** Settings of any method, defaults filled in. */
export type AdapterConfig =
  | LoraConfig
  | MosConfig
  | PureSharingConfig
  | RandomScalingConfig
  | SubsetSelectionConfig
  | VeraConfig
  | TiedLoraConfig
  | ProloraConfig
  | LoraXsConfig
  | UniLoraConfig;
/** A name that `--method` takes. */
export type MethodName = AdapterConfig["method"];

type Table = { readonly [M in MethodName]: AdapterMethod<Extract<AdapterConfig, { readonly method: M }>> };

/** Every method that there is. A missing row does not compile; nothing else asks for a method's name. */
export const methods = {
  lora,
  mos,
  "pure-sharing": pureSharing,
  "random-scaling": randomScaling,
  "subset-selection": subsetSelection,
  vera,
  "tied-lora": tiedLora,
  prolora,
  "lora-xs": loraXs,
  "uni-lora": uniLora,
} satisfies Table;

/** All of them. */
export const METHOD_NAMES = Object.keys(methods) as readonly MethodName[];

/** The method of these settings, bound to them. */
export function bindMethod(config: AdapterConfig) {
  const method: AdapterMethod<AdapterConfig> = methods[config.method];
  const { check, tensors, factors, folder, routing } = method;
  const values = new Map<string, unknown>(Object.entries(config));
  return {
    check: (shapes: LayerShapes): void => check(config, shapes),
    tensors: (shapes: LayerShapes) => tensors(config, shapes),
    factors: (options: FactorOptions) => factors(config, options),
    /** None for a method that does not route. */
    routing: (shapes: LayerShapes) => routing?.(config, shapes) ?? [],
    peftType: folder.peftType,
    tensorName: folder.tensorName,
    /** The method's own fields of adapter_config.json. */
    fields: (): Readonly<Record<string, unknown>> => ({
      ...folder.constants,
      ...Object.fromEntries(
        Object.entries<string>(folder.settings).map(([name, field]) => [field, values.get(name)]),
      ),
    }),
  };
}

/** An adapter in memory: its settings, the shape of the base that it fits, and its tensors. */
export interface Adapter {
  readonly config: AdapterConfig;
  readonly shapes: LayerShapes;
  readonly tensors: AdapterTensors;
}

/** A tensor's start: every tensor has a stream of its own. */
export const drawTensor = ({ name, shape, initialize }: TensorSpec, seed: number): AdapterTensor => ({
  shape,
  data: initialize(randomStream(seed, name)),
});

/** Elements that are drawn or checked before other work may run: a server loads adapters while it answers requests. */
export const CHUNK_SIZE = 1 << 16;

/** Data of `drawTensor` for a seeded tensor, which may be large though the adapter's file is small. */
export async function drawSeeded(spec: TensorSpec, seed: number): Promise<AdapterTensor> {
  const { name, shape, bound, prepare } = spec;
  await prepare?.();
  if (bound === undefined) return drawTensor(spec, seed);
  const random = randomStream(seed, name);
  const data = new Float32Array(countElements(shape));
  for (let begin = 0; begin < data.length; begin += CHUNK_SIZE) {
    const count = Math.min(CHUNK_SIZE, data.length - begin);
    data.set(uniform(count, bound)(random), begin);
    await nextTurn();
  }
  return { shape, data };
}

/**
 * A new adapter, which changes nothing yet: B is zero, and in Uni-LoRA tiny. Every tensor is drawn from its own stream of the seed, so the
 * same settings give the same adapter everywhere. Throws `bad_config`.
 *
 * @example
 * const adapter = createAdapter(parseAdapterConfig({ method: "mos", rank: 8, equivalentRank: 2 }), shapes);
 */
export function createAdapter(config: AdapterConfig, shapes: LayerShapes): Adapter {
  const method = bindMethod(config);
  method.check(shapes);
  const tensors = method.tensors(shapes).map((spec) => [spec.name, drawTensor(spec, config.seed)] as const);
  return { config, shapes, tensors: new Map(tensors) };
}

/** A new adapter of a method that may take a part of it from the base's weights. Throws `bad_config`, and what reading the base throws. */
export async function startAdapter(config: AdapterConfig, shapes: LayerShapes): Promise<Adapter> {
  for (const { prepare } of bindMethod(config).tensors(shapes)) await prepare?.();
  return createAdapter(config, shapes);
}

/** An adapter for plans: its tensors are zeros, only its index tables are drawn. Throws `bad_config`. */
export function blankAdapter(config: AdapterConfig, shapes: LayerShapes): Adapter {
  const method = bindMethod(config);
  method.check(shapes);
  const tensors = method.tensors(shapes).map((spec): readonly [string, AdapterTensor] => {
    const { name, shape, dtype } = spec;
    if (dtype === "int32") return [name, drawTensor(spec, config.seed)];
    return [name, { shape, data: new Float32Array(countElements(shape)) }];
  });
  return { config, shapes, tensors: new Map(tensors) };
}

/** An adapter as part of a graph. */
export interface AdapterLeaves {
  /** The trained tensors as inputs, named `adapter.<tensor>`, and their content, which training overwrites. */
  readonly trainable: ReadonlyMap<string, Value>;
  readonly parameters: ReadonlyMap<
    string,
    { readonly shape: readonly number[]; readonly data: Float32Array }
  >;
  /** The factors of a new graph: call it once for each graph that is built. */
  readonly factors: () => (target: TargetModule) => Factors | undefined;
}

/** The trained tensors of an adapter become leaves of a graph, the frozen ones constants. */
export function adapterLeaves({ config, shapes, tensors }: Adapter): AdapterLeaves {
  const method = bindMethod(config);
  const trainable = new Map<string, Value>();
  const parameters = new Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }>();
  const values = new Map<string, Value>();
  for (const { name, role } of method.tensors(shapes)) {
    const tensor = tensors.get(name);
    if (!(tensor?.data instanceof Float32Array)) continue;
    const { shape, data } = tensor;
    const value = role === "trainable" ? leaf(`adapter.${name}`, shape) : constant(data, shape);
    values.set(name, value);
    if (role !== "trainable") continue;
    trainable.set(`adapter.${name}`, value);
    parameters.set(`adapter.${name}`, { shape, data });
  }
  const view: TensorView = {
    value(name) {
      const value = values.get(name);
      if (value === undefined) throw new MosError("bad_adapter", `the adapter has no tensor ${name}`);
      return value;
    },
    indices(name) {
      const data = tensors.get(name)?.data;
      if (!(data instanceof Int32Array))
        throw new MosError("bad_adapter", `the adapter has no index table ${name}`);
      return data;
    },
  };
  return { trainable, parameters, factors: () => method.factors({ shapes, view }) };
}

/** Where the factors come from, and how they are applied. */
export interface AdapterHookOptions {
  /** The factors of a module; undefined where the adapter does not touch it. */
  readonly factors: (target: TargetModule) => Factors | undefined;
  /** Add scale · B A to W once per step rather than to every row. A module with a dropout mask keeps its branch. */
  readonly merge: Merge | false;
  /** 0 or 1 / (1 − probability) for each input of the module's branch. */
  readonly dropoutMask?: (target: TargetModule) => Value;
}

/** Linear layers with an adapter where it has factors, and as they are elsewhere. */
export const adapterHook =
  ({ factors, merge, dropoutMask }: AdapterHookOptions): LinearHook =>
  (x, target, weights) => {
    const found = factors(target);
    if (found === undefined) return plainLinear(x, target, weights);
    const mask = dropoutMask?.(target);
    return withBias(
      lowRankLinear(x, weights.weight, {
        ...found,
        merge: mask === undefined && merge,
        ...omitUndefined({ dropoutMask: mask }),
      }),
      weights.bias,
    );
  };
