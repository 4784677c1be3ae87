// Sums and means over the answers of a batch: on the host, and in the graph as products with matrices that are fed.

import { type HostTensor, leaf, matmul, type Value } from "mixture-of-shards-graph";
import type { Batch } from "#data";

/** One column of numbers, as a leaf [n, 1] is fed. */
export const column = (data: Float32Array): HostTensor => ({ shape: [data.length, 1], data });

/** Σ over the labels of each sequence; without numbers, how many labels it has. */
export function sumBySequence(
  { labelSequences, sequences }: Batch,
  numbers?: ArrayLike<number>,
): Float64Array {
  const sums = new Float64Array(sequences);
  for (const [label, sequence] of labelSequences.entries())
    sums[sequence] = (sums[sequence] ?? 0) + (numbers === undefined ? 1 : (numbers[label] ?? 0));
  return sums;
}

/** The mean over the labels of each sequence, or over those of them that have a mark of 1 and not of 0. */
export function meanBySequence(
  batch: Batch,
  numbers: ArrayLike<number>,
  marks?: ArrayLike<number>,
): Float64Array {
  const marked = marks === undefined ? numbers : Array.from(numbers, (x, label) => x * (marks[label] ?? 0));
  const lengths = sumBySequence(batch, marks);
  return sumBySequence(batch, marked).map((sum, k) => sum / (lengths[k] ?? 1));
}

/** A matrix [rows, labels] with one number in the column of each label. */
export function labelMatrix(
  { labelSequences }: Batch,
  rows: number,
  entry: (sequence: number, label: number) => { readonly row: number; readonly value: number },
): HostTensor {
  const labels = labelSequences.length;
  const data = new Float32Array(rows * labels);
  for (const [label, sequence] of labelSequences.entries()) {
    const { row, value } = entry(sequence, label);
    data[row * labels + label] = value;
  }
  return { shape: [rows, labels], data };
}

/** The product of such a matrix, fed by this name, with a column [labels, 1]. */
export const combined = (name: string, rows: "pairs" | "sequences", x: Value): Value =>
  matmul(leaf(name, [rows, "labels"]), x);

/** A column of the batch [labels, 1] as a leaf. */
export const labelColumn = (name: string): Value => leaf(name, ["labels", 1]);

/** The contents of such a leaf; 0 where the batch lacks the column. */
export const fedColumn = ({ columns, labelIds }: Batch, name: keyof Batch["columns"]): HostTensor =>
  column(columns[name] ?? new Float32Array(labelIds.length));
