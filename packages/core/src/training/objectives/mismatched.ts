// Prompts with the answers to other prompts, of which KTO measures how far a policy has moved.
import { type Batch, type EncodedExample, IGNORED, type LabelledIds, makeBatch, packExamples } from "#data";

/** Tokens of a sequence up to its first target, and from there on, with their labels. */
interface Parts {
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
  readonly labels: readonly number[];
}

interface Sequence {
  /** Indices of its labels in the batch. */
  readonly labels: readonly number[];
  readonly rest: LabelledIds | undefined;
}

function partsOf(batch: Batch, { labels, rest }: Sequence): Parts {
  const { ids, positions, segments, labelIndices, labelIds, length } = batch;
  const last = labelIndices[labels[0] ?? 0] ?? 0; // of the prompt
  const rowEnd = (Math.floor(last / length) + 1) * length;
  let end = last + 1;
  while (end < rowEnd && segments[end] === segments[last]) end++;
  const marks = new Map(labels.map((label) => [(labelIndices[label] ?? 0) + 1, labelIds[label] ?? IGNORED]));
  const answer = Array.from(ids.subarray(last + 1, end));
  const marked = answer.map((_, i) => marks.get(last + 1 + i) ?? IGNORED);
  return {
    prompt: Array.from(ids.subarray(last - (positions[last] ?? 0), last + 1)),
    answer: [...answer, ...(rest?.ids ?? [])],
    labels: [...marked, ...(rest?.labels ?? [])],
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

/** The length of a batch is a multiple of this, so that there are few programs. */
const LENGTH_MULTIPLE = 64;

/**
 * Each prompt of a batch with the answer of the sequence before it, the first prompt with the last answer. These batches
 * have as many rows as the given one, and its length where they fit; what is longer than `longest` is cut off, and what was
 * cut off behind a longer prompt is there again, as in TRL.
 */
export function mismatched(batch: Batch, longest: number): readonly Batch[] {
  const { rows, sequences, rests } = batch;
  const labels = Array.from({ length: sequences }, (): number[] => []);
  for (const [label, sequence] of batch.labelSequences.entries()) labels[sequence]?.push(label);
  const parts = labels.map((own, k) => partsOf(batch, { labels: own, rest: rests[k] }));
  const examples = parts.map((own, k) => joined(own, parts.at(k - 1) ?? own, longest));
  const most = Math.max(...examples.map(({ ids }) => ids.length));
  const length = Math.max(
    batch.length,
    Math.min(longest, Math.ceil(most / LENGTH_MULTIPLE) * LENGTH_MULTIPLE),
  );
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
