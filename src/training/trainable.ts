import { type Adapter, adapterHook, adapterLeaves, MERGE_LIMIT } from "#adapters";
import type { WeightFormat } from "#files";
import { plainLinear, type TargetModule } from "#graph";
import {
  feedWeights,
  floatTensors,
  type LoadedModel,
  type ModelConfig,
  storageFormats,
  weightLeaves,
} from "#models";
import { dropoutMask, maskBufferLength } from "./dropout.ts";
import type { TrainableModel } from "./gradients.ts";
import type { PlannedModel } from "./memory.ts";

/** A base whose adapter is trained. The adapter's tensors are changed in place. */
export function adapterModel({ config, weights }: LoadedModel, adapter: Adapter): TrainableModel {
  return { ...plannedModel(config, storageFormats(weights), adapter), weightData: feedWeights(weights) };
}

/** The same without the weights, of which only the forms are known. */
export function plannedModel(
  config: ModelConfig,
  formats: ReadonlyMap<string, WeightFormat>,
  adapter: Adapter,
): PlannedModel {
  const { config: settings, shapes } = adapter;
  const leaves = adapterLeaves(adapter);
  const weights = weightLeaves(config, formats);
  const widths = settings.targets.map((name) => shapes.widths[name] ?? { in: 0, out: 0 });
  const adapted = shapes.layers * widths.reduce((sum, width) => sum + width.in * width.out, 0);
  const countRows = (shape: { rows: number; length: number }): number => shape.rows * shape.length;
  const index = ({ layer, linear }: TargetModule): number =>
    layer * settings.targets.length + settings.targets.indexOf(linear);
  return {
    config,
    weights,
    trainable: leaves.trainable,
    parameters: leaves.parameters,
    linear: (shape, maskBuffer) =>
      adapterHook({
        factors: leaves.factors(),
        merge: maskBuffer === undefined && adapted <= MERGE_LIMIT,
        ...(maskBuffer === undefined
          ? {}
          : {
              dropoutMask: (target: TargetModule) => {
                const width = shapes.widths[target.linear]?.in ?? 0;
                return dropoutMask(maskBuffer, { rows: countRows(shape), index: index(target), width });
              },
            }),
      }),
    maskBufferLength: (shape) =>
      settings.dropout === 0
        ? 0
        : maskBufferLength({
            rows: countRows(shape),
            maxWidth: Math.max(...widths.map((width) => width.in)),
            modules: shapes.layers * settings.targets.length,
          }),
  };
}

/** A base as it is, of which only losses are computed. */
export function frozenModel({
  config,
  weights: stored,
}: Pick<LoadedModel, "config" | "weights">): TrainableModel {
  return {
    config,
    weights: weightLeaves(config, storageFormats(stored)),
    weightData: feedWeights(stored),
    trainable: new Map(),
    parameters: new Map(),
    linear: () => plainLinear,
    maskBufferLength: () => 0,
  };
}

/** A model all of whose weights are trained, in place; they must be float32. Throws `bad_config` where they are not. */
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
    parameters: floatTensors(weightData),
    linear: () => plainLinear,
    maskBufferLength: () => 0,
  };
}
