import { type LoadedModel, weightLeaves } from "#models";
import { plainLinear } from "#nn";
import type { Parameter, TrainableModel } from "#training";

/** A model all of whose weights are trained, in place. */
export function wholeModel({
  config,
  weights: weightData,
}: Pick<LoadedModel, "config" | "weights">): TrainableModel {
  const weights = weightLeaves(config);
  return {
    config,
    weights,
    weightData: new Map(),
    trainable: weights,
    parameters: new Map<string, Parameter>(weightData),
    linear: () => plainLinear,
    maskBufferLength: () => 0,
  };
}
