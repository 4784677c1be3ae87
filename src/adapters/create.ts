import { randomStream } from "#core";
import type { AdapterGeometry, AdapterTensor, AdapterTensors, TensorSpec } from "./method.ts";
import { type AdapterConfig, methodOf } from "./methods.ts";

/** An adapter in memory: its settings, the shape of the base that it fits, and its tensors. */
export interface Adapter {
  readonly config: AdapterConfig;
  readonly geometry: AdapterGeometry;
  readonly tensors: AdapterTensors;
}

/** A tensor's start: every tensor has a stream of its own. */
export const drawTensor = ({ name, shape, initialize }: TensorSpec, seed: number): AdapterTensor => ({
  shape,
  data: initialize(randomStream(seed, name)),
});

/**
 * A new adapter, which changes nothing yet: B is zero. Every tensor is drawn from its own stream of the seed, so the
 * same settings give the same adapter everywhere. Throws `bad_config`.
 *
 * @example
 * const adapter = createAdapter(parseAdapterConfig({ method: "mos", rank: 8, equivalentRank: 2 }), geometry);
 */
export function createAdapter(config: AdapterConfig, geometry: AdapterGeometry): Adapter {
  const method = methodOf(config);
  method.check(geometry);
  const tensors = method.tensors(geometry).map((spec) => [spec.name, drawTensor(spec, config.seed)] as const);
  return { config, geometry, tensors: new Map(tensors) };
}
