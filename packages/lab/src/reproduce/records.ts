// The results of an experiment's cells, from earlier runs and from this one, and which cells are missing.
import {
  hasAdapter,
  isFinished,
  isResult,
  pickName,
  readResult,
  type StoredResult,
  type TrialSpec,
  withRequestedScores,
} from "./cell.ts";
import { type Grid, measuringTrials } from "./grid.ts";
import { searchRate } from "./rate-search.ts";
import type { RowOutcome } from "./summary.ts";
import type { Row } from "./tables.ts";

/** Records of the cells, by their folders. */
export interface Records {
  readonly results: Map<string, StoredResult>;
  /** Reasons why cells have no result, or no scores, for this run only. */
  readonly failures: Map<string, string>;
  /** Folders of results that lack scores and cannot get them without the adapter. */
  readonly retrained: Set<string>;
}

/** Reads what earlier runs have left of a row. */
export async function recall(grid: Grid, row: Row, { results, retrained }: Records): Promise<void> {
  const read = async (specs: readonly TrialSpec[]): Promise<void> => {
    for (const spec of specs) {
      const { folder, identity } = spec;
      const result = await readResult(folder, identity);
      if (result !== undefined) results.set(folder, result);
      if (result !== undefined && !isFinished(spec, result) && !(await hasAdapter(spec)))
        retrained.add(folder);
    }
  };
  // each result that is known may lead the search on to further rates
  for (let requested = -1; ; ) {
    const { trials, learningRate } = searchRate(grid, row, results);
    if (trials.length === requested) return read(measuringTrials(grid, row, learningRate));
    requested = trials.length;
    await read(trials);
  }
}

/** Rows of the tables: every row that was chosen or has results. */
export function listOutcomes(grid: Grid, { results, failures }: Records): readonly RowOutcome[] {
  return grid.experiment.rows
    .map((row): RowOutcome => {
      const { learningRate, trials: tuning, tried } = searchRate(grid, row, results);
      const measuring = measuringTrials(grid, row, learningRate);
      const measured = measuring.flatMap((spec) => {
        const stored = results.get(spec.folder);
        return isResult(stored) ? [withRequestedScores(spec, stored)] : [];
      });
      return {
        row,
        learningRate: row.adapter ? learningRate : undefined,
        expected: measuring.length,
        trials: measured,
        failures: [...tuning, ...measuring].flatMap((spec) => {
          const stored = results.get(spec.folder);
          const message =
            failureMessage(stored) ?? (isFinished(spec, stored) ? undefined : failures.get(spec.folder));
          return message === undefined ? [] : [{ trial: pickName(spec), message }];
        }),
        tuning: tried,
      };
    })
    .filter(({ row, trials }) => grid.selected.includes(row) || trials.length > 0);
}

const failureMessage = (stored: StoredResult | undefined): string | undefined =>
  stored !== undefined && "failure" in stored ? stored.failure.message : undefined;

export function countMissing(grid: Grid, { results }: Records): number {
  return grid.selected
    .filter(({ adapter }) => adapter !== undefined)
    .map((row) => {
      const trials = measuringTrials(grid, row, searchRate(grid, row, results).learningRate);
      const wanted = row.adapter === null ? 1 : grid.seeds.length;
      const has = (spec: TrialSpec): boolean => {
        const stored = results.get(spec.folder);
        return isResult(stored) && isFinished(spec, stored);
      };
      return wanted - trials.filter(has).length;
    })
    .reduce((sum, count) => sum + count, 0);
}
