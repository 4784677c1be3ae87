// Rows of examples as the flat arrays a training step is fed with. B rows · S places of a row.
import { MosError } from "#core";
import type { EncodedExample } from "./encode.ts";
import { type EpochPlan, type PlanOptions, planEpoch } from "./plan.ts";

export interface Batch {
  /** B */
  readonly rows: number;
  /** S */
  readonly length: number;
  /** [B, S], row-major, like `positions` and `segments`. */
  readonly ids: Int32Array;
  /** Position of each token in its own example, from 0; 0 in padding. */
  readonly positions: Int32Array;
  /** 1, 2, … for the examples of a row; 0 in padding. A token attends only to its own segment. */
  readonly segments: Int32Array;
  /** Flat places b·S + s of the hidden states that predict a counted token, ascending. */
  readonly labelPositions: Int32Array;
  /** The token to be predicted at each of `labelPositions`. */
  readonly labelIds: Int32Array;
  /** Real examples. */
  readonly examples: number;
  /** Real tokens, padding not counted. */
  readonly tokens: number;
}

export interface MakeBatchOptions {
  /** S */
  readonly length: number;
  /** Any id of the vocabulary; it is never attended to nor predicted. */
  readonly padToken: number;
}

/**
 * Lays rows of examples out. A label never crosses from one example into the next: the first token of an example is
 * not predicted by anything.
 *
 * @throws MosError `bad_config` when a row is longer than `length`.
 */
export function makeBatch(
  rows: readonly (readonly EncodedExample[])[],
  { length, padToken }: MakeBatchOptions,
): Batch {
  const places = rows.length * length;
  const ids = new Int32Array(places).fill(padToken);
  const positions = new Int32Array(places);
  const segments = new Int32Array(places);
  for (const [b, row] of rows.entries()) {
    const used = rowTokens(row);
    if (used > length)
      throw new MosError("bad_config", `row ${b} holds ${used} tokens, but the batch is ${length} long`);
    let from = b * length;
    for (const [e, example] of row.entries()) {
      ids.set(example.ids, from);
      segments.fill(e + 1, from, from + example.ids.length);
      for (let i = 0; i < example.ids.length; i++) positions[from + i] = i;
      from += example.ids.length;
    }
  }
  return {
    rows: rows.length,
    length,
    ids,
    positions,
    segments,
    ...shiftLabels(rows, length),
    examples: rows.reduce((sum, row) => sum + row.length, 0),
    tokens: rows.reduce((sum, row) => sum + rowTokens(row), 0),
  };
}

/** The token at place i of an example is predicted by the hidden state at i − 1; nothing predicts its first one. */
function shiftLabels(
  rows: readonly (readonly EncodedExample[])[],
  length: number,
): Pick<Batch, "labelPositions" | "labelIds"> {
  const labelPositions: number[] = [];
  const labelIds: number[] = [];
  for (const [b, row] of rows.entries()) {
    let from = b * length;
    for (const { labels } of row) {
      for (const [i, label] of labels.entries()) {
        if (i === 0 || label < 0) continue;
        labelPositions.push(from + i - 1);
        labelIds.push(label);
      }
      from += labels.length;
    }
  }
  return { labelPositions: Int32Array.from(labelPositions), labelIds: Int32Array.from(labelIds) };
}

const rowTokens = (row: readonly EncodedExample[]): number =>
  row.reduce((sum, { ids }) => sum + ids.length, 0);

export interface BatchesOptions extends PlanOptions {
  readonly padToken: number;
  /** Index of the first batch wanted, to go on in the middle of an epoch. */
  readonly start?: number;
  /** A batch is as long as its longest row, rounded up to a multiple of this, at most `rowLength`. */
  readonly lengthMultiple?: number;
}

/**
 * The batches of one epoch, made one at a time. The same options give the same batches, whatever `start` is.
 *
 * @example
 * for (const batch of batches(encoded, { epoch: 0, seed: 0, batchRows: 4, rowLength: 512, packed: true, padToken: 2 }))
 *   await step(batch);
 */
export function* batches(
  encoded: readonly EncodedExample[],
  options: BatchesOptions,
): Generator<Batch, void, undefined> {
  const lengths = encoded.map(({ ids }) => ids.length);
  yield* batchesOf(planEpoch(lengths, options), encoded, options);
}

function* batchesOf(
  plan: EpochPlan,
  encoded: readonly EncodedExample[],
  { start = 0, lengthMultiple = 32, rowLength, padToken }: BatchesOptions,
): Generator<Batch, void, undefined> {
  for (const planned of plan.slice(start)) {
    const rows = planned.map((row) => row.map((i) => encoded[i]).filter((example) => example !== undefined));
    const longest = Math.max(...rows.map(rowTokens));
    const length = Math.min(rowLength, Math.ceil(longest / lengthMultiple) * lengthMultiple);
    yield makeBatch(rows, { length, padToken });
  }
}
