// Assignment of examples to rows, and of rows to batches. With packing, several short examples share a row, so that little of
// it is padding: windows of examples, in the epoch's random order, are packed one after another, longest first, each
// example into the fullest row that has room for it (best fit decreasing). GSM8K's questions and answers (196 tokens on
// average) fill 97 % of rows of 512 tokens and 98 % of rows of 1024; unpacked, eight rows padded to the longest are 60 %
// full.
import { MosError, randomStream } from "#core";

/** The batches of an epoch, each a list of rows, each a list of indices of examples. */
export type EpochPlan = readonly (readonly (readonly number[])[])[];

/** Options of dividing an epoch into batches. */
export interface PlanOptions {
  /** From 0. */
  readonly epoch: number;
  readonly seed: number;
  /** Rows of a batch; the last batch of an epoch may have fewer. */
  readonly batchSize: number;
  /** The longest row, in tokens. */
  readonly maxLength: number;
  /** Allows several examples in a row. */
  readonly packing: boolean;
  /** `false` keeps the order of the examples, as evaluation and comparisons need it; true. */
  readonly shuffle?: boolean;
}

/**
 * Decides what every batch of an epoch holds, each example exactly once. Examples are shuffled, packed within windows of
 * that order, and the rows shuffled again, so that length alone decides neither which examples share a row nor when a
 * row comes.
 *
 * @param lengths tokens of each example
 * @throws MosError `bad_config` when an example is longer than a row; `bad_option` for sizes that are not
 * whole numbers above 0.
 */
export function planEpoch(lengths: readonly number[], options: PlanOptions): EpochPlan {
  const { epoch, seed, batchSize, maxLength, packing, shuffle = true } = options;
  checkSize("batchSize", batchSize);
  checkSize("maxLength", maxLength);
  checkFits(lengths, maxLength);
  const order = shuffle
    ? Array.from(epochOrder(lengths.length, { seed, epoch }))
    : Array.from(lengths, (_, i) => i);
  if (!packing)
    return chunk(
      order.map((i) => [i]),
      batchSize,
    );
  const ordered = order.map((i) => lengths[i] ?? 0);
  const rows = packExamples(ordered, { maxLength }).map((row) => row.map((k) => order[k] ?? 0));
  return chunk(shuffle ? shuffled(rows, { seed, epoch }) : rows, batchSize);
}

function checkSize(name: string, size: number): void {
  if (!Number.isSafeInteger(size) || size < 1)
    throw new MosError("bad_option", `${name} is ${size}; give a whole number from 1 up`);
}

const chunk = <T>(items: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));

interface OrderOptions {
  readonly seed: number;
  /** From 0; every epoch has its own order. */
  readonly epoch: number;
}

/** 0 … n − 1 in the random order in which an epoch visits the examples. */
export const epochOrder = (n: number, { seed, epoch }: OrderOptions): Uint32Array =>
  randomStream(seed, `epoch ${epoch} examples`).permutation(n);

/** The packed rows in a random order. */
function shuffled<T>(items: readonly T[], { seed, epoch }: OrderOptions): T[] {
  const order = randomStream(seed, `epoch ${epoch} rows`).permutation(items.length);
  return Array.from(order, (i) => items[i]).filter((item) => item !== undefined);
}

interface PackOptions {
  /** Tokens that a row can hold. */
  readonly maxLength: number;
  /** Examples packed at a time: larger fills rows better, smaller stays closer to the random order. */
  readonly window?: number;
}

/**
 * Rows of indices into `lengths` (tokens), each index once, no row longer than `maxLength`. It is deterministic.
 *
 * @throws MosError `bad_config` when an example is longer than a row.
 */
export function packExamples(
  lengths: ArrayLike<number>,
  { maxLength, window = 1024 }: PackOptions,
): number[][] {
  checkFits(lengths, maxLength);
  const rows: number[][] = [];
  for (let from = 0; from < lengths.length; from += window) {
    const indices = Array.from({ length: Math.min(window, lengths.length - from) }, (_, i) => from + i);
    rows.push(...packWindow(indices, lengths, maxLength));
  }
  return rows;
}

function packWindow(indices: readonly number[], lengths: ArrayLike<number>, maxLength: number): number[][] {
  const exampleLength = (i: number): number => lengths[i] ?? 0;
  const longestFirst = [...indices].sort((a, b) => exampleLength(b) - exampleLength(a) || a - b);
  const rows: number[][] = [];
  // rows by the room left in them, so that the fullest one with enough room is found without searching all
  const byRoom: (number[][] | undefined)[] = [];
  for (const index of longestFirst) {
    const length = exampleLength(index);
    let room = length;
    while (room < maxLength && (byRoom[room]?.length ?? 0) === 0) room++;
    let row = byRoom[room]?.pop();
    if (row === undefined) {
      row = [];
      rows.push(row);
      room = maxLength;
    }
    row.push(index);
    byRoom[room - length] ??= [];
    byRoom[room - length]?.push(row);
  }
  return rows;
}

/** Throws `bad_config` for an example longer than a row; `lengths` in tokens. */
function checkFits(lengths: ArrayLike<number>, maxLength: number): void {
  for (let i = 0; i < lengths.length; i++) {
    const length = lengths[i] ?? 0;
    if (length > maxLength)
      throw new MosError(
        "bad_config",
        `an example has ${length} tokens, but a row holds ${maxLength}; use longer rows or cut examples to ${maxLength}`,
      );
  }
}
