import { add, leaf, matmul } from "#graph";
import { LINEAR_NAMES, type LinearName, modulePath, siteKey } from "#nn";
import { type CompileOptions, compile, type HostTensor } from "#runtime";
import type { RowAdapter, SlotFactors } from "./decoder.ts";

/**
 * A single row with an adapter is decoded with W + scale · B A, which is as fast as the base alone. That takes a second
 * copy of the adapted weights, so only where these are at most this many numbers; else the factors stay in a slot.
 */
export const MERGE_LIMIT = 300e6;

interface AdaptedSite {
  readonly name: string;
  readonly weight: HostTensor;
  readonly factors: SlotFactors;
}

const sitesOf = (
  adapter: NonNullable<RowAdapter>,
  weights: ReadonlyMap<string, HostTensor>,
  linear: LinearName,
): readonly AdaptedSite[] =>
  [...weights].flatMap(([name, weight]) => {
    const layer = Number(/^model\.layers\.(\d+)\./.exec(name)?.[1]);
    const factors = adapter.get(siteKey({ layer, linear }));
    return factors !== undefined && name === `${modulePath({ layer, linear })}.weight`
      ? [{ name, weight, factors }]
      : [];
  });

/** Numbers of the weights that an adapter touches. */
export const adaptedNumbers = (
  adapter: NonNullable<RowAdapter>,
  weights: ReadonlyMap<string, HostTensor>,
): number =>
  LINEAR_NAMES.flatMap((linear) => sitesOf(adapter, weights, linear)).reduce(
    (sum, { weight }) => sum + weight.data.length,
    0,
  );

/** The weights with an adapter added: those it touches are new arrays, the others the same ones. */
export async function mergedWeights(
  weights: ReadonlyMap<string, HostTensor>,
  adapter: NonNullable<RowAdapter>,
  options: CompileOptions,
): Promise<ReadonlyMap<string, HostTensor>> {
  const merged = new Map(weights);
  for (const linear of LINEAR_NAMES) {
    const sites = sitesOf(adapter, weights, linear);
    const [first] = sites;
    if (first === undefined) continue;
    const [out = 0, width = 0] = first.weight.shape;
    const delta = matmul(leaf("b", ["rank", out]), leaf("a", ["rank", width]), { transposeA: true });
    // one program serves the layers, so that no more than one of them is held twice
    await using program = await compile({ merged: add(leaf("w", [out, width]), delta) }, options);
    for (const { name, weight, factors } of sites) {
      const { rank, scale } = factors;
      const a = { shape: [rank, width], data: factors.a };
      const b = { shape: [rank, out], data: factors.b.map((x) => x * scale) };
      const sum = (await program.run({ w: weight, a, b }))["merged"];
      if (sum !== undefined) merged.set(name, sum);
    }
  }
  return merged;
}
