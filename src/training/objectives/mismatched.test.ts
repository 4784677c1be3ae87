import { expect, test } from "vitest";
import { type Batch, type EncodedExample, makeBatch } from "#data";
import { mismatched } from "./mismatched.ts";

/** Tokens from `first` on, of which the last ones are targets. */
function example(first: number, prompt: number, answer: number): EncodedExample {
  const ids = Int32Array.from({ length: prompt + answer }, (_, i) => first + i);
  return {
    line: first,
    ids,
    labels: ids.map((id, i) => (i < prompt ? -100 : id)),
    targetTokens: answer,
    truncated: false,
    truncatedTargets: 0,
  };
}

/** The sequences of batches, as the tokens up to the first target and those that are targets. */
function sequencesOf(batches: readonly Batch[]): readonly string[] {
  return batches.flatMap(({ ids, positions, labelIndices, labelIds, labelSequences, sequences }) =>
    Array.from({ length: sequences }, (_, k) => {
      const labels = [...labelSequences.keys()].filter((label) => labelSequences[label] === k);
      const last = labelIndices[labels[0] ?? 0] ?? 0;
      const prompt = ids.subarray(last - (positions[last] ?? 0), last + 1);
      return `${prompt.join(" ")} | ${labels.map((label) => labelIds[label]).join(" ")}`;
    }),
  );
}

test("each prompt is followed by the answer of the sequence before, packed or not", () => {
  const [a, b, c] = [example(10, 2, 3), example(20, 3, 1), example(30, 1, 2)];
  const expected = ["10 11 | 31 32", "20 21 22 | 12 13 14", "30 | 23"];
  for (const rows of [[[a], [b], [c]], [[a, b, c]]]) {
    const length = 16;
    const found = mismatched(makeBatch(rows, { length, padToken: 0 }), 6);
    expect(found.map((batch) => [batch.rows, batch.length])).toEqual(found.map(() => [rows.length, length]));
    expect([...sequencesOf(found)].sort()).toEqual(expected);
  }
});

test("answers are cut off where a sequence would be too long", () => {
  const batch = makeBatch([[example(10, 4, 1)], [example(20, 1, 4)]], { length: 6, padToken: 0 });
  const found = mismatched(batch, 5);
  expect(sequencesOf(found)).toEqual(["10 11 12 13 | 21", "20 | 14"]);
});
