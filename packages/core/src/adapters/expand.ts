import { compile, evaluateOnHost, type HostTensor, matmul, type Value } from "mixture-of-shards-graph";
import { listTargets, moduleKey, type TargetModule } from "#models";
import { type Adapter, adapterLeaves } from "./adapter.ts";

/**
 * An adapter is merged into the linear layers (W + scale · B A) up to this many parameters, where the second copy is small:
 * a training step is about a tenth faster. Above it the adapter stays a branch beside W, as it does for products in int8.
 */
export const MERGE_LIMIT = 300e6;

/** A module's factors as arrays: A [r, in], Bᵀ [r, out]. */
export interface ExpandedFactors {
  readonly rank: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly scale: number;
  /** [r, r] before b, where a and b are those of all adapters of the base. */
  readonly core?: Float32Array;
}

/** A whole adapter as factors, by `moduleKey`; modules that it does not touch are missing. */
export type FactorMap = ReadonlyMap<string, ExpandedFactors>;

const floats = (array: HostTensor | undefined): Float32Array =>
  array?.data instanceof Float32Array ? array.data : new Float32Array(0);

/**
 * The adapter as a plain LoRA, by `moduleKey`: exact, because routing does not depend on the input. Computed on this
 * thread. The arrays may be the adapter's own or be shared between modules: they are for reading. With `asProducts`, what adapters of
 * the base share is not multiplied by their cores.
 */
export function expandOnHost(adapter: Adapter, { asProducts = false } = {}): FactorMap {
  const leaves = adapterLeaves(adapter);
  const factors = leaves.factors();
  const outputs: Record<string, Value> = {};
  const scales = new Map<string, { readonly rank: number; readonly scale: number }>();
  for (const target of listTargets(adapter.shapes, adapter.config.targets)) {
    const found = factors(target);
    if (found === undefined) continue;
    const key = moduleKey(target);
    const product = asProducts ? found.product : undefined;
    outputs[`a.${key}`] = found.a;
    outputs[`b.${key}`] = product?.shared ?? found.b;
    if (product !== undefined) outputs[`core.${key}`] = product.core;
    scales.set(key, { rank: found.a.shape[0] as number, scale: found.scale });
  }
  const results = evaluateOnHost(outputs, leaves.parameters);
  return new Map(
    [...scales].map(([key, { rank, scale }]) => {
      const core = results.get(`core.${key}`);
      const [a, b] = [floats(results.get(`a.${key}`)), floats(results.get(`b.${key}`))];
      return [key, { rank, scale, a, b, ...(core === undefined ? {} : { core: floats(core) }) }];
    }),
  );
}

/** The same in arrays of its own. */
export async function expandFactors(adapter: Adapter): Promise<FactorMap> {
  return new Map(
    [...expandOnHost(adapter)].map(([key, { rank, scale, a, b }]) => [
      key,
      { rank, scale, a: a.slice(), b: b.slice() },
    ]),
  );
}

/** scale · B A of one module, [out, in]; undefined where the adapter does not touch it. */
export async function computeDelta(adapter: Adapter, target: TargetModule): Promise<HostTensor | undefined> {
  const leaves = adapterLeaves(adapter);
  const found = leaves.factors()(target);
  if (found === undefined) return undefined;
  await using program = await compile({
    delta: matmul(found.b, found.a, { transposeA: true, alpha: found.scale }),
  });
  const needed = [...leaves.parameters].filter(([name]) => program.inputs.has(name));
  return (await program.run(Object.fromEntries(needed)))["delta"];
}
