// Runs an experiment: plans its cells, runs what is not finished, and writes the tables again after every cell.
import { AsyncQueue } from "mixture-of-shards-core/common";
import { lockFolder, makeFolder } from "mixture-of-shards-core/files";
import { isFinished, type TrialSpec } from "./cell.ts";
import { type Grid, measuringTrials, planGrid } from "./grid.ts";
import { searchRate } from "./rate-search.ts";
import { countMissing, listOutcomes, type Records, recall } from "./records.ts";
import { writeReport } from "./report.ts";
import type { ReproduceEvent } from "./run-cells.ts";
import { runAll } from "./run-cells.ts";
import { openServiceTrainer } from "./service-trainer.ts";
import type { ReproduceOptions } from "./settings.ts";
import { writeTuningFiles } from "./tuning-files.ts";

/**
 * Runs what is not finished of an experiment, and writes its tables and pictures into `out` after every cell. Run again
 * with the same settings it resumes where it stopped, and with everything finished it only writes them again.
 * Throws MosError `bad_option`, `bad_config`, `bad_data`, `bad_model`, `not_found`, `storage` before the first cell; a
 * cell that fails loses only itself.
 *
 * @example
 * for await (const event of reproduce({
 *   experiment: "table1",
 *   model: "assets/tiny-english",
 *   train: "assets/quickstart/train.jsonl",
 *   evaluation: "assets/quickstart/validation.jsonl",
 *   seeds: 2,
 *   steps: 20,
 *   out: "reproduction",
 *   version: "0.1.0",
 * }))
 *   if (event.type === "result") console.log(event.cell.key, event.validationLoss);
 */
export async function* reproduce(options: ReproduceOptions): AsyncGenerator<ReproduceEvent, void> {
  const grid = await planGrid(options);
  await makeFolder(options.out);
  await using _lock = await lockFolder(options.out);
  await writeTuningFiles(options, grid.settings, grid.tuning);
  const records: Records = { results: new Map(), failures: new Map(), retrained: new Set() };
  for (const row of grid.experiment.rows) await recall(grid, row, records);
  yield planEvent(grid, records);
  const events = new AsyncQueue<ReproduceEvent>();
  const leaving = new AbortController();
  const signal = AbortSignal.any([leaving.signal, ...(options.signal === undefined ? [] : [options.signal])]);
  const trainer = options.service && openServiceTrainer(options.service);
  const work = runAll({ grid, records, events, signal, trainer }).then(
    () => events.close(),
    (error: unknown) => events.close(error ?? new Error("the experiment failed")),
  );
  try {
    for await (const event of events) {
      if (event.type === "result" || event.type === "failed")
        await writeReport(grid, listOutcomes(grid, records));
      yield event;
    }
    const report = await writeReport(grid, listOutcomes(grid, records));
    yield {
      type: "finish",
      stopped: signal.aborted,
      ...report,
      missing: countMissing(grid, records),
    };
  } finally {
    // also where the caller stops reading the events
    leaving.abort();
    await work;
  }
}

function planEvent(grid: Grid, { results, retrained }: Records): ReproduceEvent {
  const rows = grid.selected.filter(({ adapter }) => adapter !== undefined);
  const [anyRate] = grid.settings.learningRates;
  const trials = rows.flatMap((row) => {
    const { trials: tuning, learningRate = anyRate } = searchRate(grid, row, results);
    return [...tuning, ...measuringTrials(grid, row, learningRate)];
  });
  const left = trials.filter((spec) => !isFinished(spec, results.get(spec.folder)));
  const { tuneSteps: tune, steps: measure } = grid.settings;
  const countUpdates = ({ adapter, purpose, folder }: TrialSpec): number =>
    adapter === null || (results.has(folder) && !retrained.has(folder)) ? 0 : { tune, measure }[purpose];
  return {
    type: "plan",
    experiment: grid.experiment.name,
    title: grid.experiment.title,
    rows: grid.selected,
    trials: trials.length,
    finished: trials.length - left.length,
    retrained: left.filter(({ folder }) => retrained.has(folder)).length,
    updates: { tune, measure, left: left.reduce((sum, trial) => sum + countUpdates(trial), 0) },
  };
}
