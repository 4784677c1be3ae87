// One task for all subjects: opens their logs, asks what is missing, and scores predictions as they come.

import { setMaxListeners } from "node:events";
import { MosError } from "mixture-of-shards";
import { AsyncQueue } from "mixture-of-shards-core/common";
import type { ProgramChecker } from "mixture-of-shards-core/graders";
import {
  type Benchmark,
  type Question,
  type QuestionSet,
  type ScoredQuestion,
  scorePrediction,
  type Verdict,
} from "./benchmark.ts";
import type { BenchmarkName } from "./benchmarks/index.ts";
import { predict } from "./predict.ts";
import {
  checkSampleLog,
  type Identity,
  openSampleLog,
  type Sample,
  type SampleLog,
  type SampleLogOptions,
} from "./sample-log.ts";
import { pairedDifferences } from "./scoring.ts";
import type { EvaluateEvent, EvaluateOptions, Subject, TaskRecord, TaskScore } from "./types.ts";

/** A benchmark whose questions are made. */
export interface Task {
  readonly benchmark: Benchmark<BenchmarkName>;
  readonly set: QuestionSet;
  readonly record: TaskRecord;
  /** Digest of each subject's adapter, by the subject's name; null is the base. */
  readonly digests: ReadonlyMap<string, string | null>;
}

/** A subject while a task runs: what is known of it, what it is still asked, and what this run took. */
interface SubjectRun {
  readonly subject: Subject;
  readonly log: SampleLog;
  readonly samples: Map<string, Sample>;
  readonly pending: readonly Question[];
  startedAt: number | undefined;
  asked: number;
  answerTokens: number;
}

/** The folder of logs that belongs to a result. */
export const sampleLogFolder = (out: string): string => `${out.replace(/\.json$/, "")}.answers`;

/** Makes sure that what earlier runs have logged fits this run. One question of the task is enough. */
export async function checkLogs(task: Task, options: EvaluateOptions): Promise<void> {
  for (const subject of options.subjects) await checkSampleLog(sampleLogOptions(subject, task, options));
}

/** Asks every subject what its log lacks. Throws `cancelled`, and what engine, scoring and logs throw. */
export async function* runTask(task: Task, options: EvaluateOptions): AsyncGenerator<EvaluateEvent, void> {
  const { benchmark, set, record } = task;
  const score = (run: SubjectRun) =>
    ({ type: "score", score: scoreSubject(run, task, options.now) }) satisfies EvaluateEvent;
  const runs: SubjectRun[] = [];
  let checker: ProgramChecker | undefined;
  try {
    for (const subject of options.subjects) runs.push(await openRun(subject, task, options));
    const pending = runs.flatMap((run) => run.pending.map((question) => ({ run, question })));
    const total = set.questions.length * runs.length;
    const known = total - pending.length;
    yield { type: "task", task: record, done: known, total };
    for (const run of runs) if (isSettled(run, task)) yield score(run);
    if ("program" in benchmark && !runs.every((run) => isSettled(run, task)))
      checker = await options.openChecker();
    for await (const { run, event } of askAll(pending, { task, known, checker, options })) {
      yield event;
      if (isSettled(run, task)) yield score(run);
    }
    for (const run of runs.filter(hasProvisional)) {
      await scoreAgain(run, { task, checker, options });
      yield score(run);
    }
    yield* compareSubjects(runs, task);
  } finally {
    await checker?.[Symbol.asyncDispose]();
    for (const { log } of runs) await log[Symbol.asyncDispose]();
  }
}

async function openRun(subject: Subject, task: Task, options: EvaluateOptions): Promise<SubjectRun> {
  const log = await openSampleLog(sampleLogOptions(subject, task, options));
  const { questions } = task.set;
  const asked = new Set(questions.map(({ id }) => id));
  const samples = new Map([...log.known].filter(([id]) => asked.has(id)));
  const pending = inOrder(questions.filter(({ id }) => !samples.has(id)));
  return { subject, log, samples, pending, startedAt: undefined, asked: 0, answerTokens: 0 };
}

const sampleLogOptions = (subject: Subject, task: Task, options: EvaluateOptions): SampleLogOptions => ({
  folder: sampleLogFolder(options.out),
  subject: subject.name,
  task: task.record.task,
  identity: predictionIdentity(subject, task, options),
});

/** Everything that a prediction depends on. */
function predictionIdentity(
  { name }: Subject,
  { record, set, digests }: Task,
  options: EvaluateOptions,
): Identity {
  const { rules, chatTemplateKwargs, seed, model, version, engine } = options;
  const { shots, direct = false, dataDigest: data, questions } = set;
  const output = questions[0]?.output;
  // the settings that apply to this task
  const { samples, temperature } = output?.kind === "text" ? output : { samples: 1, temperature: 0 };
  return {
    task: record.task,
    rules,
    format: record.format,
    shots,
    direct,
    seed,
    samples,
    temperature,
    data,
    model: model.fingerprint,
    baseDtype: model.baseDtype,
    computeDtype: model.computeDtype,
    maxLength: engine.model.maxLength,
    adapter: digests.get(name) ?? null,
    version,
    ...(chatTemplateKwargs === undefined ? {} : { chatTemplateKwargs: JSON.stringify(chatTemplateKwargs) }),
  };
}

/** Questions of a group one after another, since their prompts begin alike; in it, short ones first. */
const inOrder = (questions: readonly Question[]): readonly Question[] =>
  questions.toSorted((a, b) =>
    a.group === b.group ? a.tokens.length - b.tokens.length : a.group < b.group ? -1 : 1,
  );

interface Asking {
  readonly task: Task;
  /** Samples from earlier runs, which count as done. */
  readonly known: number;
  readonly checker: ProgramChecker | undefined;
  readonly options: EvaluateOptions;
}

/** The first samples take longest: the time left is not estimated from fewer. */
const UNTIMED = 5;

/** Asks what is pending, logs every sample, and says how it goes. */
async function* askAll(
  pending: readonly { readonly run: SubjectRun; readonly question: Question }[],
  asking: Asking,
) {
  const { task, known, options } = asking;
  const { now, signal, concurrency } = options;
  const startedAt = now();
  const secondsLeft = (done: number): number | undefined =>
    done < UNTIMED ? undefined : ((now() - startedAt) / 1000 / done) * (pending.length - done);
  let done = 0;
  const ask = async ({ run, question }: (typeof pending)[number], stopping: AbortSignal) => {
    run.startedAt ??= now();
    return { run, sample: await takeSample(question, { ...asking, subject: run.subject, signal: stopping }) };
  };
  for await (const { run, sample } of concurrently(pending, { concurrency, signal }, ask)) {
    await run.log.write(sample);
    run.samples.set(sample.id, sample);
    run.asked++;
    run.answerTokens += Number(sample["answerTokens"] ?? 0);
    done++;
    const total = known + pending.length;
    const progress = { task: task.record.task, subject: run.subject.name, done: known + done, total };
    yield {
      run,
      event: { type: "progress", ...progress, score: meanSoFar(run), secondsLeft: secondsLeft(done) },
    } as const;
  }
}

/** Asks one question and scores what comes back. */
async function takeSample(
  question: Question,
  asking: Asking & { readonly subject: Subject; readonly signal: AbortSignal },
): Promise<Sample> {
  const { subject, task, signal, options } = asking;
  const { engine, seed, now } = options;
  const startedAt = now();
  const { predictions, tokens, ...predicted } = await predict(question, {
    engine,
    adapter: subject.adapter,
    seed,
    signal,
    digest: task.digests.get(subject.name) ?? null,
  });
  const { id, group, prompt, references } = question;
  const verdicts = await verdictsOn(predictions, references, asking);
  return {
    type: "sample",
    id,
    group,
    prompt,
    answers: [...predictions],
    ...predicted,
    answerTokens: tokens,
    verdicts,
    // a busy machine may have been too slow for a program
    ...(verdicts.some(({ reason }) => reason === "timed out") ? { provisional: true } : {}),
    references,
    promptTokens: question.tokens.length,
    seconds: (now() - startedAt) / 1000,
  };
}

async function verdictsOn(
  predictions: readonly string[],
  references: readonly string[],
  { task, checker, signal, options }: Omit<Asking, "known"> & { readonly signal?: AbortSignal | undefined },
): Promise<Sample["verdicts"]> {
  const verdicts: Verdict[] = [];
  // one after another: several questions are scored at a time already
  for (const prediction of predictions)
    verdicts.push(
      await scorePrediction(
        task.benchmark,
        { prediction, references },
        { rules: options.rules, checker, signal },
      ),
    );
  return verdicts.map(({ scores, ...verdict }) => ({ ...verdict, scores: { ...scores } }));
}

/** Runs those programs again, now that nothing else runs, that a busy machine may have failed. */
async function scoreAgain(
  { samples, log }: SubjectRun,
  { task, checker, options }: Omit<Asking, "known">,
): Promise<void> {
  for (const { id, references } of task.set.questions) {
    const sample = samples.get(id);
    if (sample?.provisional !== true) continue;
    const { provisional: _, ...rest } = sample;
    const { signal } = options;
    const verdicts = await verdictsOn(sample.answers, references, { task, checker, signal, options });
    const again: Sample = { ...rest, verdicts };
    await log.write(again);
    samples.set(id, again);
  }
}

const hasProvisional = ({ samples }: SubjectRun): boolean =>
  [...samples.values()].some(({ provisional }) => provisional === true);

/** True if a subject's score is final. */
const isSettled = (run: SubjectRun, { set }: Task): boolean =>
  run.samples.size === set.questions.length && !hasProvisional(run);

/** The questions that a subject has answered so far. */
const scoredQuestions = ({ samples }: SubjectRun, { set }: Task): readonly ScoredQuestion[] =>
  set.questions.flatMap(({ id }): ScoredQuestion[] => {
    const sample = samples.get(id);
    return sample === undefined ? [] : [{ id, group: sample.group, verdicts: sample.verdicts }];
  });

/** Every adapter against the base, if that is a subject. */
function* compareSubjects(
  runs: readonly SubjectRun[],
  task: Task,
): Generator<Extract<EvaluateEvent, { readonly type: "difference" }>> {
  const base = runs.find(({ subject }) => subject.adapter === null);
  if (base === undefined) return;
  const { task: name, metric } = task.record;
  for (const run of runs) {
    if (run.subject.adapter === null) continue;
    const paired = pairedDifferences(scoredQuestions(run, task), scoredQuestions(base, task));
    const { scores, errors, questions } = task.benchmark.summarise(paired).overall;
    const { [metric]: difference = 0 } = scores;
    const { [metric]: error = null } = errors;
    const named = { task: name, subject: run.subject.name, against: base.subject.name, metric };
    yield { type: "difference", difference: { ...named, difference, error, questions } };
  }
}

/** A subject's scores so far. */
function scoreSubject(run: SubjectRun, task: Task, now: () => number): TaskScore {
  const { subject, startedAt, asked, answerTokens, samples } = run;
  const { overall, groups } = task.benchmark.summarise(scoredQuestions(run, task));
  return {
    task: task.record.task,
    subject: subject.name,
    ...overall,
    tooLong: [...samples.values()].filter(({ tooLong }) => tooLong === true).length,
    groups: Object.fromEntries(groups),
    seconds: startedAt === undefined ? 0 : (now() - startedAt) / 1000,
    asked,
    answerTokens,
  };
}

/** The mean of what tables show, or of what it is made of: cheap enough for every sample. */
function meanSoFar({ samples }: SubjectRun): number {
  let [sum, count] = [0, 0];
  for (const { verdicts } of samples.values())
    for (const { scores } of verdicts) {
      sum += Object.values(scores)[0] ?? 0;
      count++;
    }
  return sum / Math.max(1, count);
}

/**
 * Works on several items at a time and gives results as they come. Where one fails, or the consumer leaves, no further
 * item is begun; those that run are stopped by the signal that they were given, and awaited before it ends.
 *
 * @throws MosError `cancelled` by the signal, and what the work throws.
 * @example
 * for await (const sample of concurrently(questions, { concurrency: 16 }, predict)) await log.write(sample);
 */
export async function* concurrently<T, R>(
  items: readonly T[],
  { concurrency, signal }: { readonly concurrency: number; readonly signal?: AbortSignal | undefined },
  work: (item: T, signal: AbortSignal) => Promise<R>,
): AsyncGenerator<R, void> {
  const leaving = new AbortController();
  const stopping = AbortSignal.any([leaving.signal, ...(signal === undefined ? [] : [signal])]);
  // every item listens to it
  setMaxListeners(0, stopping);
  const results = new AsyncQueue<R>();
  const waiting = items.values();
  const worker = async (): Promise<void> => {
    for (const item of waiting) {
      stopping.throwIfAborted();
      results.push(await work(item, stopping));
    }
  };
  const fail = (error: unknown): void => {
    const isStopped = signal?.aborted === true;
    results.close(isStopped ? new MosError("cancelled", "the evaluation was interrupted") : error);
    leaving.abort();
  };
  const workers = Array.from({ length: concurrency }, () => worker().catch(fail));
  const all = Promise.all(workers).then(() => results.close());
  try {
    yield* results;
  } finally {
    leaving.abort();
    await all;
  }
}
