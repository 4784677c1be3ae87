// Rows of examples as the flat arrays that a training step is fed. B rows · S tokens of a row
import { MosError } from "#core";
import type { EncodedExample } from "./encode.ts";
import { type EpochPlan, type PlanOptions, planEpoch } from "./plan.ts";

/** One micro-batch. */
export interface Batch {
  /** B */
  readonly rows: number;
  /** S */
  readonly length: number;
  /** Token ids [B, S], row-major, like `positions` and `segments`. */
  readonly ids: Int32Array;
  /** Position ids: of each token in its own example, from 0; 0 in padding. */
  readonly positions: Int32Array;
  /** Segment ids: 1, 2, … for the examples of a row; 0 in padding. A token attends to its own segment only. */
  readonly segments: Int32Array;
  /** Flat indices b·S + s of the hidden states that predict a target, ascending. */
  readonly labelIndices: Int32Array;
  /** The target token of each of `labelIndices`. */
  readonly labelIds: Int32Array;
  /** Examples in the batch. */
  readonly examples: number;
  /** Tokens, without padding. */
  readonly tokens: number;
}

/** The form of a batch. */
export interface MakeBatchOptions {
  /** S */
  readonly length: number;
  /** Any id of the vocabulary; it is never attended to nor predicted. */
  readonly padToken: number;
}

/**
 * Lays out rows of examples as one batch. Labels do not cross from one example into the next: nothing predicts the first
 * token of an example.
 *
 * @throws MosError `bad_config` when a row is longer than `length`.
 */
export function makeBatch(
  rows: readonly (readonly EncodedExample[])[],
  { length, padToken }: MakeBatchOptions,
): Batch {
  const size = rows.length * length;
  const ids = new Int32Array(size).fill(padToken);
  const positions = new Int32Array(size);
  const segments = new Int32Array(size);
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

/** The hidden state at position i − 1 of an example predicts its token i. */
function shiftLabels(
  rows: readonly (readonly EncodedExample[])[],
  length: number,
): Pick<Batch, "labelIndices" | "labelIds"> {
  const labelIndices: number[] = [];
  const labelIds: number[] = [];
  for (const [b, row] of rows.entries()) {
    let from = b * length;
    for (const { labels } of row) {
      for (const [i, label] of labels.entries()) {
        if (i === 0 || label < 0) continue;
        labelIndices.push(from + i - 1);
        labelIds.push(label);
      }
      from += labels.length;
    }
  }
  return { labelIndices: Int32Array.from(labelIndices), labelIds: Int32Array.from(labelIds) };
}

const rowTokens = (row: readonly EncodedExample[]): number =>
  row.reduce((sum, { ids }) => sum + ids.length, 0);

/** The batches of an epoch, and where to start. */
export interface BatchesOptions extends PlanOptions {
  readonly padToken: number;
  /** Index of the first batch, to resume in the middle of an epoch; 0. */
  readonly start?: number;
  /** A batch is as long as its longest row, rounded up to a multiple of this, at most `maxLength`; 32. */
  readonly lengthMultiple?: number;
}

/**
 * The batches of one epoch, made one at a time. The same options give the same batches, whatever `start` is.
 *
 * @example
 * for (const batch of batches(encoded, { epoch: 0, seed: 0, batchSize: 4, maxLength: 512, packing: true, padToken: 2 }))
 *   await step(batch);
 */
export function* batches(
  encoded: readonly EncodedExample[],
  options: BatchesOptions,
): Generator<Batch, void, undefined> {
  const lengths = encoded.map(({ ids }) => ids.length);
  yield* makeBatches(planEpoch(lengths, options), encoded, options);
}

function* makeBatches(
  plan: EpochPlan,
  encoded: readonly EncodedExample[],
  { start = 0, lengthMultiple = 32, maxLength, padToken }: BatchesOptions,
): Generator<Batch, void, undefined> {
  for (const planned of plan.slice(start))
    yield plannedBatch(planned, encoded, { lengthMultiple, maxLength, padToken });
}

/** The batch of planned rows, which are lists of indices into `encoded`. */
export function plannedBatch(
  planned: EpochPlan[number],
  encoded: readonly EncodedExample[],
  {
    lengthMultiple,
    maxLength,
    padToken,
  }: Required<Pick<BatchesOptions, "lengthMultiple" | "maxLength" | "padToken">>,
): Batch {
  const rows = planned.map((row) => row.map((i) => encoded[i]).filter((example) => example !== undefined));
  const longest = Math.max(...rows.map(rowTokens));
  const length = Math.min(maxLength, Math.ceil(longest / lengthMultiple) * lengthMultiple);
  return makeBatch(rows, { length, padToken });
}
