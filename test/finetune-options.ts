// What the runs that are killed, and the one that is not, have in common.

import type { FinetuneOptions } from "#training";

/** Small steps and much writing: a kill is likely to come while files are written. */
export const killable = {
  adapter: { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2, dropout: 0.1 },
  settings: {
    steps: 40,
    batchSize: 1,
    gradientAccumulationSteps: 2,
    maxLength: 64,
    warmup: 2,
    learningRate: 2e-3,
    evaluateEvery: 3,
    saveEvery: 2,
    validationSplit: 4,
  },
  now: () => 0,
} satisfies Partial<FinetuneOptions>;

/** The same on pairs of answers. */
export const killablePairs = {
  ...killable,
  data: Array.from({ length: 24 }, (_, i) => ({
    prompt: `Question ${i}?`,
    chosen: `Yes, ${i}.`,
    rejected: `No, not ${i} at all.`,
  })),
  settings: { ...killable.settings, objective: "dpo", promptFormat: "plain" },
} satisfies Partial<FinetuneOptions>;
