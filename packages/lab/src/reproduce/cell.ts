// A cell is one row of a table at one learning rate with one seed. It is run in a process of its own, and its result is
// one file; everything that decides the result is in the cell's identity.
import { join } from "node:path";
import type { AdapterConfig, FinetuneSettingsInput, MosError } from "mixture-of-shards";
import { omitUndefined } from "mixture-of-shards-core/common";
import { pathExists, readJson, writeFileAtomic } from "mixture-of-shards-core/files";
import { z } from "zod";
import { BENCHMARK_NAMES, type BenchmarkName } from "#evaluation";
import type { BenchmarkSpec } from "./benchmarks.ts";
import type { BaseSettings } from "./settings.ts";

/** To choose a learning rate on a part of the training file, or to measure on the evaluation file. */
export type Purpose = "tune" | "measure";

/** Name of a cell within its experiment. */
export interface TrialName {
  /** Key of the row. */
  readonly key: string;
  readonly purpose: Purpose;
  readonly learningRate: number;
  readonly seed: number;
}

export const pickName = ({ key, purpose, learningRate, seed }: TrialName): TrialName => ({
  key,
  purpose,
  learningRate,
  seed,
});

/** Measurement of a trained adapter. */
export interface Evaluation {
  readonly file: string;
  /** Number of examples, from the first; all by default. */
  readonly examples?: number | undefined;
  /** Greedy answers to how many, from the first; 0 for none. */
  readonly answers: number;
  /** The most tokens that an answer may have. */
  readonly answerTokens: number;
}

/** All that a process needs to run a cell. */
export interface TrialSpec extends TrialName {
  readonly identity: string;
  readonly folder: string;
  readonly model: string;
  /** Settings of the base's format and computation. */
  readonly base: BaseSettings;
  readonly train: string;
  readonly evaluation: Evaluation;
  /** Asked after the result is written, each score being added to it. */
  readonly benchmarks: readonly BenchmarkSpec[];
  /** Version of the program. */
  readonly version: string;
  /** Null for the base model as it is. */
  readonly adapter: AdapterConfig | null;
  readonly settings: FinetuneSettingsInput;
  readonly threads: number | undefined;
  /** Cells that run at the same time: nothing but the times depends on it. */
  readonly jobs: number;
  readonly keepAdapter: boolean;
  /** Start again, ignoring what an earlier attempt has left. */
  readonly fresh: boolean;
  /** A service has trained the adapter, which is in its place. */
  readonly isTrained?: boolean;
}

/** Seconds of the parts of a cell. */
const seconds = z.object({
  /** From the start of the process to the result, loading and compiling included; of the last process if there were several. */
  total: z.number(),
  /** Loading the model. */
  load: z.number(),
  /** All updates, with the first of all and of the last process at the median: these compile the program. */
  training: z.number(),
  /** Median of the updates. */
  step: z.number(),
  evaluation: z.number(),
  answers: z.number(),
});

const benchmarkScore = z.object({
  task: z.enum(BENCHMARK_NAMES),
  /** As its BenchmarkSpec has it. */
  identity: z.string(),
  /** The one that tables show, of the scores below. */
  metric: z.string(),
  /** 0 to 1, but 0 to 100 for TyDi QA's. */
  scores: z.record(z.string(), z.number()),
  /** The same of its parts, such as languages. */
  groups: z
    .record(z.string(), z.object({ scores: z.record(z.string(), z.number()), questions: z.int() }))
    .optional(),
  questions: z.int(),
  /** Questions that left no room for an answer. */
  tooLong: z.int(),
  rules: z.string(),
  format: z.string(),
  shots: z.int(),
  /** Seconds of the last process that ran the benchmark. */
  seconds: z.number(),
});

/** Score of an adapter in a benchmark. */
export type BenchmarkScore = Readonly<z.output<typeof benchmarkScore>>;

export const resultSchema = z.object({
  format: z.literal(1),
  identity: z.string(),
  key: z.string(),
  purpose: z.enum(["tune", "measure"]),
  learningRate: z.number(),
  seed: z.int(),
  trainable: z.int(),
  /** Loss of each update, in nats. */
  losses: z.array(z.number()),
  /** Mean over the trained tokens of the validation examples, in nats. */
  validationLoss: z.number(),
  validationExamples: z.int(),
  answers: z.object({ correct: z.int(), total: z.int() }).optional(),
  benchmarks: z.array(benchmarkScore).optional(),
  /** Tokens of all updates, without padding. */
  tokens: z.int(),
  seconds,
  /** Peak memory of the process, with the validation loss and without the answers. */
  peakMemoryBytes: z.number(),
  jobs: z.int(),
  threads: z.int().optional(),
  /** The update after which the last process resumed. */
  resumedAt: z.int().optional(),
});
const failureSchema = z.object({
  format: z.literal(1),
  identity: z.string(),
  failure: z.object({ code: z.string(), message: z.string() }),
});
const storedSchema = z.union([resultSchema, failureSchema]);

/** The result of a cell. */
export type TrialResult = Readonly<z.output<typeof resultSchema>>;
/** A result, or a failure that would happen again, such as a loss that diverged. */
export type StoredResult = TrialResult | Readonly<z.output<typeof failureSchema>>;

/** Events of a process that runs a cell. */
export type TrialEvent =
  | {
      readonly type: "phase";
      readonly phase: "loading" | "training" | "evaluating" | "answering" | "scoring";
    }
  | { readonly type: "progress"; readonly step: number; readonly steps: number; readonly loss: number }
  | {
      readonly type: "benchmark";
      readonly task: BenchmarkName;
      readonly done: number;
      readonly total: number;
    }
  | { readonly type: "finished" }
  | { readonly type: "stopped" };

/** The folder of a cell in that of the experiment. */
export const trialFolder = (out: string, { key, purpose, learningRate, seed }: TrialName): string =>
  join(out, "cells", key, `${purpose === "tune" ? "tuning-" : ""}seed-${seed}-rate-${learningRate}`);

export const RESULT = "result.json";

/** Writes the failure of a cell that would fail again. */
export const writeFailure = ({ folder, identity }: TrialSpec, { code, message }: MosError): Promise<void> =>
  writeFileAtomic(
    join(folder, RESULT),
    `${JSON.stringify({ format: 1, identity, failure: { code, message } }, null, 2)}\n`,
  );

/** The cell that a folder's files belong to. */
const RECORD = "cell.json";
const recordSchema = z.looseObject({ identity: z.string(), keepAdapter: z.boolean() });

/** What a folder says of the cell; undefined where its files are of another one. */
export async function ownRecord({ folder, identity }: TrialSpec) {
  const path = join(folder, RECORD);
  if (!(await pathExists(path))) return undefined;
  const record = await readJson(path, recordSchema, { code: "bad_data" }).catch(() => undefined);
  return record?.identity === identity ? record : undefined;
}

export const writeRecord = (spec: TrialSpec): Promise<void> =>
  writeFileAtomic(join(spec.folder, RECORD), `${JSON.stringify(spec, null, 2)}\n`);

/** The stored result of a cell of this identity; undefined where there is none, or one of other settings. */
export async function readResult(folder: string, identity: string): Promise<StoredResult | undefined> {
  const path = join(folder, RESULT);
  if (!(await pathExists(path))) return undefined;
  const stored = await readJson(path, z.looseObject({ identity: z.unknown() }), { code: "bad_data" }).catch(
    () => undefined, // a broken file is not a result; the cell is run again
  );
  if (stored?.identity !== identity) return undefined;
  const parsed = storedSchema.safeParse(stored);
  return parsed.success ? parsed.data : undefined;
}

export const isResult = (stored: StoredResult | undefined): stored is TrialResult =>
  stored !== undefined && "validationLoss" in stored;

/** The benchmarks that a result has no score of. */
export const unscored = (
  { benchmarks }: Pick<TrialSpec, "benchmarks">,
  result: TrialResult,
): readonly BenchmarkSpec[] =>
  benchmarks.filter(({ identity }) => !result.benchmarks?.some((score) => score.identity === identity));

/** True if a cell needs no more work. */
export const isFinished = (spec: TrialSpec, stored: StoredResult | undefined): boolean =>
  stored !== undefined && (!isResult(stored) || unscored(spec, stored).length === 0);

/** A result with only the requested scores. */
export function withRequestedScores(
  { benchmarks }: TrialSpec,
  { benchmarks: all, ...result }: TrialResult,
): TrialResult {
  const requested = (all ?? []).filter(({ identity }) => benchmarks.some((one) => one.identity === identity));
  return requested.length === 0 ? result : { ...result, benchmarks: requested };
}

/** Where a cell trains, and keeps its adapter: the one sub-folder of its folder that an engine can serve. */
export const RUN = "run";
export const runPath = ({ folder }: Pick<TrialSpec, "folder">): string => join(folder, RUN);
/** Logs of the answers to benchmarks. */
export const BENCHMARKS = "benchmarks";

/** True if a cell's adapter exists, so that it can be evaluated without retraining. */
export const hasAdapter = (spec: TrialSpec): Promise<boolean> =>
  spec.adapter === null ? Promise.resolve(true) : pathExists(join(runPath(spec), "adapter_config.json"));

/** Where and with how many threads a cell computes. */
export const sessionOptions = ({ threads }: TrialSpec) => ({
  device: "cpu" as const,
  ...omitUndefined({ threads }),
});
