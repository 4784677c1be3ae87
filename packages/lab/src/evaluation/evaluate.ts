// Tasks × subjects × questions through one engine, as events. Samples are logged as they come, and the result is written
// whenever a subject has all its samples of a task.
import { type Engine, MosError } from "mixture-of-shards";
import { omitUndefined } from "mixture-of-shards-core/common";
import { lockFolder, makeFolder } from "mixture-of-shards-core/files";
import type { QuestionSet } from "./benchmark.ts";
import { type BenchmarkName, findBenchmark } from "./benchmarks/index.ts";
import { assertResult, writeResult } from "./results.ts";
import { checkLogs, runTask, sampleLogFolder, type Task } from "./run-task.ts";
import type {
  EvaluateEvent,
  EvaluateOptions,
  EvaluationResult,
  SubjectRecord,
  TaskDifference,
  TaskOptions,
  TaskRecord,
  TaskScore,
} from "./types.ts";

/**
 * Asks every subject all questions of every task. After a break, the same call resumes with what is missing.
 *
 * @throws MosError `bad_option`, `not_found` or `bad_data` for data that cannot be used, `bad_adapter`, `cancelled`.
 * @example
 * for await (const event of evaluate(options)) if (event.type === "score") console.log(event.score);
 */
export async function* evaluate(options: EvaluateOptions): AsyncGenerator<EvaluateEvent, void> {
  const subjects = await recordSubjects(options);
  // before anything is written or asked: the last task may be hours away
  const previews = await checkTasks(options);
  await makeFolder(sampleLogFolder(options.out));
  await using _lock = await lockFolder(sampleLogFolder(options.out));
  const digests = new Map(subjects.map(({ name, digest }) => [name, digest]));
  const makeTask = (name: BenchmarkName, set: QuestionSet): Task => ({
    benchmark: findBenchmark(name),
    set,
    digests,
    record: recordTask(name, set, options),
  });
  for (const [name, set] of previews) await checkLogs(makeTask(name, set), options);
  const tasks: TaskRecord[] = [];
  const scores: TaskScore[] = [];
  const differences: TaskDifference[] = [];
  /** Tests whether an event changes the result. */
  const recordEvent = (event: EvaluateEvent): boolean =>
    (event.type === "score" && scores.push(event.score) > 0) ||
    (event.type === "difference" && differences.push(event.difference) > 0);
  const resultSoFar = () => makeResult({ subjects, tasks, scores, differences }, options);
  let result = resultSoFar();
  for (const { name: subject, trainedOn } of subjects)
    if (trainedOn !== undefined) yield { type: "trainedOn", subject, base: trainedOn };
  for (const name of options.tasks) {
    const set = await findBenchmark(name).questions(options.dataFolder(name), options);
    const task = makeTask(name, set);
    tasks.push(task.record);
    for await (const event of runTask(task, options)) {
      if (recordEvent(event)) {
        result = resultSoFar();
        await writeResult(result, options.out);
      }
      yield event;
    }
  }
  yield { type: "finish", result, out: options.out };
}

/**
 * Checks that the result can be written, and previews all tasks: what cannot be used is reported before a model is loaded, which may
 * take long.
 *
 * @throws MosError `bad_option`, `not_found` or `bad_data`.
 */
export async function checkTasks(options: TaskOptions): Promise<ReadonlyMap<BenchmarkName, QuestionSet>> {
  await assertResult(options.out);
  return previewTasks(options);
}

/**
 * Reads the data of all tasks and makes one question of each, in a second.
 *
 * @throws MosError `bad_option`, `not_found` or `bad_data`.
 */
export async function previewTasks(
  options: Omit<TaskOptions, "out">,
): Promise<ReadonlyMap<BenchmarkName, QuestionSet>> {
  const { limit, format, chatTemplateKwargs } = options;
  if (chatTemplateKwargs !== undefined && format !== "model")
    throw new MosError(
      "bad_option",
      `the chat format ${format} does not use the chat template, so its variables have no effect; choose the format model, or omit them`,
    );
  const isUsable = limit === undefined || (Number.isSafeInteger(limit) && limit > 0);
  const one = { ...options, limit: isUsable ? 1 : limit };
  const previews = new Map<BenchmarkName, QuestionSet>();
  for (const name of options.tasks)
    previews.set(name, await findBenchmark(name).questions(options.dataFolder(name), one));
  return previews;
}

/** Subjects with what identifies them. Throws `bad_option`, and why the engine does not list an adapter. */
async function recordSubjects({
  subjects,
  engine,
  tasks,
}: EvaluateOptions): Promise<readonly SubjectRecord[]> {
  if (subjects.length === 0 || tasks.length === 0)
    throw new MosError("bad_option", "an evaluation needs at least one model or adapter, and one task");
  if (new Set(tasks).size < tasks.length)
    throw new MosError("bad_option", `a task is named twice in ${tasks.join(", ")}`);
  if (new Set(subjects.map(({ name }) => name)).size < subjects.length)
    throw new MosError(
      "bad_option",
      `two of ${subjects.map(({ name }) => name).join(", ")} have the same name and would share a log; rename one`,
    );
  const records: SubjectRecord[] = [];
  for (const { name, adapter } of subjects) {
    const info = engine.adapters().find((one) => one.name === adapter);
    if (adapter !== null && info === undefined) throw await reasonMissing(engine, adapter);
    const { digest = null, method, rank, trainedOn } = info ?? {};
    records.push({ name, digest, ...omitUndefined({ method, rank, trainedOn }) });
  }
  return records;
}

/** The reason why the engine does not list an adapter, as a request for it reports. */
async function reasonMissing(engine: Engine, adapter: string): Promise<MosError> {
  try {
    for await (const _ of engine.submit({ prompt: [0], adapter, maxTokens: 0 })) break;
  } catch (error) {
    if (error instanceof MosError) return error;
    throw error;
  }
  return new MosError("not_found", `the engine has no adapter ${adapter}`);
}

const recordTask = (
  name: BenchmarkName,
  { questions, shots, dataDigest, notes, format }: QuestionSet,
  options: EvaluateOptions,
): TaskRecord => ({
  task: name,
  metric: findBenchmark(name).metric[options.rules],
  rules: options.rules,
  format: format ?? options.format,
  shots,
  questions: questions.length,
  dataDigest,
  notes,
});

function makeResult(
  {
    subjects,
    tasks,
    scores,
    differences,
  }: Pick<EvaluationResult, "subjects" | "tasks" | "scores" | "differences">,
  { version, command, environment, model, now, ...options }: EvaluateOptions,
): EvaluationResult {
  const { rules, format, seed, shots, limit, samples, temperature, direct, engine, chatTemplateKwargs } =
    options;
  return {
    version,
    date: new Date(now()).toISOString(),
    command,
    ...omitUndefined({ environment }),
    model,
    settings: {
      rules,
      format,
      seed,
      shots: shots ?? null,
      limit: limit ?? null,
      samples: samples ?? null,
      temperature: temperature ?? null,
      direct: direct === true,
      maxLength: engine.model.maxLength,
      chatTemplateKwargs: chatTemplateKwargs === undefined ? null : JSON.stringify(chatTemplateKwargs),
    },
    subjects,
    tasks: [...tasks],
    // in the order of tasks and subjects, whichever came first: two runs are to be compared
    scores: tasks.flatMap(({ task }) =>
      subjects.flatMap(({ name }) => scores.filter((one) => one.task === task && one.subject === name)),
    ),
    differences: [...differences],
  };
}
