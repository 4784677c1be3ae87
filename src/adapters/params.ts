import type { LinearName } from "#graph";
import { type ModelConfig, parameterCount, toLayerShapes } from "#models";
import { type Budget, budget } from "./budget.ts";
import { type AdapterConfig, type AdapterConfigInput, parseAdapterConfig } from "./methods.ts";

/** The part of one type of linear layers, over all decoder layers. @inline */
export interface TypeParams {
  readonly linear: LinearName;
  readonly in: number;
  readonly out: number;
  /** Undefined where types share what is trained. */
  readonly trainable: number | undefined;
}

/** Cost of an adapter relative to its model. @inline */
export interface AdapterParams {
  readonly adapter: AdapterConfig;
  readonly budget: Budget;
  readonly layers: number;
  /** Numbers of the model. */
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
  const adapter = parseAdapterConfig(input, "adapter");
  const shapes = toLayerShapes(model);
  const whole = budget(adapter, shapes);
  const parts = adapter.targets.map((linear) => budget({ ...adapter, targets: [linear] }, shapes).trainable);
  const areSeparate = parts.reduce((a, b) => a + b, 0) === whole.trainable;
  return {
    adapter,
    budget: whole,
    layers: model.layers,
    parameters: parameterCount(model),
    types: adapter.targets.map((linear, i) => ({
      linear,
      ...(shapes.widths[linear] ?? { in: 0, out: 0 }),
      trainable: areSeparate ? parts[i] : undefined,
    })),
  };
}
