// Runs an experiment's cells, each in a process of its own: first those that choose learning rates, then the measured ones.
import type { AsyncQueue } from "mixture-of-shards/cli";
import {
  type CellResult,
  type CellSpec,
  isFinished,
  isResult,
  nameOf,
  readResult,
  withScoresOf,
} from "./cell.ts";
import { type CellEnd, runInChild } from "./cell-child.ts";
import { columnQuestions, columnsOf, columnValue } from "./columns.ts";
import { type Grid, measuringCells } from "./grid.ts";
import type { Records } from "./records.ts";
import type { ReproduceEvent } from "./reproduce-event.ts";
import { searchRate } from "./tuning.ts";

export interface Work {
  readonly grid: Grid;
  readonly records: Records;
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
    const { learningRate, cells } = searchRate(grid, row, records.results);
    if (cells.length > 0) events.push({ type: "tuned", key: row.key, learningRate });
    return measuringCells(grid, row, learningRate);
  });
  const bySeed = grid.seeds.flatMap((seed) =>
    byRow.flatMap((cells) => cells.filter((cell) => cell.seed === seed)),
  );
  await runCells(bySeed, work);
}

/** Tries rates for all rows, round after round, until every row's search is over or has failed. */
async function tune(work: Work): Promise<void> {
  const { grid, records, events, signal } = work;
  const asked = new Set<string>();
  for (let round = 0; !signal.aborted; round++) {
    const rows = grid.selected.map(({ key, ...row }) => {
      const { cells } = searchRate(grid, { key, ...row }, records.results);
      return { key, cells: cells.filter(({ folder }) => !records.results.has(folder) && !asked.has(folder)) };
    });
    const wanted = rows.filter(({ cells }) => cells.length > 0);
    if (wanted.length === 0) return;
    for (const { key, cells } of wanted) {
      for (const { folder } of cells) asked.add(folder);
      // the first round is in the plan
      if (round > 0) events.push(refineEvent(key, cells, grid));
    }
    await runCells(
      wanted.flatMap(({ cells }) => cells),
      work,
    );
  }
}

const refineEvent = (key: string, cells: readonly CellSpec[], { settings }: Grid): ReproduceEvent => ({
  type: "refine",
  key,
  cells: cells.length,
  updates: cells.length * settings.tuneSteps,
  learningRates: [...new Set(cells.map(({ learningRate }) => learningRate))],
});

/** Runs the cells that have no result, or not all scores, a few at a time. */
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

/** A failure with a code comes from what was computed or left by an earlier attempt: the second one starts over. */
async function runWithRetry(spec: CellSpec, work: Work): Promise<void> {
  let fresh = false;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const cell = nameOf(spec);
    const end = await runOnce({ ...spec, fresh }, attempt, work);
    if (end.type === "stopped" && work.signal.aborted) return;
    const result = await readResult(spec.folder, spec.identity);
    if (result !== undefined) work.records.results.set(spec.folder, result);
    const isOver = isFinished(spec, result);
    if (isOver && isResult(result)) return work.events.push(resultEvent(spec, result, work.grid));
    const message = endText(end);
    work.records.failures.set(spec.folder, message);
    // a stored failure, such as a loss that diverged, would come again
    const retried = !isOver && attempt < ATTEMPTS;
    work.events.push({ type: "failed", cell, message, retried });
    if (!retried) return;
    fresh = end.type === "failed" && end.code !== undefined && result === undefined;
  }
}

function endText(end: CellEnd): string {
  if (end.type === "failed") return end.message;
  return end.type === "stopped"
    ? "its process was stopped by another program"
    : "its process ended without a result";
}

function resultEvent(spec: CellSpec, result: CellResult, { settings }: Grid): ReproduceEvent {
  const { validationLoss, answers, seconds } = result;
  const { tasks } = settings.benchmarks ?? { tasks: [] };
  const asked = withScoresOf(spec, result);
  const scores = columnsOf(tasks).flatMap(({ key, title }) => {
    const value = columnValue(asked, key, tasks);
    return value === undefined ? [] : [{ title, value, questions: columnQuestions([asked], key, tasks) }];
  });
  const byTitle = (number: (score: (typeof scores)[number]) => number): Readonly<Record<string, number>> =>
    Object.fromEntries(scores.map((score) => [score.title, number(score)]));
  return {
    type: "result",
    cell: nameOf(spec),
    validationLoss,
    seconds: seconds.total,
    ...(answers === undefined ? {} : { answers }),
    ...(scores.length === 0
      ? {}
      : { scores: byTitle(({ value }) => value), questions: byTitle(({ questions }) => questions) }),
  };
}

function runOnce(spec: CellSpec, attempt: number, { grid, events, signal }: Work): Promise<CellEnd> {
  const cell = nameOf(spec);
  return runInChild(spec, {
    entry: grid.options.entry,
    signal,
    onStart: (pid) => events.push({ type: "started", cell, attempt, pid }),
    onEvent: (event) => {
      if (event.type === "step")
        events.push({ type: "progress", cell, step: event.step, steps: event.steps, loss: event.loss });
      if (event.type === "phase") events.push({ type: "phase", cell, phase: event.phase });
      if (event.type === "benchmark") events.push({ ...event, cell });
    },
  });
}
