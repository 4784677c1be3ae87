// Parts that methods share: tensors and their initialization, widths of the adapted layers, settings.
// L layers · r rank.
import { z } from "zod";
import { MosError, type Settings, type SettingValues, setting } from "#common";
import { COMMON_LINEARS, LINEAR_NAMES, type LinearName, listPools, type Pool } from "#models";
import type {
  AdapterMethod,
  CommonConfig,
  FactorOptions,
  Factors,
  FolderFormat,
  LayerShapes,
  TensorSpec,
  Widths,
} from "./method.ts";

/** The pools of a target. Throws `bad_config` for a linear layer that the model does not have. */
export function targetPools(shapes: LayerShapes, name: LinearName): readonly Pool[] {
  const found = listPools(shapes, [name]);
  if (found.length === 0)
    throw new MosError(
      "bad_config",
      `targets: this model has no ${name}; it has ${[...new Set(listPools(shapes).map(({ linear }) => linear))].join(", ")}`,
    );
  return found;
}

/** The pools of all targets. */
export const allPools = (
  { targets }: { readonly targets: readonly LinearName[] },
  shapes: LayerShapes,
): readonly Pool[] => targets.flatMap((name) => targetPools(shapes, name));

const greatestCommonDivisor = (a: number, b: number): number =>
  b === 0 ? a : greatestCommonDivisor(b, a % b);

/** The numbers of shards that cut every one of the widths into equal parts, from 1 up. */
export function shardCounts(widths: readonly Widths[]): readonly number[] {
  const common = widths.flatMap((width) => [width.in, width.out]).reduce(greatestCommonDivisor);
  return Array.from({ length: common }, (_, i) => i + 1).filter((count) => common % count === 0);
}

/** The factor on B A of a method that has an alpha. */
export const alphaScale = ({ alpha, rank }: { readonly alpha: number; readonly rank: number }): number =>
  alpha / rank;

type Initialize = TensorSpec["initialize"];

/** A trained tensor of float32. */
export const trainable = (name: string, shape: readonly number[], initialize: Initialize): TensorSpec => ({
  name,
  shape,
  role: "trainable",
  dtype: "float32",
  initialize,
});

/** Uniform in ±bound. */
export const uniform =
  (length: number, bound: number): Initialize =>
  (random) => {
    const data = new Float32Array(length);
    for (let i = 0; i < length; i++) data[i] = (2 * random.uniform() - 1) * bound;
    return data;
  };

/** Uniform in ±1/√fanIn: Kaiming's rule with a = √5, as torch.nn.Linear and PEFT start A. */
export const kaiming = (length: number, fanIn: number): Initialize => uniform(length, 1 / Math.sqrt(fanIn));

/** The same number everywhere. */
export const filled =
  (length: number, value: number): Initialize =>
  () =>
    new Float32Array(length).fill(value);

/** Zero everywhere, as B starts. */
export const zeros = (length: number): Initialize => filled(length, 0);

/** Linear layers that a method can adapt, in the model's order. `fittingConfig` finds those of a model where none are named. */
export function targetsSetting(known: readonly LinearName[], standard = known) {
  const inOrder = (given: readonly LinearName[]): readonly LinearName[] =>
    known.filter((name) => given.includes(name));
  return setting(z.array(z.enum(known)).min(1).transform(inOrder), {
    default: standard,
    defaultText: "all",
    help: "linear layers to adapt",
  });
}

/** alpha of scale = alpha / r, for the methods that have one. */
export const alphaSetting = {
  alpha: setting(z.number().gt(0).max(1e6), {
    default: 16,
    placeholder: "a",
    help: "scale the update by alpha / rank",
  }),
};

/** e: the budget, as many trainable parameters as LoRA of this rank. */
export const equivalentRankSetting = {
  equivalentRank: setting(z.int().min(1).max(4096), {
    common: true,
    default: 2,
    placeholder: "e",
    label: "Budget (equivalent LoRA rank)",
    help: "parameter budget, as the rank of a LoRA with as many trainable parameters",
  }),
};

/** The rank of each layer, where another default or a higher limit suits a method. */
export const rankSetting = ({ standard, max = 4096 }: { readonly standard: number; readonly max?: number }) =>
  setting(z.int().min(1).max(max), {
    default: standard,
    placeholder: "r",
    help: "rank of each layer's update",
  });

/** Settings that every method has. */
export const commonSettings = {
  rank: rankSetting({ standard: 8 }),
  dropout: setting(z.number().min(0).lt(1).describe("a probability"), {
    default: 0,
    placeholder: "p",
    help: "dropout probability of the adapter's inputs in training",
  }),
  targets: targetsSetting(LINEAR_NAMES, COMMON_LINEARS),
  seed: setting(z.int().min(0).describe("a whole number below 2^53"), {
    default: 0,
    help: "random seed of routing and initialisation",
  }),
};

/**
 * A method's configuration, defaults filled in, by the tables of its settings: declarations keep the comments only of a table
 * that is named by itself.
 */
export type MethodConfig<Method extends string, S extends Settings> = {
  readonly method: Method;
} & SettingValues<S>;

/** A module whose factors are asked for: its layer is the `index`-th of those that share its pool. */
export interface PoolPlace {
  readonly pool: Pool;
  readonly layer: number;
  readonly index: number;
}

/** A method without what follows from its settings. Its functions are asked about its own targets, which the model has. */
interface MethodDefinition<C extends CommonConfig>
  extends Pick<AdapterMethod<C>, "summary" | "tensors" | "routing">,
    Partial<Pick<AdapterMethod<C>, "check" | "hasLinearFactors">> {
  readonly example: Partial<C>;
  factors(config: C, options: FactorOptions): (place: PoolPlace) => Factors;
  /** PEFT does not know such folders, unless this says so. */
  readonly folder: Pick<FolderFormat<C>, "peftType" | "settings"> & Partial<FolderFormat<C>>;
}

/** A method of this name and these settings. */
export function defineMethod<
  C extends CommonConfig & { readonly method: string },
  S extends Settings = Settings,
>(
  method: C["method"],
  settings: S,
  { example, check, factors, folder, ...own }: MethodDefinition<C>,
): AdapterMethod<C, S> {
  // the type of a configuration is made of the same settings
  const schema = z.strictObject({ method: z.literal(method), ...settings }) as unknown as z.ZodType<C>;
  return {
    settings,
    schema,
    example: schema.parse({ method, ...example }),
    check(config, shapes) {
      allPools(config, shapes);
      check?.(config, shapes);
    },
    factors(config, options) {
      const factorsOf = factors(config, options);
      const pools = listPools(options.shapes, config.targets);
      return ({ layer, linear }) => {
        const pool = pools.find((one) => one.linear === linear && one.layers.includes(layer));
        return pool && factorsOf({ pool, layer, index: pool.layers.indexOf(layer) });
      };
    },
    hasLinearFactors: true,
    folder: {
      isKnownToPeft: false,
      constants: {},
      tensorName: (name) => `base_model.model.${name}`,
      ...folder,
    },
    ...own,
  };
}
