// Tasks × subjects × questions through one engine, as events. Answers are logged as they come, and the result is written
// whenever a subject has all its answers to a task.
import { MosError } from "#core";
import { expectNoFolder, lockFolder, makeFolder, writeFileAtomic } from "#formats";
import type { Engine } from "#serving";
import { tasks } from "../tasks/index.ts";
import type { Questions, Task, TaskName } from "../types.ts";
import { askTask } from "./ask-task.ts";
import { logFolderOf } from "./asking.ts";
import type { EvaluationResult, SubjectRecord, TaskRecord, TaskScore } from "./result.ts";
import type { EvaluateOptions, TaskOptions } from "./settings.ts";

/** How an evaluation goes. */
export type EvaluateEvent =
  /** A task begins: so many answers are wanted of all subjects, and so many are known from earlier runs. */
  | { readonly type: "task"; readonly task: TaskRecord; readonly wanted: number; readonly known: number }
  /** After each answer, with the subject's mean so far. */
  | {
      readonly type: "progress";
      readonly task: TaskName;
      readonly subject: string;
      readonly done: number;
      readonly wanted: number;
      readonly score: number;
      readonly secondsLeft: number | undefined;
    }
  | { readonly type: "score"; readonly score: TaskScore }
  | { readonly type: "end"; readonly result: EvaluationResult; readonly out: string };

/**
 * Asks every subject all questions of every task. Broken off, the same call goes on with what is missing.
 *
 * @throws MosError `bad_option`, `not_found` or `bad_data` for data that cannot be used, `bad_adapter`, `cancelled`.
 * @example
 * for await (const event of evaluate(options)) if (event.type === "score") console.log(event.score);
 */
export async function* evaluate(options: EvaluateOptions): AsyncGenerator<EvaluateEvent, void> {
  const subjects = await subjectsOf(options);
  // before anything is written or asked: the last task's data may be hours away
  await checkTasks(options);
  await expectNoFolder(options.out);
  await makeFolder(logFolderOf(options.out));
  await using _lock = await lockFolder(logFolderOf(options.out));
  const digests = new Map(subjects.map(({ name, digest }) => [name, digest]));
  const records: TaskRecord[] = [];
  const scores: TaskScore[] = [];
  let result = resultOf({ subjects, records, scores }, options);
  for (const name of options.tasks) {
    const task = tasks[name];
    const asked = await task.questions(options.dataFolder(name), options);
    const record = recordOf(task, asked, options);
    records.push(record);
    for await (const event of askTask({ task, asked, record, digests }, options)) {
      if (event.type === "score") {
        scores.push(event.score);
        result = resultOf({ subjects, records, scores }, options);
        await writeResult(result, options.out);
      }
      yield event;
    }
  }
  yield { type: "end", result, out: options.out };
}

/**
 * Reads the data of all tasks and makes a question of each, in a second: what cannot be used is told before a model is
 * loaded, which may take long.
 *
 * @throws MosError `bad_option`, `not_found` or `bad_data`.
 */
export async function checkTasks(options: TaskOptions): Promise<void> {
  for (const name of options.tasks)
    await tasks[name].questions(options.dataFolder(name), { ...options, limit: 1 });
}

const writeResult = (result: EvaluationResult, out: string): Promise<void> =>
  writeFileAtomic(out, `${JSON.stringify(result, null, 2)}\n`);

/** Why the engine does not list an adapter: asked for it, it says so. */
async function missing(engine: Engine, adapter: string): Promise<MosError> {
  const request = { prompt: [0], maxTokens: 0, seed: 0, tenant: "evaluation" };
  try {
    for await (const _ of engine.submit({ ...request, adapter })) break;
  } catch (error) {
    if (error instanceof MosError) return error;
    throw error;
  }
  return new MosError("not_found", `the engine has no adapter ${adapter}`);
}

/** Subjects with what made them. Throws `bad_option`, and why the engine does not list an adapter. */
async function subjectsOf({
  subjects,
  engine,
  tasks: names,
}: EvaluateOptions): Promise<readonly SubjectRecord[]> {
  if (subjects.length === 0 || names.length === 0)
    throw new MosError("bad_option", "an evaluation needs a subject and a task at least");
  if (new Set(names).size < names.length)
    throw new MosError("bad_option", `a task is named twice in ${names.join(", ")}`);
  if (new Set(subjects.map(({ name }) => name)).size < subjects.length)
    throw new MosError(
      "bad_option",
      `two of ${subjects.map(({ name }) => name).join(", ")} have one name, and would share a log`,
    );
  const records: SubjectRecord[] = [];
  for (const { name, adapter } of subjects) {
    const info = engine.adapters().find((one) => one.name === adapter);
    if (adapter !== null && info === undefined) throw await missing(engine, adapter);
    records.push(
      info === undefined
        ? { name, digest: null }
        : { name, digest: info.digest, method: info.method, rank: info.rank },
    );
  }
  return records;
}

const recordOf = (
  task: Task,
  { questions, shots, dataDigest, notes }: Questions,
  { rules, format }: EvaluateOptions,
): TaskRecord => ({
  ...{ task: task.name, metric: task.metric[rules], rules, format, shots },
  ...{ questions: questions.length, dataDigest, notes },
});

function resultOf(
  {
    subjects,
    records,
    scores,
  }: {
    readonly subjects: readonly SubjectRecord[];
    readonly records: readonly TaskRecord[];
    readonly scores: readonly TaskScore[];
  },
  { version, command, environment, model, now, ...options }: EvaluateOptions,
): EvaluationResult {
  const { rules, format, seed, shots, limit, samples, temperature, direct, engine } = options;
  return {
    ...{ version, date: new Date(now()).toISOString(), command },
    ...(environment === undefined ? {} : { environment }),
    model,
    settings: {
      ...{ rules, format, seed, shots: shots ?? null, limit: limit ?? null, samples: samples ?? null },
      ...{ temperature: temperature ?? null, direct: direct === true, maxLength: engine.model.maxLength },
    },
    ...{ subjects, tasks: [...records] },
    // whoever came first: two runs are to be compared
    scores: records.flatMap(({ task }) =>
      subjects.flatMap(({ name }) => scores.filter((one) => one.task === task && one.subject === name)),
    ),
  };
}
