import { mul, sum } from "mixture-of-shards-graph";
import { type Batch, type EncodedExample, makeBatch } from "#data";
import { column, labelColumn, sumBySequence } from "./answers.ts";
import { type FeedContext, objectiveKind } from "./objective.ts";

/** Rows of at most `length` tokens, in the order of the examples. */
function rowsInOrder(examples: readonly EncodedExample[], length: number): readonly EncodedExample[][] {
  const rows: EncodedExample[][] = [];
  let room = 0;
  for (const example of examples) {
    if (example.ids.length > room) {
      rows.push([]);
      room = length;
    }
    rows.at(-1)?.push(example);
    room -= example.ids.length;
  }
  return rows;
}

/** The shortest row of the teacher; longer ones are twice as long each, so that there are few programs. */
const SHORTEST = 64;

/** What the teacher's head reads at each target of a batch, from a row of prompts with hints at a time. */
async function teacherStates(
  { hinted, labelIds }: Batch,
  { hidden, longest }: FeedContext,
  of: Parameters<FeedContext["hidden"]>[1],
): Promise<Float32Array> {
  const tokens = hinted.reduce((total, { ids }) => total + ids.length, 0);
  let length = SHORTEST;
  while (length < Math.min(tokens, longest)) length *= 2;
  length = Math.min(length, longest);
  let [states, at] = [new Float32Array(), 0];
  for (const row of rowsInOrder(hinted, length)) {
    const batch = makeBatch([row], { length, padToken: 0 });
    const found = await hidden(batch, of);
    if (at === 0) states = new Float32Array((found.length / batch.labelIds.length) * labelIds.length);
    states.set(found, at);
    at += found.length;
  }
  return states;
}

/**
 * Self-distillation: the teacher is the same base with a hint in its prompt, and the student learns at each token of the answer
 * how likely the teacher finds all tokens, without the hint. As in TRL, the loss is the mean of the answers' means.
 */
export const sdft = objectiveKind({
  help: "learn to answer as with a hint in the prompt, but without it",
  data: "hinted",
  defaults: {
    teacherKind: "frozen",
    distillationAlpha: 0.5,
    distillationTopk: undefined,
    distillationAddTail: false,
  },
  learningRate: 1,
  usesDropout: false,
  create: ({
    teacherKind,
    distillationAlpha: alpha,
    distillationTopk: topK,
    distillationAddTail: addTail,
  }) => ({
    usesReference: teacherKind === "frozen",
    divergence: { alpha, topK, addTail },
    shown: ["nll_loss"],
    loss: (divergences) => sum(mul(divergences, labelColumn("weights"))),
    async feeds(batch, context) {
      const states = await teacherStates(batch, context, teacherKind === "live" ? "policy" : "reference");
      const lengths = sumBySequence(batch);
      const targets = batch.labelIds.length;
      return {
        teacher: { shape: [targets, states.length / targets], data: states },
        weights: column(Float32Array.from(batch.labelSequences, (k) => 1 / (lengths[k] ?? 1))),
      };
    },
    count: ({ sequences }) => sequences,
    // how unlikely the student finds the answers, which a teacher may well do, too
    metrics: (_, logprobs) => ({
      nll_loss: { sum: -logprobs.reduce((total, x) => total + x, 0), count: logprobs.length },
    }),
  }),
});
