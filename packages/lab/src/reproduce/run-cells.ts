// Runs an experiment's cells, each in a process of its own: first those that choose learning rates, then the measured ones.
import { MosError } from "mixture-of-shards";
import { type AsyncQueue, errorText, omitUndefined } from "mixture-of-shards-core/common";
import { moduleBeside, startChild } from "mixture-of-shards-core/process";
import {
  hasAdapter,
  isFinished,
  isResult,
  ownRecord,
  pickName,
  readResult,
  type TrialEvent,
  type TrialName,
  type TrialResult,
  type TrialSpec,
  withRequestedScores,
} from "./cell.ts";
import type { CellMethods } from "./cell-process.ts";
import { type Grid, measuringTrials } from "./grid.ts";
import { searchRate } from "./rate-search.ts";
import type { Records } from "./records.ts";
import type { writeReport } from "./report.ts";
import type { openServiceTrainer } from "./service-trainer.ts";
import { columnQuestions, columnValue, listColumns } from "./summary.ts";
import type { ExperimentName, Row } from "./tables.ts";

interface Work {
  readonly grid: Grid;
  readonly records: Records;
  /** Trains adapters elsewhere. */
  readonly trainer?: ReturnType<typeof openServiceTrainer> | undefined;
  readonly events: AsyncQueue<ReproduceEvent>;
  readonly signal: AbortSignal;
}

/** Tunes what has to be tuned, then measures seed by seed over all rows, so that partial results can be compared. */
export async function runAll(work: Work): Promise<void> {
  const { grid, records, events, signal } = work;
  const rows = grid.selected;
  await tune(work);
  // a rate that is not known yet is none that could not be found
  if (signal.aborted) return;
  const byRow = rows.map((row) => {
    const { learningRate, trials } = searchRate(grid, row, records.results);
    if (trials.length > 0) events.push({ type: "tuned", key: row.key, learningRate });
    return measuringTrials(grid, row, learningRate);
  });
  const bySeed = grid.seeds.flatMap((seed) =>
    byRow.flatMap((trials) => trials.filter((trial) => trial.seed === seed)),
  );
  await runTrials(bySeed, work);
}

/** Tries rates for all rows, round after round, until every row's search is over or has failed. */
async function tune(work: Work): Promise<void> {
  const { grid, records, events, signal } = work;
  const requested = new Set<string>();
  for (let round = 0; !signal.aborted; round++) {
    const rows = grid.selected.map(({ key, ...row }) => {
      const { trials } = searchRate(grid, { key, ...row }, records.results);
      return {
        key,
        trials: trials.filter(({ folder }) => !records.results.has(folder) && !requested.has(folder)),
      };
    });
    const wanted = rows.filter(({ trials }) => trials.length > 0);
    if (wanted.length === 0) return;
    for (const { key, trials } of wanted) {
      for (const { folder } of trials) requested.add(folder);
      // the first round is in the plan
      if (round === 0) continue;
      const learningRates = [...new Set(trials.map(({ learningRate }) => learningRate))];
      const updates = trials.length * grid.settings.tuneSteps;
      events.push({ type: "refine", key, learningRates, trials: trials.length, updates });
    }
    await runTrials(
      wanted.flatMap(({ trials }) => trials),
      work,
    );
  }
}

/** Runs the cells that have no result, or not all scores, a few at a time. */
async function runTrials(trials: readonly TrialSpec[], work: Work): Promise<void> {
  const queue = trials.filter((spec) => !isFinished(spec, work.records.results.get(spec.folder)));
  const worker = async (): Promise<void> => {
    for (let trial = queue.shift(); trial !== undefined; trial = queue.shift()) {
      if (work.signal.aborted) return;
      await runWithRetry(trial, work);
    }
  };
  await Promise.all(Array.from({ length: work.grid.options.jobs ?? 1 }, worker));
}

const ATTEMPTS = 2;

/** A failure with a code comes from what was computed or left by an earlier attempt: the second one starts over. */
async function runWithRetry(spec: TrialSpec, work: Work): Promise<void> {
  let fresh = false;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const trial = pickName(spec);
    const end = await runOnce({ ...spec, fresh }, attempt, work);
    if (end.type === "stopped" && work.signal.aborted) return;
    const result = await readResult(spec.folder, spec.identity);
    if (result !== undefined) work.records.results.set(spec.folder, result);
    const isOver = isFinished(spec, result);
    if (isOver && isResult(result)) return work.events.push(resultEvent(spec, result, work.grid));
    const message = end.type === "failed" ? end.message : END_TEXT[end.type];
    work.records.failures.set(spec.folder, message);
    // a stored failure, such as a loss that diverged, would come again
    const retried = !isOver && attempt < ATTEMPTS;
    work.events.push({ type: "failed", trial, message, retried });
    if (!retried) return;
    fresh = end.type === "failed" && end.code !== undefined && result === undefined;
  }
}

const END_TEXT = {
  stopped: "its process was stopped by another program",
  finished: "its process ended without a result",
} as const;

function resultEvent(spec: TrialSpec, result: TrialResult, { settings }: Grid): ReproduceEvent {
  const { validationLoss, answers, seconds } = result;
  const { tasks } = settings.benchmarks ?? { tasks: [] };
  const requested = withRequestedScores(spec, result);
  const scores = listColumns(tasks).flatMap(({ key, title }) => {
    const value = columnValue(requested, key, tasks);
    return value === undefined ? [] : [{ title, value, questions: columnQuestions([requested], key, tasks) }];
  });
  return {
    type: "result",
    trial: pickName(spec),
    validationLoss,
    seconds: seconds.total,
    ...omitUndefined({ answers }),
    ...(scores.length === 0
      ? {}
      : {
          scores: Object.fromEntries(scores.map(({ title, value }) => [title, value])),
          questions: Object.fromEntries(scores.map(({ title, questions }) => [title, questions])),
        }),
  };
}

/** End of a cell's process. A crash has no code: nothing is known but what it last wrote. */
type TrialEnd =
  | Extract<TrialEvent, { readonly type: "finished" | "stopped" }>
  | { readonly type: "failed"; readonly code?: string; readonly message: string };

/** Seconds that a cell has to save and stop in when this process is gone. */
const ORPHAN_SECONDS = 600;

function crash(how: string, output: string): Error {
  const end =
    how === "SIGKILL"
      ? "its process was killed (SIGKILL), probably for lack of memory; lower --jobs"
      : `its process ended with ${how} and no result`;
  const lines = output.split("\n").slice(-3).join(" ");
  return new Error(lines === "" ? end : `${end}; it wrote: ${lines}`);
}

/** The cell with the adapter that a service has trained, where there is one. */
async function trainElsewhere(
  spec: TrialSpec,
  attempt: number,
  { trainer, events, signal }: Work,
): Promise<TrialSpec> {
  const { adapter } = spec;
  if (trainer === undefined || adapter === null) return spec;
  const isThere = !spec.fresh && (await ownRecord(spec)) !== undefined && (await hasAdapter(spec));
  const trial = pickName(spec);
  const emit = (event: Parameters<Parameters<typeof trainer>[1]["emit"]>[0]) =>
    events.push({ ...event, trial });
  if (!isThere) await trainer({ ...spec, adapter }, { attempt, signal, emit });
  return { ...spec, isTrained: true, fresh: false };
}

/** Runs a cell in a process of its own, to its end. An aborted signal asks it to save and stop. */
async function runOnce(given: TrialSpec, attempt: number, work: Work): Promise<TrialEnd> {
  const { grid, events, signal } = work;
  if (signal.aborted) return { type: "stopped" };
  const trial = pickName(given);
  let spec: TrialSpec;
  try {
    spec = await trainElsewhere(given, attempt, work);
  } catch (error) {
    return toEnd(error);
  }
  const entry = grid.options.entry ?? moduleBeside(import.meta.url, "cell-process");
  await using child = startChild<CellMethods>(entry, {
    stderr: "pipe",
    orphanSeconds: ORPHAN_SECONDS,
    exitError: crash,
  });
  events.push({ type: "started", trial, attempt, pid: child.pid });
  let end: TrialEnd = { type: "finished" };
  try {
    for await (const event of child.stream("run", spec, { signal })) {
      if (event.type === "finished" || event.type === "stopped") end = event;
      else events.push({ ...event, trial });
    }
    return end;
  } catch (error) {
    return child.isAlive ? toEnd(error) : { type: "failed", message: errorText(error) };
  }
}

function toEnd(error: unknown): TrialEnd {
  const code = error instanceof MosError ? error.code : "unexpected";
  return code === "cancelled" ? { type: "stopped" } : { type: "failed", code, message: errorText(error) };
}

/** Event of an experiment. */
export type ReproduceEvent =
  | {
      readonly type: "plan";
      readonly experiment: ExperimentName;
      readonly title: string;
      readonly rows: readonly Row[];
      /** Number of cells of all phases as far as they are known, and of those finished by an earlier run. */
      readonly trials: number;
      readonly finished: number;
      /** Cells whose results lack scores of benchmarks, and whose adapters were not kept: they are trained again. */
      readonly retrained: number;
      /** Updates of training: those of a cell by its purpose, and those of all remaining cells. */
      readonly updates: { readonly tune: number; readonly measure: number; readonly left: number };
    }
  | {
      readonly type: "started";
      readonly trial: TrialName;
      readonly attempt: number;
      readonly pid: number | undefined;
    }
  | (Exclude<TrialEvent, { readonly type: "finished" | "stopped" }> & { readonly trial: TrialName })
  | {
      readonly type: "result";
      readonly trial: TrialName;
      /** Validation loss; of a tuning cell, the loss on the examples that rates are chosen on. */
      readonly validationLoss: number;
      readonly answers?: { readonly correct: number; readonly total: number };
      /** In per cent, by the titles of columns. */
      readonly scores?: Readonly<Record<string, number>>;
      /** Number of questions of each. */
      readonly questions?: Readonly<Record<string, number>>;
      readonly seconds: number;
    }
  | {
      readonly type: "failed";
      readonly trial: TrialName;
      readonly message: string;
      /** True if it is retried. */
      readonly retried: boolean;
    }
  | {
      /** The search for a row's rate continues with further rates. */
      readonly type: "refine";
      readonly key: string;
      readonly learningRates: readonly number[];
      /** Cells that the plan did not have, and their updates. */
      readonly trials: number;
      readonly updates: number;
    }
  | { readonly type: "tuned"; readonly key: string; readonly learningRate: number | undefined }
  | ({
      readonly type: "finish";
      readonly stopped: boolean;
      /** Cells of the chosen rows without a result or without all scores, rows that do not fit the model left out. */
      readonly missing: number;
    } & Awaited<ReturnType<typeof writeReport>>);
