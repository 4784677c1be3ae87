// Prompts with the answers to other prompts, of which KTO measures how far a policy has moved.
import { type Batch, type EncodedExample, IGNORED, makeBatch, packExamples } from "#data";

/** Tokens of a sequence up to its first target, and from there on, with their labels. */
interface Parts {
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
  readonly labels: readonly number[];
}

function partsOf(batch: Batch, labels: readonly number[]): Parts {
  const { ids, positions, segments, labelIndices, labelIds, length } = batch;
  const last = labelIndices[labels[0] ?? 0] ?? 0; // of the prompt
  const rowEnd = (Math.floor(last / length) + 1) * length;
  let end = last + 1;
  while (end < rowEnd && segments[end] === segments[last]) end++;
  const marks = new Map(labels.map((label) => [(labelIndices[label] ?? 0) + 1, labelIds[label] ?? IGNORED]));
  const answer = Array.from(ids.subarray(last + 1, end));
  return {
    prompt: Array.from(ids.subarray(last - (positions[last] ?? 0), last + 1)),
    answer,
    labels: answer.map((_, i) => marks.get(last + 1 + i) ?? IGNORED),
  };
}

/** A prompt with the answer to another one, cut off at a length. */
function joined({ prompt }: Parts, { answer, labels }: Parts, length: number): EncodedExample {
  const ids = Int32Array.from([...prompt, ...answer]).subarray(0, length);
  const marked = Int32Array.from([...prompt.map(() => IGNORED), ...labels]).subarray(0, length);
  return {
    line: 0,
    ids,
    labels: marked,
    targetTokens: marked.filter((label) => label >= 0).length,
    truncated: false,
    truncatedTargets: 0,
  };
}

/**
 * Each prompt of a batch with the answer of the sequence before it, the first prompt with the last answer. These batches
 * have the shape of the given one, so that its program computes them, too; what is longer than `longest` is cut off.
 */
export function mismatched(batch: Batch, longest: number): readonly Batch[] {
  const { rows, length, sequences } = batch;
  const labels = Array.from({ length: sequences }, (): number[] => []);
  for (const [label, sequence] of batch.labelSequences.entries()) labels[sequence]?.push(label);
  const parts = labels.map((own) => partsOf(batch, own));
  const most = Math.min(length, longest);
  const examples = parts.map((own, k) => joined(own, parts.at(k - 1) ?? own, most));
  const packed = packExamples(
    examples.map(({ ids }) => ids.length),
    { maxLength: length },
  ).map((row) => row.flatMap((k) => examples[k] ?? []));
  return Array.from({ length: Math.ceil(packed.length / rows) }, (_, b) =>
    makeBatch(
      Array.from({ length: rows }, (_, i) => packed[b * rows + i] ?? []),
      { length, padToken: 0 },
    ),
  );
}
