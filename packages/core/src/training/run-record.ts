// What a run's folder says of the run: everything that decides its result, and what it measured.
import { z } from "zod";
import { RUN_FILES } from "#adapters";
import { parseWith } from "#common";
import { pathExists, readJson, readJsonLines } from "#files";
import { COMPUTE_DTYPES } from "#models";
import { join } from "#platform";
import { replayedSchema } from "./augment/replay.ts";
import { runEnding } from "./ending.ts";

/** What a run has besides its examples. */
const augmentedSchema = z.object({
  /** Passes over the data, each of which has questions in other wordings. */
  copies: z.int().min(1),
  /** Other wordings of a question. */
  wordings: z.int().min(0),
  /** Answers of the base in all passes, which are repeated where there are fewer. */
  replayed: z.int().min(0),
  answers: z.array(replayedSchema),
  /** The settings that were given. */
  asked: z.object({ keep: z.number().optional(), reword: z.number().optional() }),
});
export type AugmentedRecord = z.output<typeof augmentedSchema>;

const recordSchema = z.looseObject({
  computeDtype: z.enum(COMPUTE_DTYPES),
  /** Of a run that samples answers: whether its sampler has a copy of the weights. */
  prepacksSampler: z.boolean().optional(),
  settings: z.looseObject({
    steps: z.int(),
    warmup: z.number(),
    epochs: z.number(),
    batchSize: z.int(),
    maxLength: z.int(),
    learningRate: z.number(),
    evaluateEvery: z.int(),
    earlyStoppingPatience: z.int(),
    /** Runs that were recorded without it had none. */
    targetLoss: z.number().default(0),
  }),
  augmented: augmentedSchema.optional(),
});
/** Everything that decides a run's result. A resumed run must have the same. */
export type RunRecord = z.output<typeof recordSchema>;

/** The record of a run. Throws `bad_data`, `not_found`. */
export const readRecord = (run: string): Promise<RunRecord> =>
  readJson(join(run, RUN_FILES.record), recordSchema, { code: "bad_data" });

const measured = {
  step: z.int().min(0),
  loss: z.number(),
  accuracy: z.number(),
  seconds: z.number().min(0),
  /** An objective's own, by the names that it gives them. */
  metrics: z.record(z.string(), z.number()).optional(),
};
const measurementSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("step"),
    ...measured,
    learningRate: z.number(),
    gradientNorm: z.number(),
    tokens: z.number().min(0),
    ending: runEnding.optional(),
  }),
  z.object({ type: z.literal("evaluation"), ...measured }),
]);

/** A step or an evaluation, as the metrics of a run have it. */
export type Measurement = z.output<typeof measurementSchema>;

/** A value as a measurement; undefined for anything else. */
export const toMeasurement = (value: unknown): Measurement | undefined =>
  measurementSchema.safeParse(value).data;

/**
 * Reads the measurements of a run from a position in their file on, each with the position behind it. There are none without
 * the file, and a last line that is torn, as a killed process leaves it, is left out.
 *
 * @throws MosError `bad_data` for a line that is no measurement
 */
export async function* readMeasurements(
  run: string,
  from = 0,
): AsyncGenerator<{ readonly measurement: Measurement; readonly end: number }, void> {
  const path = join(run, RUN_FILES.metrics);
  if (!(await pathExists(path))) return;
  for await (const { line, value, end } of readJsonLines(path, { wholeLines: true, from })) {
    parseWith(measurementSchema, value, { code: "bad_data", where: `${path}:${line}` });
    // with all that the line has: a resumed run writes it again
    yield { measurement: value as Measurement, end };
  }
}
