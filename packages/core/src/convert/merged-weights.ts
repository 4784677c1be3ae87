// Base + adapter: W' = W + scale · B A in float32, rounded once to the type that is stored. One weight at a time is in memory,
// whatever the size of the model.
import { type Adapter, computeDelta } from "#adapters";
import { MosError } from "#common";
import { pathExists } from "#files";
import {
  listTargets,
  type ModelFiles,
  modulePath,
  storedOffset,
  storedPlace,
  type TargetModule,
  weightShapes,
} from "#models";

/** The target modules of an adapter by the names of their weights. */
export const targetsByTensor = ({ config, shapes }: Adapter): ReadonlyMap<string, TargetModule> =>
  new Map(listTargets(shapes, config.targets).map((target) => [`${modulePath(target)}.weight`, target]));

/** The weights that each tensor of the family's files holds, in the order of their rows. */
export function weightsByTensor({ config }: ModelFiles): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const name of weightShapes(config).keys()) {
    const stored = storedPlace(config, name).name;
    found.set(stored, [...(found.get(stored) ?? []), name]);
  }
  return found;
}

/**
 * W + scale · B A as a whole for a target module; W elsewhere as `readWeightParts` gives it, since embeddings can be very
 * large. Gains that files store around 0 are copied, since adding 1 and subtracting it again would round.
 */
export async function* mergedParts(
  name: string,
  { model, adapter }: { readonly model: ModelFiles; readonly adapter: Adapter },
  target: TargetModule | undefined,
): AsyncGenerator<Float32Array, void> {
  if (storedOffset(model.config, name) !== 0) {
    yield model.readStatedGains(name);
    return;
  }
  const delta = target === undefined ? undefined : (await computeDelta(adapter, target))?.data;
  if (delta === undefined) {
    yield* model.readWeightParts(name);
    return;
  }
  const weight = await model.readWeight(name);
  for (let i = 0; i < delta.length; i++) weight[i] = (weight[i] ?? 0) + (delta[i] ?? 0);
  yield weight;
}

/** Throws `cancelled` where the signal is aborted. */
export function assertGoesOn(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new MosError("cancelled", "merging was interrupted; nothing was written", { cause: signal.reason });
}

/** Throws `storage` where something has the name of the result by now. */
export async function assertStillFree(out: string): Promise<void> {
  if (await pathExists(out))
    throw new MosError(
      "storage",
      `${out} was created by another program during the merge and is kept; choose another name`,
    );
}
