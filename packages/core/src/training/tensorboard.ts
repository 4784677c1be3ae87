// The metrics of a run as event files of TensorBoard. A file is never written again: a run that resumes begins another one,
// which says that the files before it do not count, and begins with what they and runs without event files measured.
import { RUN_FILES } from "#adapters";
import { MosError } from "#common";
import {
  listFolder,
  makeFolder,
  pathExists,
  restartRecord,
  scalarsRecord,
  storageFailure,
  versionRecord,
} from "#files";
import { join, open, rm, rmdir, stat } from "#platform";
import { type Measurement, readMeasurements } from "./run-record.ts";

/** The scalars that TensorBoard and trackers show, under the names that Hugging Face's trainer has for them. */
export function toScalars(metric: Measurement): Readonly<Record<string, number>> {
  const { type, loss, accuracy, metrics = {} } = metric;
  const group = type === "step" ? "train" : "eval";
  return {
    [`${group}/loss`]: loss,
    [`${group}/accuracy`]: accuracy,
    ...Object.fromEntries(
      Object.entries(metrics).map(([name, value]) => [`${group}/${name.replace(/^eval_/, "")}`, value]),
    ),
    ...(metric.type === "evaluation"
      ? {}
      : {
          "train/learning_rate": metric.learningRate,
          "train/grad_norm": metric.gradientNorm,
          ...(metric.seconds > 0 ? { "train/tokens_per_second": metric.tokens / metric.seconds } : {}),
        }),
  };
}

/** An event file that is being written. */
export interface TensorboardWriter extends AsyncDisposable {
  /** Appends one record, in one write. Throws `storage`. */
  write(metric: Measurement): Promise<void>;
}

interface TensorboardOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const NAME = /^events\.out\.tfevents\.(\d+)\.mos$/;

/**
 * Begins an event file in the folder of a run with what metrics.jsonl holds already; older files do not count any more.
 *
 * @throws MosError `storage`; `bad_data` for a metrics.jsonl that is not a run's.
 */
export async function openTensorboard(run: string, { now }: TensorboardOptions): Promise<TensorboardWriter> {
  const folder = join(run, RUN_FILES.tensorboard);
  const isNew = !(await pathExists(folder));
  await makeFolder(folder);
  const times = (await listFolder(folder)).map((name) => Number(NAME.exec(name)?.[1] ?? 0));
  const latest = Math.max(0, ...times);
  // TensorBoard reads files in the order of their names
  const second = Math.max(Math.floor(now() / 1000), latest + 1);
  const path = join(folder, `events.out.tfevents.${String(second).padStart(10, "0")}.mos`);
  const handle = await open(path, "wx").catch(storageFailure(path));
  const append = (record: Uint8Array): Promise<void> => handle.appendFile(record).catch(storageFailure(path));
  try {
    await append(versionRecord(now() / 1000));
    // a part of the run between two of these files may have gone without one, so that nothing of them is kept
    if (latest > 0) await append(restartRecord(now() / 1000, 0));
    for await (const record of pastRecords(run)) await append(record);
  } catch (error) {
    await handle.close();
    await rm(path, { force: true });
    if (isNew) await rmdir(folder).catch(() => undefined); // what another process wrote there stays
    throw error;
  }
  return {
    write: (metric) => append(scalarsRecord({ seconds: now() / 1000, step: metric.step }, toScalars(metric))),
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

/** Records of what was measured before; the times follow from the durations, back from when the file was written last. */
async function* pastRecords(run: string): AsyncGenerator<Uint8Array, void> {
  const measurements: Measurement[] = [];
  for await (const { measurement } of readMeasurements(run)) measurements.push(measurement);
  if (measurements.length === 0) return;
  const { mtimeMs } = await stat(join(run, RUN_FILES.metrics));
  let seconds = mtimeMs / 1000 - measurements.reduce((sum, one) => sum + one.seconds, 0);
  for (const measurement of measurements) {
    seconds += measurement.seconds;
    yield scalarsRecord({ seconds, step: measurement.step }, toScalars(measurement));
  }
}

/**
 * Writes the metrics of a run that is there as an event file of TensorBoard, and gives the folder of it.
 *
 * @throws MosError `not_found` without metrics, `bad_option` where there are event files already.
 */
export async function metricsToTensorboard(run: string, { now }: TensorboardOptions): Promise<string> {
  const metrics = join(run, RUN_FILES.metrics);
  if (!(await pathExists(metrics)))
    throw new MosError("not_found", `${metrics}: no such file; give the folder of a run of mos train`);
  const folder = join(run, RUN_FILES.tensorboard);
  const names = (await pathExists(folder)) ? await listFolder(folder) : [];
  if (names.some((name) => NAME.test(name)))
    throw new MosError("bad_option", `${folder} already has event files; remove them first`);
  await using _writer = await openTensorboard(run, { now });
  return folder;
}
