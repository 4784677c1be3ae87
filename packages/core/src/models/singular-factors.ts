// U Σ and Vᵀ of a base's linear layers, for adapters that train only what stands between them. They are computed once for each base
// and rank, and kept in files beside the model, by a digest of it.

import { MosError } from "#common";
import { assertOwned, openSafetensors, writeSafetensors } from "#files";
import { join, mkdir } from "#platform";
import type { ModelConfig } from "./config.ts";
import { toLayerShapes } from "./layer-shapes.ts";
import { moduleKey, modulePath, type TargetModule } from "./linear-layers.ts";
import { folderBeside, type ModelFiles, openModel } from "./load.ts";
import { sourceDigest } from "./source-digest.ts";
import { type TruncatedSvd, truncatedSvd } from "./truncated-svd.ts";

/** The factors of a base, by module and rank. */
export interface SingularFactors {
  /** Reads or computes those of some modules. Throws what opening and reading the model throws. */
  prepare(targets: readonly TargetModule[], rank: number): Promise<void>;
  /** Those of a module that was prepared a moment ago. Throws `bad_config` for others. */
  get(target: TargetModule, rank: number): TruncatedSvd;
}

/** Part of the files' names: another version of the computation does not read them. */
const FORMAT = 1;
/** Numbers of a matrix below which its factors are computed in a moment, and not kept in a file. */
const MIN_KEPT = 1 << 16;
/** Ranks in memory: as many as adapters are loaded at once, so that none is let go of before it is used. */
const MAX_RANKS = 4;

/** The factors of the model at a path, which is opened when they are needed. */
export function singularFactors(path: string, { minKept = MIN_KEPT } = {}): SingularFactors {
  /** By rank, the last used one last, and then by module. */
  const ranks = new Map<number, Map<string, TruncatedSvd>>();
  const prepare: SingularFactors["prepare"] = async (targets, rank) => {
    const known = ranks.get(rank) ?? new Map<string, TruncatedSvd>();
    ranks.delete(rank);
    ranks.set(rank, known);
    const [oldest = rank] = ranks.keys();
    if (ranks.size > MAX_RANKS) ranks.delete(oldest);
    const missing = targets.filter((target) => !known.has(moduleKey(target)));
    if (missing.length === 0) return;
    await using files = await openModel(path);
    const folder = `svd-${(await sourceDigest(files)).slice(0, 16)}-r${rank}-${FORMAT}`;
    const options = { rank, minKept, folder: join(folderBeside(files), folder) };
    for (const target of missing) known.set(moduleKey(target), await load(files, target, options));
  };
  let last: Promise<void> = Promise.resolve();
  return {
    prepare(targets, rank) {
      // one after the other, so that nothing is computed twice
      const next = last.then(() => prepare(targets, rank));
      last = next.catch(() => undefined);
      return next;
    },
    get(target, rank) {
      const found = ranks.get(rank)?.get(moduleKey(target));
      if (found !== undefined) return found;
      throw new MosError("bad_config", `the singular vectors of ${modulePath(target)} were not prepared`);
    },
  };
}

/** The shapes of a base whose weights are at hand, with the factors of its weights. */
export const toBaseShapes = ({ config, path }: { readonly config: ModelConfig; readonly path: string }) => ({
  ...toLayerShapes(config),
  singular: singularFactors(path),
});

/** From a file, or computed. Where no file can be written, the next process computes them again. */
async function load(
  files: ModelFiles,
  target: TargetModule,
  { rank, folder, minKept }: { readonly rank: number; readonly folder: string; readonly minKept: number },
): Promise<TruncatedSvd> {
  const weight = `${modulePath(target)}.weight`;
  const [out = 0, width = 0] = files.storedRows(weight).shape;
  const file = join(folder, `${moduleKey(target)}.safetensors`);
  const read = async (): Promise<TruncatedSvd | undefined> => {
    await assertOwned([file], files.path);
    await using stored = await openSafetensors(file);
    const [a, b] = [await stored.readFloat32("a"), await stored.readFloat32("b")];
    return a.length === rank * width && b.length === rank * out ? { a, b } : undefined;
  };
  const kept = out * width < minKept ? undefined : await read().catch(() => undefined);
  if (kept !== undefined) return kept;
  const { a, b } = await truncatedSvd({ data: await files.readWeight(weight), out, in: width }, rank);
  const tensor = (data: Float32Array) => ({ dtype: "F32", shape: [rank, data.length / rank], data }) as const;
  const write = async (): Promise<void> => {
    await mkdir(folder, { recursive: true, mode: 0o755 });
    await writeSafetensors(file, { a: tensor(a), b: tensor(b) });
  };
  if (out * width >= minKept) await write().catch(() => undefined);
  return { a, b };
}
