// A subject while a task is asked: what it has answered, what it is still asked, and what it has scored.
import type { Marked, Question, Questions, Task } from "../types.ts";
import type { TaskRecord, TaskScore } from "./result.ts";
import {
  checkSampleLog,
  type Identity,
  openSampleLog,
  type Sample,
  type SampleLog,
  type SampleLogOptions,
} from "./sample-log.ts";
import type { EvaluateOptions, Subject } from "./settings.ts";

/** A task whose questions are made. */
export interface AskedTask {
  readonly task: Task;
  readonly asked: Questions;
  readonly record: TaskRecord;
  /** What made each subject, by its name; null is the base. */
  readonly digests: ReadonlyMap<string, string | null>;
}

/** A subject while a task is asked. */
export interface Asking {
  readonly subject: Subject;
  readonly log: SampleLog;
  readonly samples: Map<string, Sample>;
  readonly pending: readonly Question[];
  startedAt: number | undefined;
  asked: number;
  answerTokens: number;
}

/** Questions of a group one after another, since their prompts begin alike; in it, short ones first. */
const inOrder = (questions: readonly Question[]): readonly Question[] =>
  questions.toSorted((a, b) =>
    a.group === b.group ? a.tokens.length - b.tokens.length : a.group < b.group ? -1 : 1,
  );

/** The folder of logs that belongs to a result. */
export const logFolderOf = (out: string): string => `${out.replace(/\.json$/, "")}.answers`;

/** Everything that an answer depends on. */
function identityOf(
  { name }: Subject,
  { record, asked, digests }: AskedTask,
  options: EvaluateOptions,
): Identity {
  const { rules, format, seed, model, version, engine } = options;
  const { shots, direct = false, dataDigest: data, questions } = asked;
  const ask = questions[0]?.ask;
  // as they are for this task, whatever was said for others
  const { samples, temperature } = ask?.kind === "text" ? ask : { samples: 1, temperature: 0 };
  return {
    ...{ task: record.task, rules, format, shots, direct, seed, samples, temperature, data },
    ...{ model: model.fingerprint, quantize: model.quantize, maxLength: engine.model.maxLength },
    ...{ adapter: digests.get(name) ?? null, version },
  };
}

const logOptionsOf = (subject: Subject, work: AskedTask, options: EvaluateOptions): SampleLogOptions => ({
  folder: logFolderOf(options.out),
  subject: subject.name,
  task: work.record.task,
  identity: identityOf(subject, work, options),
});

/** Makes sure that the answers which earlier runs have left are of such a run. One question of the task is enough. */
export async function checkLogs(work: AskedTask, options: EvaluateOptions): Promise<void> {
  for (const subject of options.subjects) await checkSampleLog(logOptionsOf(subject, work, options));
}

export async function openAsking(
  subject: Subject,
  work: AskedTask,
  options: EvaluateOptions,
): Promise<Asking> {
  const log = await openSampleLog(logOptionsOf(subject, work, options));
  const { questions } = work.asked;
  const samples = new Map<string, Sample>();
  for (const { id } of questions) {
    const sample = log.known.get(id);
    if (sample !== undefined) samples.set(id, sample);
  }
  const pending = inOrder(questions.filter(({ id }) => !samples.has(id)));
  return { subject, log, samples, pending, startedAt: undefined, asked: 0, answerTokens: 0 };
}

const marksOf = ({ samples }: Asking, { asked }: AskedTask): readonly Marked[] =>
  asked.questions.flatMap(({ id }) => {
    const sample = samples.get(id);
    return sample === undefined ? [] : [{ id, group: sample.group, verdicts: sample.verdicts }];
  });

/** What a subject has scored so far. */
export function scoreOf(asking: Asking, work: AskedTask, now: () => number): TaskScore {
  const { overall, groups } = work.task.summarise(marksOf(asking, work));
  const { subject, startedAt, asked, answerTokens, samples } = asking;
  return {
    ...{ task: work.record.task, subject: subject.name, ...overall },
    tooLong: [...samples.values()].filter(({ tooLong }) => tooLong === true).length,
    groups: Object.fromEntries(groups),
    seconds: startedAt === undefined ? 0 : (now() - startedAt) / 1000,
    ...{ asked, answerTokens },
  };
}

/** The mean of what tables show, or of what it is made of: cheap enough for every answer. */
export function meanSoFar({ samples }: Asking): number {
  let [sum, count] = [0, 0];
  for (const { verdicts } of samples.values())
    for (const { scores } of verdicts) {
      sum += Object.values(scores)[0] ?? 0;
      count++;
    }
  return sum / Math.max(1, count);
}
