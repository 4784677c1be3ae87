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

const numbers = Array.from({ length: 24 }, (_, i) => i);

/** The same on pairs of answers. */
const pairs = {
  ...killable,
  data: numbers.map((i) => ({
    prompt: `Question ${i}?`,
    chosen: `Yes, ${i}.`,
    rejected: `No, not ${i} at all.`,
  })),
  settings: { ...killable.settings, objective: "dpo", promptFormat: "plain" },
} satisfies Partial<FinetuneOptions>;

/** The same on answers of its own. */
const prompts = {
  ...killable,
  data: numbers.map((i) => ({
    messages: [{ role: "user" as const, content: `Question ${i}?` }],
    answer: "Yes!",
  })),
  settings: {
    ...killable.settings,
    objective: "grpo",
    steps: 12,
    maxCompletionLength: 8,
    groupSize: 3,
    grader: {
      type: "text_similarity",
      evaluation_metric: "fuzzy_match",
      input: "{{sample.output_text}}",
      reference: "{{item.answer}}",
    },
  },
} satisfies Partial<FinetuneOptions>;

/** Runs with data of their own, by its kind. */
export const killableBy: Readonly<Record<string, Partial<FinetuneOptions> & Pick<FinetuneOptions, "data">>> =
  {
    pairs,
    prompts,
  };
