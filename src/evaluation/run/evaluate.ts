// Tasks × subjects × questions through one engine, as events. Answers are logged as they come, and the result is written
// whenever a subject has all its answers to a task.
import { lockFolder, makeFolder } from "#storage";
import { tasks } from "../tasks/index.ts";
import type { Questions, Task, TaskName } from "../types.ts";
import { askTask } from "./ask-task.ts";
import { type AskedTask, checkLogs, logFolderOf } from "./asking.ts";
import type { EvaluationResult, SubjectRecord, TaskRecord, TaskScore } from "./result.ts";
import { expectResult, writeResult } from "./result-file.ts";
import type { EvaluateOptions, TaskOptions } from "./settings.ts";
import { subjectsOf } from "./subjects.ts";

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
  // before anything is written or asked: the last task may be hours away
  const previews = await checkTasks(options);
  await makeFolder(logFolderOf(options.out));
  await using _lock = await lockFolder(logFolderOf(options.out));
  const digests = new Map(subjects.map(({ name, digest }) => [name, digest]));
  const workOf = (name: TaskName, asked: Questions): AskedTask => {
    const task = tasks[name];
    return { task, asked, record: recordOf(task, asked, options), digests };
  };
  for (const [name, asked] of previews) await checkLogs(workOf(name, asked), options);
  const records: TaskRecord[] = [];
  const scores: TaskScore[] = [];
  let result = resultOf({ subjects, records, scores }, options);
  for (const name of options.tasks) {
    const work = workOf(name, await tasks[name].questions(options.dataFolder(name), options));
    records.push(work.record);
    for await (const event of askTask(work, options)) {
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
 * Looks at the result's place, and previews all tasks: what cannot be used is told before a model is loaded, which may take
 * long.
 *
 * @throws MosError `bad_option`, `not_found` or `bad_data`.
 */
export async function checkTasks(options: TaskOptions): Promise<ReadonlyMap<TaskName, Questions>> {
  await expectResult(options.out);
  return previewTasks(options);
}

/**
 * Reads the data of all tasks and makes one question of each, in a second.
 *
 * @throws MosError `bad_option`, `not_found` or `bad_data`.
 */
export async function previewTasks(
  options: Omit<TaskOptions, "out">,
): Promise<ReadonlyMap<TaskName, Questions>> {
  const { limit } = options;
  const isUsable = limit === undefined || (Number.isSafeInteger(limit) && limit > 0);
  const previews = new Map<TaskName, Questions>();
  for (const name of options.tasks) {
    const asked = tasks[name].questions(options.dataFolder(name), {
      ...options,
      limit: isUsable ? 1 : limit,
    });
    previews.set(name, await asked);
  }
  return previews;
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
