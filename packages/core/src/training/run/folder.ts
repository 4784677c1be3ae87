// The folder of a run: chosen, claimed or resumed, and what is written into it: measurements, checkpoints, the adapter.
import {
  ADAPTER_CONFIG,
  ADAPTER_TENSORS,
  RETRAINING,
  RUN_ENTRIES,
  RUN_FILES,
  replaceAdapter,
  retrainingFolder,
  saveAdapter,
  writeAdapterFiles,
} from "#adapters";
import { canonicalJson, MosError, monotonicNow, omitUndefined } from "#common";
import type { EncodedExample } from "#data";
import {
  type JsonLinesWriter,
  linkEntries,
  lockFolder,
  makeFolder,
  openJsonLinesWriter,
  pathExists,
  restoreFolder,
  storageError,
  systemCode,
  writeFileAtomic,
} from "#files";
import { access, constants, createHash, dirname, join, rename, resolve, rm, rmdir, stat } from "#platform";
import { saveCheckpoint } from "../checkpoint.ts";
import { type Measurement, type RunRecord, readMeasurements } from "../run-record.ts";
import { openTensorboard, type TensorboardWriter } from "../tensorboard.ts";
import type { TrainEvent } from "../trainer.ts";
import type { LoadedRun } from "./finetune.ts";
import type { FinetuneEvent, FinetuneOptions, RunFollower } from "./interface.ts";

/**
 * Folder of a run for `out`: there, or beside it in a hidden folder if it will replace a complete adapter. Throws
 * `bad_option`, `storage`.
 */
export async function chooseRunPath(
  out: string,
  { resume, overwrite }: { readonly resume: boolean; readonly overwrite: boolean },
): Promise<string> {
  const retraining = retrainingFolder(out);
  await restoreFolder(out);
  const isRetrained = await pathExists(join(retraining, RUN_FILES.record));
  if (isRetrained && !(await pathExists(out))) {
    // the adapter to replace is gone
    await rename(retraining, out).catch((error: unknown) => {
      throw storageError(error, out);
    });
    return out;
  }
  const replaces = overwrite && !resume && (await pathExists(join(out, ADAPTER_CONFIG)));
  if (!isRetrained && !replaces) return out;
  await refuseMount(out);
  return retraining;
}

/** A mounted folder cannot be renamed, and so not be replaced. */
async function refuseMount(out: string): Promise<void> {
  const [here, above] = await Promise.all([stat(out), stat(dirname(resolve(out)))]);
  if (here.dev !== above.dev)
    throw new MosError(
      "bad_option",
      `${out} is a mount point, where an adapter cannot be replaced atomically; use a folder inside it, or another one`,
    );
}

/** sha256 over ids and labels, and what else there is of them: the data as the run sees it. */
export function dataDigest(examples: readonly EncodedExample[]): string {
  const hash = createHash("sha256");
  for (const { ids, labels, sequences = [], columns = {}, hinted } of examples) {
    hash.update(Int32Array.of(ids.length)).update(ids).update(labels).update(Int32Array.from(sequences));
    for (const [name, numbers] of Object.entries(columns)) hash.update(name).update(numbers);
    if (hinted !== undefined) hash.update(dataDigest([hinted]));
  }
  return `sha256:${hash.digest("hex")}`;
}

/** Entries that a run takes from the one that it extends. */
const CONTINUED = Object.values(RUN_FILES).filter(
  (name) => name !== RUN_FILES.record && name !== RUN_FILES.outcome,
);

/** The folder of a run, locked until it is disposed of: without `begin`, it is left as it was. */
export interface ClaimedFolder extends AsyncDisposable {
  /** Removes what an older run has left and writes the record. Later calls do nothing. */
  begin(): Promise<void>;
}

interface ClaimOptions {
  readonly overwrite: boolean;
  /** The folder of a run whose checkpoint and metrics this one goes on from. */
  readonly from?: string;
}

/**
 * Makes sure that a run can be written to `out`, and writes nothing yet: a run that fails before its first result has
 * to leave no trace. Throws `bad_option` for a folder in use or locked, `storage` for one that cannot be made or written.
 */
export async function claimFolder(
  out: string,
  record: RunRecord,
  { overwrite, from }: ClaimOptions,
): Promise<ClaimedFolder> {
  await refuseUsed(out, overwrite);
  const made = await writableFolder(out);
  const unmake = async (): Promise<void> => {
    if (made !== undefined) await removeEmpty(out, made);
  };
  const lock = await lockFolder(out).catch(async (error: unknown) => {
    await unmake();
    throw error;
  });
  let isUntouched = true;
  return {
    begin: async () => {
      if (!isUntouched) return;
      await refuseUsed(out, overwrite);
      // the config goes first: without it the folder is not an adapter, whatever else is left
      for (const name of RUN_ENTRIES) await rm(join(out, name), { recursive: true, force: true });
      if (from !== undefined) await linkEntries(from, out, CONTINUED);
      await writeFileAtomic(join(out, RUN_FILES.record), `${JSON.stringify(record, null, 2)}\n`);
      isUntouched = false;
    },
    [Symbol.asyncDispose]: async () => {
      await lock[Symbol.asyncDispose]();
      if (isUntouched) await unmake();
    },
  };
}

/**
 * Refuses a folder that holds a run or an adapter already, unless it is to be replaced; and always one where something
 * else has the name of a run's file, which must not be lost. Throws `bad_option`.
 */
export async function refuseUsed(out: string, overwrite: boolean): Promise<void> {
  const found: string[] = [];
  for (const name of RUN_ENTRIES) if (await pathExists(join(out, name))) found.push(name);
  if (found.includes(RUN_FILES.record) || found.includes(ADAPTER_CONFIG)) {
    if (overwrite) return;
    throw new MosError(
      "bad_option",
      `the folder ${out} already holds a run or an adapter; continue it with --resume, replace it with --overwrite, or choose another --out`,
    );
  }
  // the hidden folder beside an adapter holds nothing else
  if (found.length > 0 && !(overwrite && out.endsWith(RETRAINING)))
    throw new MosError(
      "bad_option",
      `the folder ${out} holds ${found.join(", ")}, but no run or adapter that these belong to; choose another --out, or move them`,
    );
}

/** Makes the folder and those above it. Gives the topmost one that was made. */
async function writableFolder(out: string): Promise<string | undefined> {
  try {
    const made = await makeFolder(out);
    await access(out, constants.W_OK);
    return made;
  } catch (cause) {
    const code = systemCode(cause instanceof MosError ? cause.cause : cause);
    if (code === "EEXIST" || code === "ENOTDIR")
      throw new MosError("storage", `${out}: a file is in the way; choose another --out`, {
        cause,
      });
    const { message } = storageError(cause, out);
    const why = code === "ENOENT" ? `${out}: cannot create a folder there; choose another --out` : message;
    throw new MosError("storage", why, { cause });
  }
}

/** Removes folders from `folder` up to `top`, as long as they are empty. */
async function removeEmpty(folder: string, top: string): Promise<void> {
  for (let path = resolve(folder); path.length >= resolve(top).length; path = dirname(path))
    if (
      !(await rmdir(path).then(
        () => true,
        () => false,
      ))
    )
      return;
}

/** A run's folder that is to be resumed, locked. Throws `not_found` without one, `bad_option` where another process has it. */
export async function lockRun(out: string): Promise<AsyncDisposable> {
  if (!(await pathExists(join(out, RUN_FILES.record))))
    throw new MosError("not_found", `${out}: no run to resume; start without --resume`);
  return await lockFolder(out);
}

/**
 * Checks that the run in the folder is this one, or where it is complete and may be extended, one of more steps: those that
 * it had are returned then. Throws `bad_option`, naming what differs.
 */
export async function checkResume(
  out: string,
  { before, record, mayExtend }: { before: RunRecord; record: RunRecord; mayExtend: boolean },
): Promise<number | undefined> {
  const made = before.settings.steps;
  const { steps, warmup, epochs, targetLoss } = record.settings;
  const isExtended = mayExtend && steps !== made && (await pathExists(join(out, ADAPTER_CONFIG)));
  if (isExtended && steps < made)
    throw new MosError(
      "bad_option",
      `the run in ${out} has already made ${made} steps, more than ${steps}; raise --steps above ${made} to continue, or choose another --out`,
    );
  // the warm-up and the passes follow from the steps; where a run ends that was to end early, is decided anew
  const settings = { ...before.settings, steps, warmup, epochs, targetLoss };
  assertSameRun(out, { before: isExtended ? { ...before, settings } : before, record });
  return isExtended ? made : undefined;
}

function assertSameRun(
  out: string,
  { before, record }: { readonly before: RunRecord; readonly record: RunRecord },
): void {
  const names = new Set([...Object.keys(record), ...Object.keys(before)]);
  names.delete("identity"); // follows from the fingerprint
  const changed = [...names].filter(
    (name) => canonicalJson(before[name]) !== canonicalJson(JSON.parse(JSON.stringify(record))[name]),
  );
  if (changed.length === 0) return;
  const isSameModel = before["identity"] !== undefined && before["identity"] === record["identity"];
  const said = changed.map((name) =>
    name === "fingerprint" && isSameModel ? OTHER_NUMBERS : differences(name, before[name], record[name]),
  );
  throw new MosError(
    "bad_option",
    `the run in ${out} was started with other settings: ${said.join("; ")}. Resume with the same settings`,
  );
}

const OTHER_NUMBERS =
  "the base is another quantisation of the same model, which would lead to another result";

/** Messages for fields that are digests, or too long to show. */
const DIFFERS: Readonly<Record<string, string>> = {
  fingerprint: "the base model is another one",
  from: "it started from another adapter",
  train:
    "the training examples are not the same (another file, --max-examples, --prompt-format or tokenizer)",
  validation: "the validation examples are not the same",
};

function differences(name: string, before: unknown, now: unknown): string {
  const said = DIFFERS[name];
  if (said !== undefined) return said;
  if (!isPlain(before) || !isPlain(now))
    return `${name} was ${JSON.stringify(before)}, now ${JSON.stringify(now)}`;
  const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])].filter(
    (key) => canonicalJson(before[key]) !== canonicalJson(now[key]),
  );
  return keys
    .map((key) => `${name}.${key} was ${JSON.stringify(before[key])}, now ${JSON.stringify(now[key])}`)
    .join("; ");
}

const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === "object" && !Array.isArray(value);

// Writing

/** Writes the files of an event, and passes it on. */
export async function* persist(
  event: TrainEvent,
  { folder, adapter, named: base, files }: LoadedRun & { readonly files: RunFolder },
): AsyncGenerator<FinetuneEvent> {
  await files.begin();
  if (event.type === "step" || event.type === "evaluation") await files.write(event);
  if (event.type !== "checkpoint") yield event;
  if (event.type === "evaluation" && event.best) {
    const path = join(folder, RUN_FILES.best);
    await saveAdapter(path, adapter, { base });
    yield { type: "saved", what: "best", path, step: event.step };
  }
  if (event.type === "checkpoint") {
    const {
      state: { step, unfinished },
      evaluationBatches,
      isLast,
    } = event;
    const path = await saveCheckpoint(join(folder, RUN_FILES.checkpoints), event.state, async (into) => {
      // with its adapter, which can be used before the run is complete
      if (step > 0) await writeAdapterFiles(into, adapter, { base });
    });
    yield {
      type: "saved",
      what: "checkpoint",
      path,
      step,
      ...(unfinished === undefined ? {} : { microBatches: unfinished.microBatches }),
      ...omitUndefined({ evaluationBatches, isLast }),
    };
  }
}

/** Default number of versions to keep of a replaced adapter. */
export const DEFAULT_KEPT_VERSIONS = 3;

/**
 * Writes the adapter of a run that is over, which is its best one or that of its last step, and puts it in the place of the one
 * that it replaces.
 */
export async function* complete(
  { out, folder, adapter, named: base }: LoadedRun,
  {
    step,
    isBest,
    keepVersions = DEFAULT_KEPT_VERSIONS,
  }: { readonly step: number; readonly isBest: boolean; readonly keepVersions: number | undefined },
): AsyncGenerator<FinetuneEvent> {
  const isWritten = await pathExists(join(folder, ADAPTER_CONFIG));
  // the config last, as without it the folder is no adapter
  if (isBest) await linkEntries(join(folder, RUN_FILES.best), folder, [ADAPTER_TENSORS, ADAPTER_CONFIG]);
  else if (!isWritten) await writeAdapterFiles(folder, adapter, { base });
  if (folder === out) {
    if (!isWritten) yield { type: "saved", what: "adapter", path: out, step };
    return;
  }
  const replaced = await replaceAdapter(out, folder, { keepVersions });
  yield { type: "saved", what: "adapter", path: out, step, ...(replaced === undefined ? {} : { replaced }) };
}

/** The folder of a run, which begins with its metrics. */
export interface RunFolder extends AsyncDisposable {
  /** Makes the files, at the first call. */
  begin(): Promise<void>;
  write(measurement: Measurement): Promise<void>;
  /** Ends the metrics: a browser cannot move a folder in which a file is open. */
  end(): Promise<void>;
}

/** How far a checkpoint is. */
type Reached = Pick<LoadedRun["state"], "step" | "evaluated">;

/** Files written from the first result on; before it, a run that fails leaves nothing behind. */
export function openRunFolder(
  {
    claimed,
    folder,
    state,
    isResumed,
  }: Pick<LoadedRun, "claimed" | "folder" | "isResumed"> & { readonly state: Reached },
  {
    tensorboard,
    follow,
  }: Pick<FinetuneOptions, "follow"> & {
    /** Writes event files of TensorBoard, too. */
    readonly tensorboard: boolean;
  },
): RunFolder {
  const from = isResumed ? state : undefined;
  let metrics: JsonLinesWriter | undefined;
  let board: TensorboardWriter | undefined;
  let follower: RunFollower | undefined;
  const end = async (isComplete: boolean): Promise<void> => {
    await metrics?.[Symbol.asyncDispose]();
    await board?.[Symbol.asyncDispose]();
    await follower?.end({ isComplete });
    metrics = board = follower = undefined;
  };
  return {
    end: () => end(true),
    begin: async () => {
      await claimed?.begin();
      metrics ??= await openMetrics(folder, from);
      if (tensorboard) board ??= await openTensorboard(folder, { now: monotonicNow });
      follower ??= await follow?.(folder);
    },
    write: async (measurement) => {
      await metrics?.write(measurement);
      await board?.write(measurement);
    },
    [Symbol.asyncDispose]: async () => {
      await end(false);
      await claimed?.[Symbol.asyncDispose]();
    },
  };
}

/** Tests whether a measurement precedes a checkpoint. */
const isBefore = ({ type, step: at }: Measurement, { step, evaluated }: Reached): boolean =>
  type === "evaluation" && at === step ? evaluated === step : at <= step;

/** The metrics that count: a resumed run drops the lines of the steps and the evaluation that it makes again. */
async function openMetrics(folder: string, from: Reached | undefined): Promise<JsonLinesWriter> {
  const path = join(folder, RUN_FILES.metrics);
  if (await pathExists(path)) {
    const kept: string[] = [];
    // a run without a checkpoint makes everything again, the evaluation before its first step too
    if (from !== undefined)
      for await (const { measurement } of readMeasurements(folder))
        if (isBefore(measurement, from)) kept.push(`${JSON.stringify(measurement)}\n`);
    await writeFileAtomic(path, kept.join(""));
  }
  return openJsonLinesWriter(path);
}
