// The scores of a cell that need the inference engine, which has its own process and copy of the model.
import { basename, join } from "node:path";
import { type Engine, type LoadedText, loadText, openEngine } from "mixture-of-shards";
import { makeFolder, writeFileAtomic } from "mixture-of-shards/cli";
import { createProgramChecker, type EvaluateEvent, evaluate } from "#evaluation";
import { BENCHMARK_SEED, type BenchmarkSpec } from "./benchmarks.ts";
import {
  BENCHMARKS,
  type BenchmarkScore,
  RESULT,
  RUN,
  type TrialEvent,
  type TrialResult,
  type TrialSpec,
  unscored,
} from "./cell.ts";

/** Prompts side by side. */
const ROWS = 32;

/** The engine with a cell's adapter, or with the base alone. Throws what `openEngine` throws. */
export async function openTrialEngine(
  { model, base, folder, adapter, threads }: TrialSpec,
  signal: AbortSignal,
): Promise<Engine> {
  return openEngine({
    model,
    ...base,
    maxBatch: ROWS,
    maxWaiting: Number.MAX_SAFE_INTEGER,
    signal,
    maxAdapterRank: Number.MAX_SAFE_INTEGER, // VeRA's at an equal budget is hundreds
    defaults: { generationConfig: "none" },
    ...(adapter === null ? {} : { adapters: folder }),
    ...(threads === undefined ? {} : { threads }),
  });
}

/** Name of the cell's adapter in the engine. */
export const adapterName = ({ adapter }: TrialSpec): string | null => (adapter === null ? null : RUN);

export const writeResult = ({ folder }: TrialSpec, result: TrialResult): Promise<void> =>
  writeFileAtomic(join(folder, RESULT), `${JSON.stringify(result, null, 2)}\n`);

export interface ScoreOptions {
  readonly engine: Engine;
  readonly signal: AbortSignal;
  /** Milliseconds since 1970. */
  readonly date: () => number;
}

/** Runs the benchmarks that the result has no score of, and writes it after each. After a break it resumes from its logs. */
export async function* scoreTrial(
  spec: TrialSpec,
  result: TrialResult,
  options: ScoreOptions,
): AsyncGenerator<TrialEvent, void> {
  const text = await loadText(spec.model);
  await makeFolder(join(spec.folder, BENCHMARKS));
  let benchmarks = result.benchmarks ?? [];
  for (const benchmark of unscored(spec, result)) {
    const score = yield* ask(benchmark, { ...options, spec, text });
    benchmarks = [...benchmarks.filter(({ task }) => task !== score.task), score];
    await writeResult(spec, { ...result, benchmarks });
  }
}

/** As records of evaluations call a model: its folder, or its file without the ending. */
const modelName = (path: string): string => basename(path).replace(/\.gguf$/i, "");

/** A log is of one way to ask; another limit adds to it or leaves it. */
const sampleLogPath = ({ folder }: TrialSpec, { task, identity }: BenchmarkSpec): string =>
  join(folder, BENCHMARKS, `${task}-${identity.slice(-8)}.json`);

async function* ask(
  benchmark: BenchmarkSpec,
  {
    spec,
    text,
    engine,
    signal,
    date,
  }: ScoreOptions & { readonly spec: TrialSpec; readonly text: LoadedText },
): AsyncGenerator<TrialEvent, BenchmarkScore> {
  const { task, folder, rules, format, limit, samples, shots: wanted, identity } = benchmark;
  const adapter = adapterName(spec);
  const { fingerprint, baseDtype, computeDtype } = engine.model;
  const events: AsyncIterable<EvaluateEvent> = evaluate({
    engine,
    text,
    rules,
    format,
    limit,
    samples,
    shots: wanted,
    seed: BENCHMARK_SEED,
    tasks: [task],
    model: { name: modelName(spec.model), fingerprint, baseDtype, computeDtype },
    subjects: [{ name: spec.key, adapter }],
    dataFolder: () => folder,
    out: sampleLogPath(spec, benchmark),
    openChecker: () => createProgramChecker({ signal }),
    // the engine is never without the next question
    concurrency: 2 * ROWS,
    version: spec.version,
    now: date,
    signal,
  });
  for await (const event of events) {
    if (event.type === "progress") yield { type: "benchmark", task, done: event.done, total: event.total };
    if (event.type !== "finish") continue;
    const [record] = event.result.tasks;
    const [score] = event.result.scores;
    if (record === undefined || score === undefined) break;
    const { scores, groups, questions, tooLong, seconds } = score;
    const { metric, shots } = record;
    return { task, identity, metric, scores, groups, questions, tooLong, rules, format, shots, seconds };
  }
  throw new Error(`${task} ended without a score`);
}
