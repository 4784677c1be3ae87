// The last step of a run: what it measures, its checkpoints and its adapter, as files of its folder.
import {
  ADAPTER_CONFIG,
  ADAPTER_TENSORS,
  RUN_FILES,
  replaceAdapter,
  saveAdapter,
  writeAdapterFiles,
} from "#adapters";
import { monotonicNow } from "#common";
import { type JsonLinesWriter, linkEntries, openJsonLinesWriter, pathExists, writeFileAtomic } from "#files";
import { join } from "#platform";
import { saveCheckpoint } from "../checkpoint.ts";
import { type Measurement, readMeasurements } from "../run-record.ts";
import { openTensorboard, type TensorboardWriter } from "../tensorboard.ts";
import type { TrainEvent } from "../trainer.ts";
import type { FinetuneEvent } from "./events.ts";
import type { LoadedRun } from "./load.ts";

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
      ...(evaluationBatches === undefined ? {} : { evaluationBatches }),
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
  { tensorboard }: { /** Writes event files of TensorBoard, too. */ readonly tensorboard: boolean },
): RunFolder {
  const from = isResumed ? state : undefined;
  let metrics: JsonLinesWriter | undefined;
  let board: TensorboardWriter | undefined;
  const end = async (): Promise<void> => {
    await metrics?.[Symbol.asyncDispose]();
    await board?.[Symbol.asyncDispose]();
    metrics = board = undefined;
  };
  return {
    end,
    begin: async () => {
      await claimed?.begin();
      metrics ??= await openMetrics(folder, from);
      if (tensorboard) board ??= await openTensorboard(folder, { now: monotonicNow });
    },
    write: async (measurement) => {
      await metrics?.write(measurement);
      await board?.write(measurement);
    },
    [Symbol.asyncDispose]: async () => {
      await end();
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
