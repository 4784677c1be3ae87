// One task for all subjects: opens their logs, asks what is missing, marks answers as they come.
import { MosError } from "#core";
import type { ProgramChecker } from "#sandbox";
import type { Question, Verdict } from "../types.ts";
import { answersTo } from "./ask.ts";
import { type AskedTask, type Asking, meanSoFar, openAsking, scoreOf } from "./asking.ts";
import type { EvaluateEvent } from "./evaluate.ts";
import type { Sample } from "./sample-log.ts";
import type { EvaluateOptions, Subject } from "./settings.ts";
import { sideBySide } from "./side-by-side.ts";

const markedWith = (verdicts: readonly Verdict[]): Pick<Sample, "verdicts"> => ({
  verdicts: verdicts.map(({ scores, ...verdict }) => ({ ...verdict, scores: { ...scores } })),
});

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
    ...markedWith(verdicts),
    // a busy machine may have been too slow for a program
    ...(verdicts.some(({ reason }) => reason === "timed out") ? { provisional: true } : {}),
    ...{ references, promptTokens: tokens.length, seconds: (now() - startedAt) / 1000 },
  };
}

/** Marks those answers again, now that nothing else runs, that a busy machine may have failed. */
async function markAgain(
  { samples, log }: Asking,
  { task, asked }: AskedTask,
  { checker, options }: { readonly checker: ProgramChecker | undefined; readonly options: EvaluateOptions },
): Promise<void> {
  const { rules, signal } = options;
  for (const question of asked.questions) {
    const sample = samples.get(question.id);
    if (sample?.provisional !== true) continue;
    const verdicts = await task.mark(question, sample.answers, { rules, checker, signal });
    const { provisional: _, ...rest } = sample;
    const again: Sample = { ...rest, ...markedWith(verdicts) };
    await log.write(again);
    samples.set(question.id, again);
  }
}

const hasProvisional = ({ samples }: Asking): boolean =>
  [...samples.values()].some(({ provisional }) => provisional === true);

/** Whether a subject's score will not change any more. */
const isSettled = (asking: Asking, { asked }: AskedTask): boolean =>
  asking.samples.size === asked.questions.length && !hasProvisional(asking);

/** Answers until the clock says something: the first ones take longest. */
const UNTIMED = 5;

interface Pending {
  readonly asking: Asking;
  readonly question: Question;
}

interface AskAll {
  readonly work: AskedTask;
  readonly pending: readonly Pending[];
  /** Answers from earlier runs, which count as done. */
  readonly known: number;
  readonly checker: ProgramChecker | undefined;
  readonly options: EvaluateOptions;
}

/** Asks what is pending, logs every answer, and tells how it goes. */
async function* askAll({ work, pending, known, checker, options }: AskAll) {
  const { now, signal, concurrency } = options;
  const startedAt = now();
  const secondsLeft = (done: number): number | undefined =>
    done < UNTIMED ? undefined : ((now() - startedAt) / 1000 / done) * (pending.length - done);
  let done = 0;
  const ask = async ({ asking, question }: Pending, stopping: AbortSignal) => {
    if (stopping.aborted) throw new MosError("cancelled", "the evaluation was stopped");
    asking.startedAt ??= now();
    const { subject } = asking;
    return {
      asking,
      sample: await sampleOf(question, { subject, work, checker, signal: stopping, options }),
    };
  };
  for await (const { asking, sample } of sideBySide(pending, { most: concurrency, signal }, ask)) {
    await asking.log.write(sample);
    asking.samples.set(sample.id, sample);
    asking.asked++;
    asking.answerTokens += Number(sample["answerTokens"] ?? 0);
    done++;
    const wanted = known + pending.length;
    const progress = { task: work.record.task, subject: asking.subject.name, done: known + done, wanted };
    yield {
      asking,
      event: { type: "progress", ...progress, score: meanSoFar(asking), secondsLeft: secondsLeft(done) },
    } as const;
  }
}

/** Asks every subject what it has not answered yet. Throws `cancelled`, and what engine, marks and logs throw. */
export async function* askTask(
  work: AskedTask,
  options: EvaluateOptions,
): AsyncGenerator<EvaluateEvent, void> {
  const { task, asked, record } = work;
  const score = (asking: Asking) =>
    ({ type: "score", score: scoreOf(asking, work, options.now) }) satisfies EvaluateEvent;
  const all: Asking[] = [];
  let checker: ProgramChecker | undefined;
  try {
    for (const subject of options.subjects) all.push(await openAsking(subject, work, options));
    const pending = all.flatMap((asking) => asking.pending.map((question) => ({ asking, question })));
    const wanted = asked.questions.length * all.length;
    const known = wanted - pending.length;
    yield { type: "task", task: record, wanted, known };
    for (const asking of all) if (isSettled(asking, work)) yield score(asking);
    if (task.runsPrograms && !all.every((asking) => isSettled(asking, work)))
      checker = await options.openChecker();
    for await (const { asking, event } of askAll({ work, pending, known, checker, options })) {
      yield event;
      if (isSettled(asking, work)) yield score(asking);
    }
    for (const asking of all.filter(hasProvisional)) {
      await markAgain(asking, work, { checker, options });
      yield score(asking);
    }
  } finally {
    await checker?.[Symbol.asyncDispose]();
    for (const { log } of all) await log[Symbol.asyncDispose]();
  }
}
