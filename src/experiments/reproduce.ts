// Runs an experiment: plans its cells, runs each in a process of its own, and writes the tables anew after every one.
import type { TaskName } from "#evaluation";
import { lockFolder, makeFolder, storageError } from "#formats";
import {
  type CellName,
  type CellResult,
  type CellSpec,
  hasAdapter,
  isFinished,
  isResult,
  readResult,
  type StoredResult,
  withScoresOf,
} from "./cell.ts";
import { type CellEnd, runInChild } from "./cell-child.ts";
import { type Channel, channel } from "./channel.ts";
import { columnsOf, columnValue } from "./columns.ts";
import { type Grid, measuringCells, planGrid, tuningCells, writeTuningFiles } from "./grid.ts";
import { type RowOutcome, writeReport } from "./report.ts";
import type { ReproduceOptions } from "./settings.ts";
import type { ExperimentName, Row } from "./tables.ts";

/** What happens in an experiment. */
export type ReproduceEvent =
  | {
      readonly type: "plan";
      readonly experiment: ExperimentName;
      readonly title: string;
      readonly rows: readonly Row[];
      /** Of all phases, and how many of them are finished from an earlier run. */
      readonly cells: number;
      readonly finished: number;
      /** Cells whose results lack scores of benchmarks, and whose adapters were not kept: they are trained again. */
      readonly retrained: number;
      /** Of training: those of a cell by what it is for, and those of all cells that are left. */
      readonly updates: { readonly tune: number; readonly measure: number; readonly left: number };
    }
  | {
      readonly type: "started";
      readonly cell: CellName;
      readonly attempt: number;
      readonly pid: number | undefined;
    }
  | { readonly type: "phase"; readonly cell: CellName; readonly phase: string }
  | {
      readonly type: "progress";
      readonly cell: CellName;
      readonly step: number;
      readonly steps: number;
      readonly loss: number;
    }
  | {
      readonly type: "benchmark";
      readonly cell: CellName;
      readonly task: TaskName;
      readonly done: number;
      readonly wanted: number;
    }
  | {
      readonly type: "result";
      readonly cell: CellName;
      readonly heldOutLoss: number;
      readonly answers?: { readonly correct: number; readonly total: number };
      /** In per cent, by the titles of columns. */
      readonly scores?: Readonly<Record<string, number>>;
      readonly seconds: number;
    }
  | {
      readonly type: "failed";
      readonly cell: CellName;
      readonly message: string;
      /** Whether it is tried once more. */
      readonly retried: boolean;
    }
  | { readonly type: "tuned"; readonly key: string; readonly learningRate: number | undefined }
  | {
      readonly type: "end";
      readonly stopped: boolean;
      readonly files: readonly string[];
      /** Cells of the chosen rows without a result or without all scores, rows that do not fit the model left out. */
      readonly missing: number;
    };

/** What is known of the cells, by their folders. */
interface Records {
  readonly results: Map<string, StoredResult>;
  /** Why a cell has no result, or no scores, for this run only. */
  readonly failures: Map<string, string>;
  /** Of results that lack scores, those that cannot get them without the adapter. */
  readonly retrained: Set<string>;
}

/**
 * Runs what is not finished of an experiment, and writes its tables and pictures into `out` after every cell. Run again
 * with the same settings it goes on where it stopped, and with everything finished it only writes them anew.
 * Throws MosError `bad_option`, `bad_config`, `bad_data`, `bad_model`, `not_found`, `storage` before the first cell; a
 * cell that fails loses only itself.
 *
 * @example
 * for await (const event of reproduce({
 *   experiment: "table1",
 *   model: "assets/tiny-english",
 *   train: "assets/quickstart/train.jsonl",
 *   evaluation: "assets/quickstart/heldout.jsonl",
 *   seeds: 2,
 *   steps: 20,
 *   out: "reproduction",
 *   version: "0.1.0",
 * }))
 *   if (event.type === "result") console.log(event.cell.key, event.heldOutLoss);
 */
export async function* reproduce(options: ReproduceOptions): AsyncGenerator<ReproduceEvent, void> {
  const grid = await planGrid(options);
  await makeFolder(options.out).catch((error: unknown) => {
    throw storageError(error, options.out);
  });
  await using _lock = await lockFolder(options.out);
  await writeTuningFiles(grid);
  const records: Records = { results: new Map(), failures: new Map(), retrained: new Set() };
  for (const row of grid.experiment.rows) await recall(grid, row, records);
  yield planEvent(grid, records);
  const events = channel<ReproduceEvent>();
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  options.signal?.addEventListener("abort", stop, { once: true });
  if (options.signal?.aborted === true) stop();
  const work = runAll({ grid, records, events, signal: controller.signal }).then(
    () => events.close(),
    (error: unknown) => events.close(error ?? new Error("the experiment failed")),
  );
  try {
    for await (const event of events) {
      if (event.type === "result" || event.type === "failed")
        await writeReport(grid, outcomesOf(grid, records));
      yield event;
    }
    const files = await writeReport(grid, outcomesOf(grid, records));
    yield { type: "end", stopped: controller.signal.aborted, files, missing: missingOf(grid, records) };
  } finally {
    // also where whoever reads the events has had enough
    controller.abort();
    await work;
    options.signal?.removeEventListener("abort", stop);
  }
}

/** Reads what earlier runs have left of a row. */
async function recall(grid: Grid, row: Row, { results, retrained }: Records): Promise<void> {
  const read = async (specs: readonly CellSpec[]): Promise<void> => {
    for (const spec of specs) {
      const { folder, identity } = spec;
      const result = await readResult(folder, identity);
      if (result !== undefined) results.set(folder, result);
      if (result !== undefined && !isFinished(spec, result) && !(await hasAdapter(spec)))
        retrained.add(folder);
    }
  };
  await read(tuningCells(grid, row));
  await read(measuringCells(grid, row, rateOf(grid, row, results)));
}

/** The only rate, or the one with the lowest loss on the part held out for tuning, once all are known. */
function rateOf(grid: Grid, row: Row, results: ReadonlyMap<string, StoredResult>): number | undefined {
  const cells = tuningCells(grid, row);
  if (cells.length === 0) return grid.settings.learningRates[0];
  const known = cells.map(({ folder }) => results.get(folder));
  if (known.includes(undefined)) return undefined;
  const usable = known.filter(isResult);
  const [first] = usable;
  return first === undefined
    ? undefined
    : usable.reduce((best, one) => (one.heldOutLoss < best.heldOutLoss ? one : best), first).learningRate;
}

function planEvent(grid: Grid, { results, retrained }: Records): ReproduceEvent {
  const rows = grid.selected.filter(({ adapter }) => adapter !== undefined);
  const tuning = rows.flatMap((row) => tuningCells(grid, row));
  const [anyRate] = grid.settings.learningRates;
  const measuring = rows.flatMap((row) => measuringCells(grid, row, rateOf(grid, row, results) ?? anyRate));
  const cells = [...tuning, ...measuring];
  const left = cells.filter((spec) => !isFinished(spec, results.get(spec.folder)));
  const { tuneSteps: tune, steps: measure } = grid.settings;
  const updatesOf = ({ adapter, purpose, folder }: CellSpec): number =>
    adapter === null || (results.has(folder) && !retrained.has(folder)) ? 0 : { tune, measure }[purpose];
  return {
    type: "plan",
    experiment: grid.experiment.name,
    title: grid.experiment.title,
    rows: grid.selected,
    cells: cells.length,
    finished: cells.length - left.length,
    retrained: left.filter(({ folder }) => retrained.has(folder)).length,
    updates: { tune, measure, left: left.reduce((sum, cell) => sum + updatesOf(cell), 0) },
  };
}

interface Work {
  readonly grid: Grid;
  readonly records: Records;
  readonly events: Channel<ReproduceEvent>;
  readonly signal: AbortSignal;
}

/** Tunes what has to be tuned, then measures seed by seed over all rows, so that partial results can be compared. */
async function runAll(work: Work): Promise<void> {
  const { grid, records, events, signal } = work;
  const rows = grid.selected;
  await runCells(
    rows.flatMap((row) => tuningCells(grid, row)),
    work,
  );
  // a rate that is not known yet is none that could not be found
  if (signal.aborted) return;
  const byRow = rows.map((row) => {
    const learningRate = rateOf(grid, row, records.results);
    if (tuningCells(grid, row).length > 0) events.send({ type: "tuned", key: row.key, learningRate });
    return measuringCells(grid, row, learningRate);
  });
  const bySeed = grid.seeds.flatMap((seed) =>
    byRow.flatMap((cells) => cells.filter((cell) => cell.seed === seed)),
  );
  await runCells(bySeed, work);
}

/** Runs the cells that have no result, or not all scores, so many at a time. */
async function runCells(cells: readonly CellSpec[], work: Work): Promise<void> {
  const queue = cells.filter((spec) => !isFinished(spec, work.records.results.get(spec.folder)));
  const worker = async (): Promise<void> => {
    for (let cell = queue.shift(); cell !== undefined; cell = queue.shift()) {
      if (work.signal.aborted) return;
      await runWithRetry(cell, work);
    }
  };
  await Promise.all(Array.from({ length: work.grid.options.jobs ?? 1 }, worker));
}

const ATTEMPTS = 2;

/** A failure that names its code is of what was computed or left behind: the second attempt starts afresh. */
async function runWithRetry(spec: CellSpec, work: Work): Promise<void> {
  let fresh = false;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const cell = nameOf(spec);
    const end = await runOnce({ ...spec, fresh }, attempt, work);
    if (end.type === "stopped" && work.signal.aborted) return;
    const result = await readResult(spec.folder, spec.identity);
    if (result !== undefined) work.records.results.set(spec.folder, result);
    const isOver = isFinished(spec, result);
    if (isOver && isResult(result)) return work.events.send(resultEvent(spec, result, work.grid));
    const message = endText(end);
    work.records.failures.set(spec.folder, message);
    // a stored failure, such as a loss that diverged, would come again
    const retried = !isOver && attempt < ATTEMPTS;
    work.events.send({ type: "failed", cell, message, retried });
    if (!retried) return;
    fresh = end.type === "failed" && end.code !== undefined && result === undefined;
  }
}

function endText(end: CellEnd): string {
  if (end.type === "failed") return end.message;
  return end.type === "stopped"
    ? "its process was told to stop, but not from here"
    : "its process ended without a result";
}

function resultEvent(spec: CellSpec, result: CellResult, { settings }: Grid): ReproduceEvent {
  const { heldOutLoss, answers, seconds } = result;
  const { tasks } = settings.benchmarks ?? { tasks: [] };
  const asked = withScoresOf(spec, result);
  const scores = columnsOf(tasks).flatMap(({ key, title }) => {
    const value = columnValue(asked, key, tasks);
    return value === undefined ? [] : [[title, value] as const];
  });
  return {
    ...{ type: "result", cell: nameOf(spec), heldOutLoss, seconds: seconds.total },
    ...(answers === undefined ? {} : { answers }),
    ...(scores.length === 0 ? {} : { scores: Object.fromEntries(scores) }),
  };
}

const nameOf = ({ key, purpose, learningRate, seed }: CellName): CellName => ({
  key,
  purpose,
  learningRate,
  seed,
});

function runOnce(spec: CellSpec, attempt: number, { grid, events, signal }: Work): Promise<CellEnd> {
  const cell = nameOf(spec);
  return runInChild(spec, {
    entry: grid.options.entry,
    signal,
    onStart: (pid) => events.send({ type: "started", cell, attempt, pid }),
    onEvent: (event) => {
      if (event.type === "step")
        events.send({ type: "progress", cell, step: event.step, steps: event.steps, loss: event.loss });
      if (event.type === "phase") events.send({ type: "phase", cell, phase: event.phase });
      if (event.type === "benchmark") events.send({ ...event, cell });
    },
  });
}

/** What the tables are made of: every row that was chosen or has results. */
function outcomesOf(grid: Grid, { results, failures }: Records): readonly RowOutcome[] {
  return grid.experiment.rows
    .map((row): RowOutcome => {
      const learningRate = rateOf(grid, row, results);
      const tuning = tuningCells(grid, row);
      const measuring = measuringCells(grid, row, learningRate);
      const measured = measuring.flatMap((spec) => {
        const stored = results.get(spec.folder);
        return isResult(stored) ? [withScoresOf(spec, stored)] : [];
      });
      return {
        row,
        learningRate: row.adapter ? learningRate : undefined,
        expected: measuring.length,
        cells: measured,
        failures: [...tuning, ...measuring].flatMap((spec) => {
          const stored = results.get(spec.folder);
          const message =
            failureOf(stored) ?? (isFinished(spec, stored) ? undefined : failures.get(spec.folder));
          return message === undefined ? [] : [{ cell: nameOf(spec), message }];
        }),
        tuning: tuning.map(({ folder, learningRate: rate }) => {
          const result = results.get(folder);
          return { learningRate: rate, heldOutLoss: isResult(result) ? result.heldOutLoss : undefined };
        }),
      };
    })
    .filter(({ row, cells }) => grid.selected.includes(row) || cells.length > 0);
}

const failureOf = (stored: StoredResult | undefined): string | undefined =>
  stored !== undefined && "failure" in stored ? stored.failure.message : undefined;

function missingOf(grid: Grid, { results }: Records): number {
  return grid.selected
    .filter(({ adapter }) => adapter !== undefined)
    .map((row) => {
      const cells = measuringCells(grid, row, rateOf(grid, row, results));
      const wanted = row.adapter === null ? 1 : grid.seeds.length;
      const has = (spec: CellSpec): boolean => {
        const stored = results.get(spec.folder);
        return isResult(stored) && isFinished(spec, stored);
      };
      return wanted - cells.filter(has).length;
    })
    .reduce((sum, count) => sum + count, 0);
}
