// Assignment of examples to micro-batches: a function of the data, the settings and the seed alone, so that a
// resumed run continues with the micro-batch at which it stopped.
import { MosError } from "#common";
import {
  type Batch,
  chunk,
  type EncodedExample,
  type EpochPlan,
  type PlanOptions,
  planEpoch,
  plannedBatch,
} from "#data";
import { type Metrics, type Totals, totalsOf } from "./objectives/objective.ts";
import type { ResolvedSettings } from "./settings.ts";

/** Settings of the layout of batches. */
export type BatchSettings = Pick<ResolvedSettings, "batchSize" | "maxLength" | "packing"> & {
  /** Any id of the vocabulary. */
  readonly padToken: number;
};

/** Settings that determine the micro-batches of a run. */
export type MicroBatchSettings = BatchSettings & Pick<ResolvedSettings, "seed" | "gradientAccumulationSteps">;

/** Examples that are computed at once: a batch, or a part of a large one. */
export interface MicroBatch {
  readonly batch: Batch;
  /** Its number in the run, from 0. */
  readonly index: number;
  /** From 0. */
  readonly epoch: number;
  /** True for the last one of its update. */
  readonly isLast: boolean;
  /** It counts, but its gradient is known to be 0 and is not computed (false). */
  readonly isSkipped?: boolean;
  /** Sizes of its update; those of the batch where it is all of it. */
  readonly update?: Totals;
  /** What is reported of its update besides what the objective reports. */
  readonly metrics?: Metrics;
}

/** Micro-batches of a run from a position on, without end: of examples, or made as they are asked for. */
export type MicroBatches = Iterator<MicroBatch, never> | AsyncIterator<MicroBatch, never>;

/** Position at which a run continues. */
export interface Position {
  /** Complete updates. */
  readonly updates: number;
  /** Micro-batches of the next update that are computed already. */
  readonly microBatches: number;
}

/**
 * Tokens that are computed at once, padding included; at least one row. A run that is asked to stop ends after what it
 * computes now, which therefore must not take long, and more tokens at once are not faster.
 */
const MAX_BATCH_TOKENS = 16_384;

/** Rows that are computed at once. Larger batches are divided, and what comes of their parts is added up. */
export const rowsAtOnce = ({
  batchSize,
  maxLength,
}: Pick<BatchSettings, "batchSize" | "maxLength">): number =>
  Math.min(batchSize, Math.max(1, Math.floor(MAX_BATCH_TOKENS / maxLength)));

const epochPlanOptions = (settings: MicroBatchSettings, epoch: number): PlanOptions => ({
  epoch,
  seed: settings.seed,
  batchSize: settings.batchSize,
  maxLength: settings.maxLength,
  packing: settings.packing,
});

/**
 * Multiple to which batch lengths are rounded up, in tokens. Packed rows are nearly full, so that one shape, and with it one
 * compiled program, serves them all.
 */
export const lengthMultiple = ({ packing, maxLength }: BatchSettings): number => (packing ? maxLength : 64);

/**
 * Number of updates in `epochs` passes over the data, at least 1; `lengths` are the tokens of each example.
 *
 * @throws MosError `bad_config` for an example longer than a row.
 */
export function countSteps(lengths: readonly number[], epochs: number, settings: MicroBatchSettings): number {
  let count = 0;
  for (let epoch = 0; epoch < Math.ceil(epochs); epoch++) {
    const planned = planEpoch(lengths, epochPlanOptions(settings, epoch)).length;
    count += epoch + 1 <= epochs ? planned : Math.round(planned * (epochs - epoch));
  }
  return Math.max(1, Math.ceil(count / settings.gradientAccumulationSteps));
}

/** The batches of the first epoch; `lengths` are the tokens of each example. */
export function paddedTokens(lengths: readonly number[], settings: MicroBatchSettings) {
  const plan = planEpoch(lengths, epochPlanOptions(settings, 0));
  const multiple = lengthMultiple(settings);
  const shapes = plan
    .flatMap((batch) => splitRows(batch, settings))
    .map((rows) => {
      const longest = rows.reduce((most, row) => Math.max(most, countRowTokens([row], lengths)), 0);
      return {
        rows: rows.length,
        examples: rows.flat().length,
        length: Math.min(settings.maxLength, Math.ceil(longest / multiple) * multiple),
      };
    });
  return {
    /** Tokens of all batches, padding included. */
    tokens: shapes.reduce((sum, { rows, length }) => sum + rows * length, 0),
    batches: plan.length,
    // of the largest micro-batch: the most rows, tokens of a row, and examples
    rows: shapes.reduce((most, { rows }) => Math.max(most, rows), 0),
    longest: shapes.reduce((most, { length }) => Math.max(most, length), 0),
    examples: shapes.reduce((most, { examples }) => Math.max(most, examples), 0),
  };
}

/** The rows of a batch, as indices of examples. */
type PlannedRows = EpochPlan[number];

const countRowTokens = (rows: PlannedRows, lengths: readonly number[]): number =>
  rows.reduce((sum, row) => sum + row.reduce((more, i) => more + (lengths[i] ?? 0), 0), 0);

/** The micro-batches of a batch. */
const splitRows = (rows: PlannedRows, settings: BatchSettings): readonly PlannedRows[] =>
  chunk(rows, rowsAtOnce(settings));

interface Planned extends Omit<MicroBatch, "batch" | "update"> {
  readonly rows: PlannedRows;
  /** Updates before its own. */
  readonly updates: number;
  /** The batches of its update. */
  readonly group: readonly EpochBatch[];
}

interface EpochBatch {
  readonly rows: PlannedRows;
  /** From 0. */
  readonly epoch: number;
}

function* planBatches(
  lengths: readonly number[],
  settings: MicroBatchSettings,
): Generator<EpochBatch, never> {
  for (let epoch = 0; ; epoch++)
    for (const rows of planEpoch(lengths, epochPlanOptions(settings, epoch))) yield { rows, epoch };
}

/** Plans the micro-batches of a run, epoch after epoch, without end. */
function* planFromStart(lengths: readonly number[], settings: MicroBatchSettings): Generator<Planned, never> {
  const batches = planBatches(lengths, settings);
  let index = 0;
  for (let updates = 0; ; updates++) {
    const group = Array.from({ length: settings.gradientAccumulationSteps }, () => batches.next().value);
    const parts = group.flatMap(({ rows, epoch }) =>
      splitRows(rows, settings).map((part) => ({ rows: part, epoch })),
    );
    for (const [i, part] of parts.entries()) {
      yield { ...part, updates, group, index, isLast: i === parts.length - 1 };
      index += 1;
    }
  }
}

/** Plans them from a position on. Throws `bad_data` where the next update ends before it. */
function* planFrom(
  { updates, microBatches: done }: Position,
  lengths: readonly number[],
  settings: MicroBatchSettings,
): Generator<Planned, never> {
  const planned = planFromStart(lengths, settings);
  let skipped = 0;
  for (;;) {
    const next = planned.next().value;
    if (next.updates < updates) continue;
    if (skipped === done) yield next;
    else if (!next.isLast) skipped += 1;
    else
      throw new MosError(
        "bad_data",
        `the checkpoint has ${done} micro-batches of an unfinished update, which has ${skipped + 1} in all; start again without --resume`,
      );
  }
}

const exampleLengths = (examples: readonly EncodedExample[]): readonly number[] =>
  examples.map(({ ids }) => ids.length);

/** The examples of a planned batch. */
const examplesOf =
  (examples: readonly EncodedExample[]) =>
  ({ rows }: EpochBatch): readonly EncodedExample[] =>
    rows.flat().flatMap((i) => examples[i] ?? []);

/** Micro-batches from a position on, epoch after epoch, without end. */
export function* microBatches(
  examples: readonly EncodedExample[],
  settings: MicroBatchSettings,
  start: Position,
): Generator<MicroBatch, never> {
  const options = { ...settings, lengthMultiple: lengthMultiple(settings) };
  const planned = planFrom(start, exampleLengths(examples), settings);
  let before: Planned["group"] = [];
  let update = totalsOf([]);
  for (;;) {
    const { rows, index, epoch, isLast, group } = planned.next().value;
    if (group !== before) update = totalsOf(group.flatMap(examplesOf(examples)));
    before = group;
    yield { batch: plannedBatch(rows, examples, options), index, epoch, isLast, update };
  }
}

/** Tokens of each update from a position on, without padding; of an unfinished update those that are left. */
export function* updateTokens(
  examples: readonly EncodedExample[],
  settings: MicroBatchSettings,
  start: Position,
): Generator<number, never> {
  const lengths = exampleLengths(examples);
  const planned = planFrom(start, lengths, settings);
  for (;;) {
    let tokens = 0;
    let next: Planned;
    do {
      next = planned.next().value;
      tokens += countRowTokens(next.rows, lengths);
    } while (!next.isLast);
    yield tokens;
  }
}

/** Tokens of a whole run, without padding. Every epoch of it is planned for that. */
export function runTokens(
  examples: readonly EncodedExample[],
  settings: MicroBatchSettings & { readonly steps: number },
): number {
  const updates = updateTokens(examples, settings, { updates: 0, microBatches: 0 });
  let tokens = 0;
  for (let step = 0; step < settings.steps; step++) tokens += updates.next().value;
  return tokens;
}
