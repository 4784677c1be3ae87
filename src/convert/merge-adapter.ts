import { checkBase, loadAdapter, readAdapterBase, type TrainedOn } from "#adapters";
import { bytes, choice, MosError } from "#core";
import { pathExists } from "#files";
import {
  computeIdentity,
  type DownloadEvent,
  type FingerprintProgress,
  fingerprintSteps,
  type LocateOptions,
  locateModel,
  openModel,
  toLayerShapes,
} from "#models";
import { checkName } from "./export-import.ts";
import { FILE_DTYPES, type FileDtype } from "./file-dtype.ts";
import { type MergeProgress, writeMerged } from "./merge.ts";
import { DEFAULT_SHARD_SIZE, type MergePlan, planMerge } from "./merge-plan.ts";

/** Settings of a merge. */
export const mergeSettings = {
  dtype: choice(FILE_DTYPES, {
    placeholder: "type",
    defaultText: "as in the base; of a .gguf base bfloat16 if it is that, else float16",
    help: "data type of the written weights",
  }),
  shardSize: bytes({
    min: 1,
    default: DEFAULT_SHARD_SIZE,
    defaultText: "5GB",
    help: "maximum size of a weight file; larger models are split",
  }),
};

/** Options of a merge. */
export interface MergeOptions extends LocateOptions {
  /** The base: a Hugging Face folder, a GGUF file or org/name of the hub. */
  readonly model: string;
  /** The adapter's folder. */
  readonly adapter: string;
  /** The folder to be written; it must not exist yet. */
  readonly out: string;
  /** Type of the stored numbers; by default the base's, and for a GGUF base bfloat16 if it is that, else float16. */
  readonly dtype?: FileDtype | undefined;
  /** Maximum bytes of a file (5 GB). */
  readonly shardSize?: number | undefined;
}

/** Event of a merge. */
export type MergeEvent =
  | DownloadEvent
  | ({ readonly type: "plan"; readonly out: string } & MergePlan)
  /** The base is read once to see that it is the adapter's. */
  | ({ readonly type: "checking" } & FingerprintProgress)
  /** The adapter was trained on another quantisation of the base. */
  | { readonly type: "trainedOn"; readonly base: TrainedOn }
  | ({ readonly type: "writing" } & MergeProgress)
  | {
      readonly type: "finish";
      readonly out: string;
      readonly files: readonly string[];
      readonly bytes: number;
      readonly dtype: FileDtype;
      /** Block types of the base, such as Q4_1, whose weights were written as `dtype`. */
      readonly replaced?: readonly string[];
    };

/**
 * Writes base + adapter as a Hugging Face folder that needs no adapter any more. One weight at a time is in memory.
 * Throws `bad_option` for a folder that exists, `bad_adapter` for an adapter of another base, `storage`, `cancelled`.
 *
 * @example
 * const options = { model: "assets/tiny-english", adapter: "adapters/acme", out: "models/acme" };
 * for await (const event of mergeAdapter(options)) if (event.type === "finish") console.log(event.files);
 */
export async function* mergeAdapter(options: MergeOptions): AsyncGenerator<MergeEvent, void> {
  const { model: given, adapter: folder, out, dtype, shardSize, signal } = options;
  checkName(out);
  if (await pathExists(out))
    throw new MosError("bad_option", `${out} already exists; choose another folder, or remove it`);
  await using model = await openModel(yield* locateModel(given, options));
  const base = await readAdapterBase(folder);
  const adapter = await loadAdapter(folder, {
    shapes: toLayerShapes(model.config),
    fingerprint: undefined, // is compared below, as that takes a while
  });
  const plan = planMerge(model, { dtype, shardSize });
  yield { type: "plan", out, ...plan };
  if (base.fingerprint !== undefined) {
    const steps = fingerprintSteps(model, { signal });
    let step = await steps.next();
    for (; step.done !== true; step = await steps.next()) yield { type: "checking", ...step.value };
    const marks = { fingerprint: step.value, identity: await computeIdentity(model) };
    const trainedOn = checkBase(folder, base, marks);
    if (trainedOn !== undefined) yield { type: "trainedOn", base: trainedOn };
  }
  for await (const progress of writeMerged(out, { model, adapter, plan, signal }))
    yield { type: "writing", ...progress };
  const files = plan.shards.map(({ file }) => file);
  const { bytes: size, dtype: written, replaced } = plan;
  const said = replaced.length === 0 ? {} : { replaced };
  yield { type: "finish", out, files, bytes: size, dtype: written, ...said };
}
