import fc from "fast-check";
import { expect, test } from "vitest";
import { type Batch, type EncodedExample, makeBatch } from "#data";
import { mismatched } from "./kto.ts";

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

test("answers that were cut off behind their own prompt are whole behind a shorter one, and then cut off", () => {
  const shape = fc.record({ prompt: fc.integer({ min: 1, max: 7 }), answer: fc.integer({ min: 1, max: 9 }) });
  fc.assert(
    fc.property(fc.array(shape, { minLength: 2, maxLength: 5 }), fc.boolean(), (shapes, isPacked) => {
      const longest = 8;
      const whole = shapes.map(({ prompt, answer }, k) => example(100 * (k + 1), prompt, answer));
      const cut = whole.map((one, k) => {
        const [ids, labels] = [one.ids.subarray(0, longest), one.labels.subarray(0, longest)];
        const targetTokens = ids.length - (shapes[k]?.prompt ?? 0);
        const rest = { ids: one.ids.subarray(longest), labels: one.labels.subarray(longest) };
        return { ...one, ids, labels, targetTokens, ...(rest.ids.length > 0 ? { rest } : {}) };
      });
      const rows = isPacked ? [cut] : cut.map((one) => [one]);
      const length = Math.max(...rows.map((row) => row.reduce((sum, { ids }) => sum + ids.length, 0)));
      const found = mismatched(makeBatch(rows, { length, padToken: 0 }), longest);
      // TRL's: completions rotated by one, then prompt and completion together cut to max_length
      const expected = shapes.map(({ prompt }, k) => {
        const [own, other] = [whole[k], whole.at(k - 1)];
        const answer = other?.ids.subarray(shapes.at(k - 1)?.prompt).subarray(0, longest - prompt);
        return `${own?.ids.subarray(0, prompt).join(" ")} | ${answer?.join(" ")}`;
      });
      expect([...sequencesOf(found)].sort()).toEqual(expected.sort());
    }),
  );
});

test("they may be longer than the batch that they are of, and are as long as they need at most", () => {
  const batch = makeBatch([[example(10, 40, 1)], [example(110, 1, 40)]], { length: 64, padToken: 0 });
  expect(mismatched(batch, 512).map(({ rows, length }) => [rows, length])).toEqual([[2, 128]]);
  expect(mismatched(batch, 70).map(({ rows, length }) => [rows, length])).toEqual([[2, 70]]);
});
