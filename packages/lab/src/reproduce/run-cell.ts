// Runs one cell: fine-tunes the adapter with the `finetune` recipe, measures it, and writes the result. cell-process.ts
// calls it in a process of its own.
import { mkdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import {
  budget,
  type Engine,
  finetune,
  finetuneSettings,
  loadModel,
  loadText,
  openEngine,
  toLayerShapes,
} from "mixture-of-shards";
import { RUN_FILES } from "mixture-of-shards-core/adapters";
import { omitUndefined, parseSettings } from "mixture-of-shards-core/common";
import { makeFolder, pathExists, writeFileAtomic } from "mixture-of-shards-core/files";
import { createProgramChecker, type EvaluateEvent, evaluate } from "#evaluation";
import { BENCHMARK_SEED, type BenchmarkSpec } from "./benchmarks.ts";
import {
  BENCHMARKS,
  type BenchmarkScore,
  hasAdapter,
  isResult,
  ownRecord,
  pickName,
  RESULT,
  RUN,
  readResult,
  runPath,
  sessionOptions,
  type TrialEvent,
  type TrialResult,
  type TrialSpec,
  unscored,
  writeRecord,
} from "./cell.ts";
import { countCorrect, measure, type Question, type RunningTrial, trainedPart } from "./measure-cell.ts";
import { trainingSettings } from "./settings.ts";

export interface RunTrialOptions extends Pick<RunningTrial, "signal" | "now" | "peakMemory"> {
  /** Milliseconds since 1970. */
  readonly date: () => number;
}

/**
 * Checks the files of earlier attempts, and removes those that cannot be used.
 *
 * @returns the cell's result, where nothing but scores of benchmarks is missing; whether training can resume, and whether
 * the adapter was to be kept.
 */
async function prepareFolder(spec: TrialSpec) {
  const run = runPath(spec);
  await mkdir(spec.folder, { recursive: true });
  const record = spec.fresh ? undefined : await ownRecord(spec);
  const wasKept = record?.keepAdapter === true;
  const stored = record === undefined ? undefined : await readResult(spec.folder, spec.identity);
  if (isResult(stored) && (await hasAdapter(spec))) return { result: stored, resume: false, wasKept };
  await rm(join(spec.folder, RESULT), { force: true });
  // answers of an adapter that is trained again
  await rm(join(spec.folder, BENCHMARKS), { recursive: true, force: true });
  if (record === undefined) {
    await rm(run, { recursive: true, force: true });
    await writeRecord(spec);
  }
  const resume = record !== undefined && (await pathExists(join(run, RUN_FILES.record)));
  return { result: undefined, resume, wasKept };
}

/**
 * Runs a cell to its result, or to a checkpoint when the signal is aborted; then asks its adapter the benchmarks. Throws
 * what `finetune`, `openEngine` and `evaluate` throw.
 */
export async function* runTrial(spec: TrialSpec, options: RunTrialOptions): AsyncGenerator<TrialEvent, void> {
  const { result, resume, wasKept } = await prepareFolder(spec);
  const measured =
    result === undefined ? yield* trainAndMeasure(spec, options, resume) : { result, questions: [] };
  if (measured === "stopped") return;
  yield* askAdapter(spec, measured, options);
  const isKept = spec.keepAdapter || wasKept;
  await rm(isKept ? join(runPath(spec), RUN_FILES.checkpoints) : runPath(spec), {
    recursive: true,
    force: true,
  });
  yield { type: "finished" };
}

/** A result without what is asked, and questions to be answered before it is written. */
interface Measured {
  readonly result: TrialResult;
  readonly questions: readonly Question[];
}

/** Everything that needs the model in this process; the model can be freed when this returns. */
async function* trainAndMeasure(
  spec: TrialSpec,
  options: RunTrialOptions,
  resume: boolean,
): AsyncGenerator<TrialEvent, Measured | "stopped"> {
  const { signal, now } = options;
  yield { type: "phase", phase: "loading" };
  const loading = now();
  const base = await loadModel(spec.model, { signal, ...spec.base });
  const load = (now() - loading) / 1000;
  const settings = parseSettings({ ...finetuneSettings, ...trainingSettings }, spec.settings);
  const running = { ...options, spec, base, settings };
  const isTrained = spec.adapter === null || spec.isTrained === true;
  const resumedAt = isTrained ? undefined : yield* trainTrial(running, resume);
  if (resumedAt === "stopped") return "stopped";
  const trained = await trainedPart(spec, resumedAt);
  yield { type: "phase", phase: "evaluating" };
  const measured = await measure(running);
  const result: TrialResult = {
    format: 1,
    identity: spec.identity,
    ...pickName(spec),
    trainable: spec.adapter === null ? 0 : budget(spec.adapter, toLayerShapes(base.model.config)).trainable,
    losses: [...trained.losses],
    ...measured.result,
    tokens: trained.tokens,
    seconds: { total: now() / 1000, load, ...trained.seconds, evaluation: measured.seconds, answers: 0 },
    jobs: spec.jobs,
    ...omitUndefined({ threads: spec.threads }),
    ...(typeof resumedAt === "number" && resumedAt > 0 ? { resumedAt } : {}),
  };
  return { result, questions: measured.questions };
}

/** Counts the answers, writes the result, and adds the scores of benchmarks to it. */
async function* askAdapter(
  spec: TrialSpec,
  { result, questions }: Measured,
  { signal, now, date }: RunTrialOptions,
): AsyncGenerator<TrialEvent, void> {
  const isScored = unscored(spec, result).length === 0;
  if (questions.length === 0 && isScored) return writeResult(spec, result);
  const started = now();
  yield { type: "phase", phase: questions.length > 0 ? "answering" : "scoring" };
  await using engine = await openTrialEngine(spec, signal);
  let answered = result;
  if (questions.length > 0) {
    const { answerTokens: maxTokens } = spec.evaluation;
    const answers = await countCorrect(questions, { engine, adapter: adapterName(spec), maxTokens, signal });
    const seconds = { ...result.seconds, total: now() / 1000, answers: (now() - started) / 1000 };
    answered = { ...result, answers, seconds };
  }
  await writeResult(spec, answered);
  if (isScored) return;
  yield { type: "phase", phase: "scoring" };
  yield* scoreTrial(spec, answered, { engine, signal, date });
}

/** Trains in the cell's folder; returns the update from which it resumed, or that it was stopped. */
async function* trainTrial(
  { spec, base, signal, now }: RunningTrial,
  resume: boolean,
): AsyncGenerator<TrialEvent, number | "stopped"> {
  if (spec.adapter === null) return 0;
  yield { type: "phase", phase: "training" };
  const events = finetune({
    model: base,
    data: spec.train,
    out: runPath(spec),
    adapter: spec.adapter,
    // methods are compared by the examples alone
    settings: { ...spec.settings, keep: 0, reword: 0 },
    resume,
    overwrite: !resume,
    keepVersions: 0,
    session: sessionOptions(spec),
    signal,
    now,
  });
  let steps = 0;
  let from = 0;
  for await (const event of events) {
    if (event.type === "ready") [steps, from] = [event.steps, event.step];
    if (event.type === "step") yield { type: "progress", step: event.step, steps, loss: event.loss };
    if (event.type === "stopped") {
      yield { type: "stopped" };
      return "stopped";
    }
  }
  return from;
}

// --- benchmarks

/** Prompts side by side. */
const ROWS = 32;

/** The engine with a cell's adapter, or with the base alone. Throws what `openEngine` throws. */
const openTrialEngine = (
  { model, base, folder, adapter, threads }: TrialSpec,
  signal: AbortSignal,
): Promise<Engine> =>
  openEngine({
    model,
    ...base,
    maxBatch: ROWS,
    maxWaiting: Number.MAX_SAFE_INTEGER,
    signal,
    maxAdapterRank: Number.MAX_SAFE_INTEGER, // VeRA's at an equal budget is hundreds
    adapterDtype: "float32", // results are compared with those of other programs
    defaults: { generationConfig: "none" },
    ...omitUndefined({ adapters: adapter === null ? undefined : folder, threads }),
  });

/** Name of the cell's adapter in the engine. */
const adapterName = ({ adapter }: TrialSpec): string | null => (adapter === null ? null : RUN);

const writeResult = ({ folder }: TrialSpec, result: TrialResult): Promise<void> =>
  writeFileAtomic(join(folder, RESULT), `${JSON.stringify(result, null, 2)}\n`);

/** Runs the benchmarks that the result has no score of, and writes it after each. After a break it resumes from its logs. */
async function* scoreTrial(
  spec: TrialSpec,
  result: TrialResult,
  { engine, signal, date }: Pick<RunTrialOptions, "signal" | "date"> & { readonly engine: Engine },
): AsyncGenerator<TrialEvent, void> {
  const text = await loadText(spec.model);
  const logs = join(spec.folder, BENCHMARKS);
  await makeFolder(logs);
  const { fingerprint, baseDtype, computeDtype } = engine.model;
  // as records of evaluations call a model: its folder, or its file without the ending
  const name = basename(spec.model).replace(/\.gguf$/i, "");
  let benchmarks = result.benchmarks ?? [];
  for (const benchmark of unscored(spec, result)) {
    const { task, folder, identity, ...settings } = benchmark;
    const events = evaluate({
      ...settings,
      engine,
      text,
      seed: BENCHMARK_SEED,
      tasks: [task],
      model: { name, fingerprint, baseDtype, computeDtype },
      subjects: [{ name: spec.key, adapter: adapterName(spec) }],
      dataFolder: () => folder,
      // a log is of one way to ask; another limit adds to it or leaves it
      out: join(logs, `${task}-${identity.slice(-8)}.json`),
      openChecker: () => createProgramChecker({ signal }),
      // the engine is never without the next question
      concurrency: 2 * ROWS,
      version: spec.version,
      now: date,
      signal,
    });
    const score = yield* followEvaluation(benchmark, events);
    benchmarks = [...benchmarks.filter((one) => one.task !== task), score];
    await writeResult(spec, { ...result, benchmarks });
  }
}

async function* followEvaluation(
  { task, identity, rules, format }: BenchmarkSpec,
  events: AsyncIterable<EvaluateEvent>,
): AsyncGenerator<TrialEvent, BenchmarkScore> {
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
