// Which examples each micro-batch of a run holds: a function of the data, the settings and the seed alone, so that a
// resumed run continues with the micro-batch at which it stopped.
import { type Batch, batches, type EncodedExample, type PlanOptions, planEpoch } from "#data";

/** How examples are laid out in batches. */
export interface BatchSettings {
  /** Rows of a micro-batch. */
  readonly batchRows: number;
  /** The longest row, in tokens. */
  readonly rowLength: number;
  /** Whether a row may hold several examples. */
  readonly packed: boolean;
  /** Any id of the vocabulary. */
  readonly padToken: number;
}

/** What decides the micro-batches of a run. */
export interface MicroBatchSettings extends BatchSettings {
  readonly seed: number;
  /** Micro-batches of one update. */
  readonly accumulate: number;
}

/** A batch, its number in the run and its epoch, both from 0. */
export interface MicroBatch {
  readonly batch: Batch;
  readonly index: number;
  readonly epoch: number;
}

const planOf = (settings: MicroBatchSettings, epoch: number): PlanOptions => ({
  epoch,
  seed: settings.seed,
  batchRows: settings.batchRows,
  rowLength: settings.rowLength,
  packed: settings.packed,
});

/**
 * What batch lengths are rounded up to, in tokens. Packed rows are nearly full, so that one shape, and with it one
 * compiled program, serves them all.
 */
export const lengthMultiple = ({ packed, rowLength }: BatchSettings): number => (packed ? rowLength : 64);

/**
 * How many updates `epochs` passes over the data make, at least 1; `lengths` are the tokens of each example.
 *
 * @throws MosError `bad_config` for an example longer than a row.
 */
export function stepsOfEpochs(
  lengths: readonly number[],
  epochs: number,
  settings: MicroBatchSettings,
): number {
  let count = 0;
  for (let epoch = 0; epoch < Math.ceil(epochs); epoch++) {
    const planned = planEpoch(lengths, planOf(settings, epoch)).length;
    count += epoch + 1 <= epochs ? planned : Math.round(planned * (epochs - epoch));
  }
  return Math.max(1, Math.ceil(count / settings.accumulate));
}

/** Tokens of all batches of the first epoch, padding included, and how many batches these are. */
export function paddedTokens(
  lengths: readonly number[],
  settings: MicroBatchSettings,
): { readonly tokens: number; readonly batches: number; readonly longest: number } {
  const plan = planEpoch(lengths, planOf(settings, 0));
  const multiple = lengthMultiple(settings);
  const tokensOf = (row: readonly number[]): number => row.reduce((sum, i) => sum + (lengths[i] ?? 0), 0);
  const shapes = plan.map((rows) => {
    const longest = rows.reduce((most, row) => Math.max(most, tokensOf(row)), 0);
    return {
      rows: rows.length,
      length: Math.min(settings.rowLength, Math.ceil(longest / multiple) * multiple),
    };
  });
  return {
    tokens: shapes.reduce((sum, { rows, length }) => sum + rows * length, 0),
    batches: shapes.length,
    longest: shapes.reduce((most, { length }) => Math.max(most, length), 0),
  };
}

/** Micro-batches from number `start` on, epoch after epoch, without end. */
export function* microBatches(
  examples: readonly EncodedExample[],
  settings: MicroBatchSettings,
  start: number,
): Generator<MicroBatch, never> {
  const lengths = examples.map(({ ids }) => ids.length);
  let index = 0;
  for (let epoch = 0; ; epoch++) {
    const plan = planOf(settings, epoch);
    const count = planEpoch(lengths, plan).length;
    if (index + count <= start) {
      index += count;
      continue;
    }
    const skip = Math.max(0, start - index);
    index += skip;
    const options = {
      ...plan,
      start: skip,
      padToken: settings.padToken,
      lengthMultiple: lengthMultiple(settings),
    };
    for (const batch of batches(examples, options)) yield { batch, index: index++, epoch };
  }
}
