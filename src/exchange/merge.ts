// Base + adapter as a model of its own: W' = W + scale · B A in float32, rounded once to the type that is stored. One
// weight at a time is in memory, whatever the size of the model.
import { join } from "node:path";
import { type Adapter, deltaOf } from "#adapters";
import { MosError } from "#core";
import { openSafetensorsWriter } from "#formats";
import type { ModelFiles } from "#models";
import { modulePath, type Site } from "#nn";
import { expectSpace, openAtomicFolder, pathExists } from "#storage";
import { bytesPerNumber, checkRange } from "./file-dtype.ts";
import { writeMergedFiles } from "./merge-files.ts";
import type { MergePlan, MergeShard } from "./merge-plan.ts";

export interface WriteMergedOptions {
  readonly model: ModelFiles;
  /** Of this base: the caller has compared the fingerprints. */
  readonly adapter: Adapter;
  readonly plan: MergePlan;
  readonly signal?: AbortSignal | undefined;
}

/** How far the writing is, in tensors and in bytes. */
export interface MergeProgress {
  readonly done: number;
  readonly total: number;
  readonly bytes: number;
  readonly totalBytes: number;
  readonly name: string;
}

/** The sites that an adapter touches, by the names of their weights. */
const adaptedSites = ({ config, geometry }: Adapter): ReadonlyMap<string, Site> =>
  new Map(
    Array.from({ length: geometry.layers }, (_, layer) =>
      config.targets.map((linear) => [`${modulePath({ layer, linear })}.weight`, { layer, linear }] as const),
    ).flat(),
  );

/** W + scale · B A where the adapter has a site, as a whole; W in parts elsewhere: embeddings can be very large. */
async function* mergedParts(
  name: string,
  { model, adapter, site }: MergedWeight,
): AsyncGenerator<Float32Array, void> {
  const delta = site === undefined ? undefined : (await deltaOf(adapter, site))?.data;
  if (delta === undefined) {
    yield* model.readWeightParts(name);
    return;
  }
  const weight = await model.readWeight(name);
  for (let i = 0; i < weight.length; i++) weight[i] = (weight[i] ?? 0) + (delta[i] ?? 0);
  yield weight;
}

interface MergedWeight extends Pick<WriteMergedOptions, "model" | "adapter"> {
  readonly site: Site | undefined;
}

async function* writeShard(
  path: string,
  { tensors }: MergeShard,
  { model, adapter, signal }: WriteMergedOptions,
): AsyncGenerator<{ readonly name: string; readonly bytes: number }, void> {
  const sites = adaptedSites(adapter);
  await using file = await openSafetensorsWriter(path, tensors, { format: "pt" });
  for (const tensor of tensors) {
    const { name, dtype } = tensor;
    if (signal?.aborted)
      throw new MosError("cancelled", "merging was stopped; nothing was written", { cause: signal.reason });
    let numbers = 0;
    for await (const part of mergedParts(name, { model, adapter, site: sites.get(name) })) {
      checkRange(part, tensor);
      await file.write(name, part);
      numbers += part.length;
    }
    yield { name, bytes: numbers * bytesPerNumber(dtype) };
  }
  await file.commit();
}

/**
 * Writes the merged model as a Hugging Face folder, which appears when it is complete. Stopping the generator early, or
 * the signal, leaves nothing behind. What takes the folder's name meanwhile is never replaced.
 *
 * @throws MosError "storage" where the disk has no room, "bad_option" for numbers beyond the dtype, "cancelled".
 */
export async function* writeMerged(
  folder: string,
  options: WriteMergedOptions,
): AsyncGenerator<MergeProgress, void> {
  const { model, plan } = options;
  await expectSpace(folder, { what: "the merged model", bytes: plan.bytes });
  await using target = await openAtomicFolder(folder);
  let done = 0;
  let bytes = 0;
  try {
    await writeMergedFiles(model, plan, target.path);
    for (const shard of plan.shards)
      for await (const written of writeShard(join(target.path, shard.file), shard, options)) {
        done++;
        bytes += written.bytes;
        yield { done, total: plan.tensors, bytes, totalBytes: plan.bytes, name: written.name };
      }
  } catch (error) {
    throw target.explain(error);
  }
  if (await pathExists(folder))
    throw new MosError(
      "storage",
      `${folder} appeared while the model was being merged, and is kept; merge again into another folder`,
    );
  await target.commit();
}
