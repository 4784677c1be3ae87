import { MosError } from "#core";
import { epochOrder, shuffled } from "./order.ts";
import { checkFits, packExamples } from "./pack.ts";

/** Batches → rows → indices of examples. */
export type EpochPlan = readonly (readonly (readonly number[])[])[];

export interface PlanOptions {
  /** From 0. */
  readonly epoch: number;
  readonly seed: number;
  /** Rows of a batch; the last batch of an epoch may have fewer. */
  readonly batchRows: number;
  /** The longest row, in tokens. */
  readonly rowLength: number;
  /** Several examples to a row, or one. */
  readonly packed: boolean;
  /** `false` keeps the order of the examples, for evaluation and for comparisons. */
  readonly shuffle?: boolean;
}

/**
 * Decides what every batch of an epoch holds: each example exactly once. Examples are shuffled, packed within windows
 * of that order, and the rows shuffled again, so that neither which examples share a row nor which row comes when
 * depends on their length alone.
 *
 * @param lengths tokens of each example
 * @throws MosError `bad_config` when an example is longer than a row; `bad_option` for sizes that are no whole
 * numbers above 0.
 */
export function planEpoch(lengths: readonly number[], options: PlanOptions): EpochPlan {
  const { epoch, seed, batchRows, rowLength, packed, shuffle = true } = options;
  checkSize("batchRows", batchRows);
  checkSize("rowLength", rowLength);
  checkFits(lengths, rowLength);
  const order = shuffle
    ? Array.from(epochOrder(lengths.length, { seed, epoch }))
    : Array.from(lengths, (_, i) => i);
  if (!packed)
    return chunk(
      order.map((i) => [i]),
      batchRows,
    );
  const ordered = order.map((i) => lengths[i] ?? 0);
  const rows = packExamples(ordered, { rowLength }).map((row) => row.map((k) => order[k] ?? 0));
  return chunk(shuffle ? shuffled(rows, { seed, epoch }) : rows, batchRows);
}

function checkSize(name: string, size: number): void {
  if (!Number.isSafeInteger(size) || size < 1)
    throw new MosError("bad_option", `${name} is ${size}; give a whole number from 1 up`);
}

const chunk = <T>(items: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
