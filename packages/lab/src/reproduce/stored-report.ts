// Data of pictures: a part of the JSON that an experiment leaves, so that they can be drawn again without it.
import { join } from "node:path";
import { readJson } from "mixture-of-shards/cli";
import { z } from "zod";
import { BENCHMARK_NAMES } from "#evaluation";
import { COLUMN_KEYS } from "./columns.ts";
import { EXPERIMENTS, type ExperimentName } from "./tables.ts";

const summary = z.object({ mean: z.number(), deviation: z.number().optional() });

const storedRow = z.object({
  key: z.string(),
  label: z.string(),
  rank: z.string(),
  /** Null for the base model as it is; undefined where the row does not fit the model. */
  adapter: z.object({}).nullish(),
  trainable: z.int(),
  place: z.object({ privateRank: z.int(), shards: z.int() }).optional(),
  learningRate: z.number().optional(),
  expected: z.int(),
  validationLoss: summary.optional(),
  exactMatch: summary.optional(),
  scores: z.partialRecord(z.enum(COLUMN_KEYS), summary).optional(),
  cells: z.array(
    z.object({
      validationLoss: z.number(),
      validationExamples: z.int(),
      answers: z.object({ correct: z.int(), total: z.int() }).optional(),
    }),
  ),
});
export type StoredRow = Readonly<z.output<typeof storedRow>>;

export const storedReport = z.object({
  format: z.literal(1),
  experiment: z.enum(EXPERIMENTS),
  files: z.object({ model: z.string(), train: z.string(), evaluation: z.string() }),
  settings: z.object({
    seeds: z.int(),
    steps: z.int(),
    tuneSteps: z.int(),
    learningRates: z.array(z.number()),
    benchmarks: z.object({ tasks: z.array(z.enum(BENCHMARK_NAMES)), limit: z.int().optional() }).optional(),
  }),
  rows: z.array(storedRow),
});
export type StoredReport = Readonly<z.output<typeof storedReport>>;

/** @throws MosError `not_found`, or `bad_data` with the place of what is wrong. */
export const readReport = (folder: string, experiment: ExperimentName): Promise<StoredReport> =>
  readJson(join(folder, `${experiment}.json`), storedReport, { code: "bad_data" });
