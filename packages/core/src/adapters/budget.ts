// Cost of an adapter before it exists.
import { countElements } from "#common";
import { type LinearName, type ModelConfig, parameterCount, toLayerShapes } from "#models";
import { type AdapterConfig, bindMethod } from "./adapter.ts";
import { type AdapterConfigInput, fittingConfig } from "./adapter-settings.ts";
import type { LayerShapes, TensorSpec } from "./method.ts";
import { allPools } from "./method-parts.ts";

/** Cost of an adapter, before it exists. @inline */
export interface Budget {
  /** Trainable parameters. */
  readonly trainable: number;
  /** Frozen parameters that are saved with the adapter. */
  readonly frozen: number;
  /** Frozen parameters that come from the seed or the base: not saved, and kept once for all adapters that share them. */
  readonly seeded: number;
  /** Bytes of the trainable parameters in a precision, and of the frozen ones, four bytes each. */
  readonly bytes: { readonly float32: number; readonly bfloat16: number; readonly int8: number };
  /** LoRA of the same rank on the same targets. */
  readonly lora: {
    readonly trainable: number;
    readonly bytes: { readonly float32: number; readonly bfloat16: number; readonly int8: number };
  };
  /** Trainable parameters as a share of that LoRA's. */
  readonly ratio: number;
  /** The rank of the LoRA with as many trainable parameters; not whole for every method. */
  readonly equivalentRank: number;
}

const count = (specs: readonly TensorSpec[], role: TensorSpec["role"]): number =>
  specs.filter((spec) => spec.role === role).reduce((sum, { shape }) => sum + countElements(shape), 0);

const bytesByDtype = (trainable: number, frozen: number) => ({
  float32: 4 * (trainable + frozen),
  bfloat16: 2 * trainable + 4 * frozen,
  int8: trainable + 4 * frozen,
});

/** Counted from the tensors that training would create, so that it cannot disagree with them. Throws `bad_config`. */
export function budget(config: AdapterConfig, shapes: LayerShapes): Budget {
  const method = bindMethod(config);
  method.check(shapes);
  const specs = method.tensors(shapes);
  const trainable = count(specs, "trainable");
  const [frozen, seeded] = [count(specs, "frozen"), count(specs, "seeded")];
  const perRank = allPools(config, shapes).reduce(
    (sum, { in: width, out, layers }) => sum + layers.length * (width + out),
    0,
  );
  const loraTrainable = config.rank * perRank;
  return {
    trainable,
    frozen,
    seeded,
    bytes: bytesByDtype(trainable, frozen),
    lora: { trainable: loraTrainable, bytes: bytesByDtype(loraTrainable, 0) },
    ratio: trainable / loraTrainable,
    equivalentRank: trainable / perRank,
  };
}

/** The part of one type of linear layers, over all decoder layers that have it in these widths. @inline */
export interface TypeParams {
  readonly linear: LinearName;
  readonly in: number;
  readonly out: number;
  /** Decoder layers that have it. */
  readonly layers: number;
  /** Undefined where types share what is trained. */
  readonly trainable: number | undefined;
}

/** Cost of an adapter relative to its model. @inline */
export interface AdapterParams {
  readonly adapter: AdapterConfig;
  readonly budget: Budget;
  readonly layers: number;
  /** Parameters of the model. */
  readonly parameters: number;
  readonly types: readonly TypeParams[];
}

/**
 * Cost of a new adapter, from the model's config alone. Throws `bad_config` for settings that contradict
 * each other or do not fit the model.
 *
 * @example
 * adapterParams(presetConfig("llama2-7b"), { method: "mos", equivalentRank: 2, rank: 8 }).budget.trainable; // 4997120
 */
export function adapterParams(model: ModelConfig, input: AdapterConfigInput): AdapterParams {
  const shapes = toLayerShapes(model);
  const adapter = fittingConfig(input, shapes);
  const whole = budget(adapter, shapes);
  const pools = allPools(adapter, shapes);
  const parts = pools.map(({ name, linear }) => {
    const widths = { [name]: shapes.widths[name] };
    // not as an adapter of its own, which might be too small for its settings
    const method = bindMethod({ ...adapter, targets: [linear] });
    return count(method.tensors({ layers: shapes.layers, widths }), "trainable");
  });
  const areSeparate = parts.reduce((a, b) => a + b, 0) === whole.trainable;
  return {
    adapter,
    budget: whole,
    layers: model.layers,
    parameters: parameterCount(model),
    types: pools.map(({ linear, in: width, out, layers }, i) => ({
      linear,
      in: width,
      out,
      layers: layers.length,
      trainable: areSeparate ? parts[i] : undefined,
    })),
  };
}
