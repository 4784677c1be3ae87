// One task for all subjects: opens their logs, asks what is missing, marks answers as they come.
import { MosError } from "#core";
import type { Marked, ProgramChecker, Question, Questions, Task } from "../types.ts";
import { answersTo } from "./ask.ts";
import type { EvaluateEvent } from "./evaluate.ts";
import type { TaskRecord, TaskScore } from "./result.ts";
import { type Identity, openSampleLog, type Sample, type SampleLog } from "./sample-log.ts";
import type { EvaluateOptions, Subject } from "./settings.ts";
import { sideBySide } from "./side-by-side.ts";

/** A task whose questions are made. */
export interface AskedTask {
  readonly task: Task;
  readonly asked: Questions;
  readonly record: TaskRecord;
  /** What made each subject, by its name; null is the base. */
  readonly digests: ReadonlyMap<string, string | null>;
}

/** A subject while a task is asked. */
interface Asking {
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
  const { rules, format, seed, samples, temperature, direct, model, version, engine } = options;
  return {
    ...{ task: record.task, rules, format, shots: asked.shots, direct: direct === true, seed },
    ...{ samples: samples ?? null, temperature: temperature ?? null, data: asked.dataDigest },
    ...{ model: model.fingerprint, quantize: model.quantize, maxLength: engine.model.maxLength },
    ...{ adapter: digests.get(name) ?? null, version },
  };
}

async function openAsking(subject: Subject, work: AskedTask, options: EvaluateOptions): Promise<Asking> {
  const log = await openSampleLog({
    folder: logFolderOf(options.out),
    subject: subject.name,
    task: work.record.task,
    identity: identityOf(subject, work, options),
  });
  const { questions } = work.asked;
  const samples = new Map<string, Sample>();
  for (const { id } of questions) {
    const sample = log.known.get(id);
    if (sample !== undefined) samples.set(id, sample);
  }
  const pending = inOrder(questions.filter(({ id }) => !samples.has(id)));
  return { subject, log, samples, pending, startedAt: undefined, asked: 0, answerTokens: 0 };
}

/** Asks one question and marks what comes back. */
async function sampleOf(
  question: Question,
  {
    subject,
    work: { task, digests },
    checker,
    signal,
    options,
  }: {
    readonly subject: Subject;
    readonly work: AskedTask;
    readonly checker: ProgramChecker | undefined;
    readonly signal: AbortSignal;
    readonly options: EvaluateOptions;
  },
): Promise<Sample> {
  const { engine, seed, rules, now } = options;
  const startedAt = now();
  const answered = await answersTo(question, {
    ...{ engine, adapter: subject.adapter, seed, signal },
    digest: digests.get(subject.name) ?? null,
  });
  const verdicts = await task.mark(question, answered.answers, { rules, checker, signal });
  const { id, group, prompt, references, tokens } = question;
  return {
    ...{ type: "sample", id, group, prompt, ...answered, answers: [...answered.answers] },
    verdicts: verdicts.map(({ extracted, scores }) => ({ extracted, scores: { ...scores } })),
    ...{ references, promptTokens: tokens.length, seconds: (now() - startedAt) / 1000 },
  };
}

const marksOf = ({ samples }: Asking, { asked }: AskedTask): readonly Marked[] =>
  asked.questions.flatMap(({ id }) => {
    const sample = samples.get(id);
    return sample === undefined ? [] : [{ id, group: sample.group, verdicts: sample.verdicts }];
  });

/** What a subject has scored so far. */
function scoreOf(asking: Asking, work: AskedTask, now: () => number): TaskScore {
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
function meanSoFar({ samples }: Asking): number {
  let [sum, count] = [0, 0];
  for (const { verdicts } of samples.values())
    for (const { scores } of verdicts) {
      sum += Object.values(scores)[0] ?? 0;
      count++;
    }
  return sum / Math.max(1, count);
}

/** Answers until the clock says something: the first ones take longest. */
const UNTIMED = 5;

/** Asks every subject what it has not answered yet. Throws `cancelled`, and what engine, marks and logs throw. */
export async function* askTask(
  work: AskedTask,
  options: EvaluateOptions,
): AsyncGenerator<EvaluateEvent, void> {
  const { now, signal } = options;
  const all: Asking[] = [];
  let checker: ProgramChecker | undefined;
  try {
    for (const subject of options.subjects) all.push(await openAsking(subject, work, options));
    const pending = all.flatMap((asking) => asking.pending.map((question) => ({ asking, question })));
    const wanted = work.asked.questions.length * all.length;
    const known = wanted - pending.length;
    yield { type: "task", task: work.record, wanted, known };
    for (const asking of all)
      if (asking.pending.length === 0) yield { type: "score", score: scoreOf(asking, work, now) };
    if (work.task.name === "humaneval" && pending.length > 0) checker = await options.openChecker();
    const startedAt = now();
    let done = 0;
    for await (const { asking, sample, tokens } of sideBySide(
      pending,
      { most: options.concurrency, signal },
      async ({ asking, question }, stopping) => {
        if (stopping.aborted) throw new MosError("cancelled", "the evaluation was stopped");
        asking.startedAt ??= now();
        const sample = await sampleOf(question, {
          subject: asking.subject,
          work,
          checker,
          signal: stopping,
          options,
        });
        return { asking, sample, tokens: Number(sample["answerTokens"] ?? 0) };
      },
    )) {
      await asking.log.write(sample);
      asking.samples.set(sample.id, sample);
      asking.asked++;
      asking.answerTokens += tokens;
      done++;
      yield {
        ...{
          type: "progress",
          task: work.record.task,
          subject: asking.subject.name,
          done: known + done,
          wanted,
        },
        score: meanSoFar(asking),
        secondsLeft:
          done < UNTIMED ? undefined : ((now() - startedAt) / 1000 / done) * (pending.length - done),
      };
      if (asking.samples.size === work.asked.questions.length)
        yield { type: "score", score: scoreOf(asking, work, now) };
    }
  } finally {
    await checker?.[Symbol.asyncDispose]();
    for (const { log } of all) await log[Symbol.asyncDispose]();
  }
}
