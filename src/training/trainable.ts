import { type Adapter, adapterHook, adapterLeaves, MERGE_LIMIT } from "#adapters";
import type { WeightForm } from "#files";
import { plainLinear, type Site } from "#graph";
import { feedsOf, floatTensors, formsOf, type LoadedModel, type ModelConfig, weightLeaves } from "#models";
import { dropoutMask, maskBufferLength } from "./dropout.ts";
import type { TrainableModel } from "./gradients.ts";
import type { PlannedModel } from "./memory.ts";

/** A base whose adapter is trained. The adapter's tensors are changed in place. */
export function adapterModel({ config, weights }: LoadedModel, adapter: Adapter): TrainableModel {
  return { ...plannedModel(config, formsOf(weights), adapter), weightData: feedsOf(weights) };
}

/** The same without the weights, of which only the forms are known. */
export function plannedModel(
  config: ModelConfig,
  forms: ReadonlyMap<string, WeightForm>,
  adapter: Adapter,
): PlannedModel {
  const { config: settings, geometry } = adapter;
  const leaves = adapterLeaves(adapter);
  const weights = weightLeaves(config, forms);
  const widths = settings.targets.map((name) => geometry.widths[name] ?? { in: 0, out: 0 });
  const adapted = geometry.layers * widths.reduce((sum, width) => sum + width.in * width.out, 0);
  const rowsOf = (shape: { rows: number; length: number }): number => shape.rows * shape.length;
  const index = ({ layer, linear }: Site): number =>
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
              dropoutMask: (site: Site) => {
                const width = geometry.widths[site.linear]?.in ?? 0;
                return dropoutMask(maskBuffer, { rows: rowsOf(shape), index: index(site), width });
              },
            }),
      }),
    maskBufferLength: (shape) =>
      settings.dropout === 0
        ? 0
        : maskBufferLength({
            rows: rowsOf(shape),
            maxWidth: Math.max(...widths.map((width) => width.in)),
            sites: geometry.layers * settings.targets.length,
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
    weights: weightLeaves(config, formsOf(stored)),
    weightData: feedsOf(stored),
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
