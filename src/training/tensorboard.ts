// The metrics of a run as event files of TensorBoard. A file is never written again: a run that resumes begins another one,
// which says that the files before it do not count, and begins with what they and runs without event files measured.
import { z } from "zod";
import { RUN_METRICS, RUN_TENSORBOARD } from "#adapters";
import { MosError } from "#core";
import {
  listFolder,
  makeFolder,
  pathExists,
  readJsonLines,
  restartRecord,
  scalarsRecord,
  storageError,
  versionRecord,
} from "#files";
import { type FileHandle, join, open, rm, rmdir, stat } from "#platform";

const count = z.number().min(0);
/** A line of metrics.jsonl, as far as it is shown. */
const metricSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("step"),
    step: z.int().min(0),
    loss: z.number(),
    accuracy: z.number().optional(),
    learningRate: z.number(),
    gradientNorm: z.number(),
    tokens: count,
    seconds: count,
    metrics: z.record(z.string(), z.number()).optional(),
  }),
  z.object({
    type: z.literal("evaluation"),
    step: z.int().min(0),
    loss: z.number(),
    accuracy: z.number().optional(),
    seconds: count,
    metrics: z.record(z.string(), z.number()).optional(),
  }),
]);

/** Metric of a run. */
export type Metric = z.output<typeof metricSchema>;

/** The scalars that TensorBoard shows, under the names that Hugging Face's trainer has for them. */
function toScalars(metric: Metric): Readonly<Record<string, number>> {
  const { type, loss, accuracy, metrics = {} } = metric;
  const group = type === "step" ? "train" : "eval";
  return {
    [`${group}/loss`]: loss,
    ...(accuracy === undefined ? {} : { [`${group}/accuracy`]: accuracy }),
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
  write(metric: Metric): Promise<void>;
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
  const folder = join(run, RUN_TENSORBOARD);
  const isNew = !(await pathExists(folder));
  await makeFolder(folder);
  const times = (await listFolder(folder)).map((name) => Number(NAME.exec(name)?.[1] ?? 0));
  const latest = Math.max(0, ...times);
  // TensorBoard reads files in the order of their names
  const second = Math.max(Math.floor(now() / 1000), latest + 1);
  const path = join(folder, `events.out.tfevents.${String(second).padStart(10, "0")}.mos`);
  const handle = await open(path, "wx").catch((error: unknown) => {
    throw storageError(error, path);
  });
  const append = appendTo(handle, path);
  try {
    await append(versionRecord(now() / 1000));
    // a part of the run between two of these files may have gone without one, so that nothing of them is kept
    if (latest > 0) await append(restartRecord(now() / 1000, 0));
    for await (const record of pastRecords(join(run, RUN_METRICS))) await append(record);
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

const appendTo =
  (handle: FileHandle, path: string) =>
  async (record: Uint8Array): Promise<void> => {
    await handle.appendFile(record).catch((error: unknown) => {
      throw storageError(error, path);
    });
  };

/** Records of what was measured before; the times follow from the durations, back from when the file was written last. */
async function* pastRecords(path: string): AsyncGenerator<Uint8Array, void> {
  if (!(await pathExists(path))) return;
  const metrics: Metric[] = [];
  for await (const { line, value } of readJsonLines(path, { wholeLines: true })) {
    const parsed = metricSchema.safeParse(value);
    if (!parsed.success)
      throw new MosError("bad_data", `${path}:${line}: this is not a line of a run's metrics`);
    metrics.push(parsed.data);
  }
  const { mtimeMs } = await stat(path);
  let seconds = mtimeMs / 1000 - metrics.reduce((sum, metric) => sum + metric.seconds, 0);
  for (const metric of metrics) {
    seconds += metric.seconds;
    yield scalarsRecord({ seconds, step: metric.step }, toScalars(metric));
  }
}

/**
 * Writes the metrics of a run that is there as an event file of TensorBoard, and gives the folder of it.
 *
 * @throws MosError `not_found` without metrics, `bad_option` where there are event files already.
 * @example
 * console.log(await metricsToTensorboard("adapters/tenant")); // then: tensorboard --logdir adapters
 */
export async function metricsToTensorboard(run: string, { now }: TensorboardOptions): Promise<string> {
  const metrics = join(run, RUN_METRICS);
  if (!(await pathExists(metrics)))
    throw new MosError("not_found", `${metrics}: no such file; give the folder of a run of mos train`);
  const folder = join(run, RUN_TENSORBOARD);
  const names = (await pathExists(folder)) ? await listFolder(folder) : [];
  if (names.some((name) => NAME.test(name)))
    throw new MosError("bad_option", `${folder} already has event files; remove them first`);
  await using _writer = await openTensorboard(run, { now });
  return folder;
}
