import { matmul, type Value } from "#graph";
import { LINEAR_NAMES, type Site, siteKey } from "#nn";
import { compile, type HostTensor } from "#runtime";
import type { Adapter } from "./create.ts";
import { adapterLeaves } from "./leaves.ts";

/** A site's factors as numbers: A [r, in], Bᵀ [r, out]. */
export interface ExpandedFactors {
  readonly rank: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly scale: number;
}

const sites = ({ geometry: { layers } }: Adapter): readonly Site[] =>
  Array.from({ length: layers }, (_, layer) => LINEAR_NAMES.map((linear) => ({ layer, linear }))).flat();

const floats = (tensor: HostTensor | undefined): Float32Array =>
  tensor?.data instanceof Float32Array ? tensor.data : new Float32Array(0);

/** The adapter as a plain LoRA, by `${layer}.${linear}`: exact, because routing does not depend on the input. */
export async function expandFactors(adapter: Adapter): Promise<ReadonlyMap<string, ExpandedFactors>> {
  const leaves = adapterLeaves(adapter);
  const factors = leaves.factors();
  const outputs: Record<string, Value> = {};
  const scales = new Map<string, { readonly rank: number; readonly scale: number }>();
  for (const site of sites(adapter)) {
    const found = factors(site);
    if (found === undefined) continue;
    const key = siteKey(site);
    outputs[`a.${key}`] = found.a;
    outputs[`b.${key}`] = found.b;
    scales.set(key, { rank: found.a.shape[0] as number, scale: found.scale });
  }
  await using program = await compile(outputs);
  const results = await program.run(Object.fromEntries(leaves.parameters));
  return new Map(
    [...scales].map(([key, { rank, scale }]) => [
      key,
      { rank, scale, a: floats(results[`a.${key}`]), b: floats(results[`b.${key}`]) },
    ]),
  );
}

/** scale · B A of one site, [out, in]; undefined where the adapter does not touch it. */
export async function deltaOf(adapter: Adapter, site: Site): Promise<HostTensor | undefined> {
  const leaves = adapterLeaves(adapter);
  const found = leaves.factors()(site);
  if (found === undefined) return undefined;
  await using program = await compile({
    delta: matmul(found.b, found.a, { transposeA: true, alpha: found.scale }),
  });
  const needed = [...leaves.parameters].filter(([name]) => program.inputs.has(name));
  return (await program.run(Object.fromEntries(needed)))["delta"];
}
