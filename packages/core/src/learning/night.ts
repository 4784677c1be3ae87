// One night: from a folder of lessons to a version that goes live, or to a candidate that is held with the reason. Each step
// leaves its result in the folder, so that a night that was stopped or killed goes on where it was.
import { z } from "zod";
import { ADAPTER_CONFIG, ADAPTER_FILES, findAdapter, RUN_FILES, replaceAdapter } from "#adapters";
import {
  abortAfter,
  canonicalJson,
  MosError,
  monotonicNow,
  omitUndefined,
  parseSettings,
  type SettingInput,
} from "#common";
import type { ExampleInput } from "#data";
import {
  linkEntries,
  lockFolder,
  makeFolder,
  pathExists,
  readJson,
  writeFileAtomic,
  writeFolderAtomic,
} from "#files";
import { openModel, sourceDigest } from "#models";
import { createHash, join, rm } from "#platform";
import {
  type FinetuneEvent,
  type FinetuneOptions,
  finetune,
  outcomeWarning,
  readMeasurements,
  readOutcome,
} from "#training";
import { type AnsweredCase, askModel, gradeAnswers, hintedPrompt, needsTeacher, toLine } from "./cases.ts";
import { digestOf, knownLessons, LEARNING_FILES, readLessons, recordVersion } from "./folder.ts";
import { decide, type GateDecision } from "./gate.ts";
import { type LearningSettings, learningSettings } from "./learning-settings.ts";
import { answerOf, type Contradiction } from "./lesson.ts";
import { type NightPlan, planNight } from "./plan.ts";

/** Options of a night. */
export interface LearnOptions
  extends Pick<
    FinetuneOptions,
    "settings" | "session" | "cacheFolder" | "signal" | "scoreModel" | "pythonGraders" | "keepVersions"
  > {
  /** Folder with lessons.jsonl, and perhaps checks.jsonl. */
  readonly folder: string;
  readonly model: string;
  /** Folder of the adapter that is live, and will be replaced; `adapter` in the folder of lessons. It may not exist. */
  readonly live?: string | undefined;
  /** Settings of a new adapter. */
  readonly adapter?: FinetuneOptions["adapter"];
  readonly learning?: SettingInput<typeof learningSettings>;
  /** Milliseconds of a steady clock. */
  readonly now?: () => number;
}

/** What of a plan is told before a night and after it. */
type ToldPlan = Pick<NightPlan, "newLessons" | "deleted" | "duplicates" | "contradictions" | "startFrom"> & {
  /** Lessons that are trained. */
  readonly trained: number;
};

/** What a night was about, and what it did. */
export interface NightReport extends GateDecision, ToldPlan {
  /** The live adapter's folder. */
  readonly adapter: string;
  /** Where the candidate is, unless it went live. */
  readonly candidate: string | undefined;
  /** The version that the replaced adapter is kept as, for `mos adapters rollback`. */
  readonly replaced: number | undefined;
  /** All cases with the answers before and after. */
  readonly cases: readonly AnsweredCase[];
  /** Of training, and the seconds of this call in all. */
  readonly cost: Readonly<Record<"trainingSeconds" | "seconds" | "steps" | "tokens", number>>;
}

/** Event of a night: what is planned, answers and training as they come, and the end. */
export type LearnEvent =
  | ({ readonly type: "plan"; readonly heldOut: number; readonly checks: number } & ToldPlan)
  | {
      readonly type: "answers";
      readonly who: "teacher" | "current" | "candidate";
      readonly done: number;
      readonly total: number;
    }
  | { readonly type: "training"; readonly event: FinetuneEvent }
  /** Every lesson is known already. */
  | { readonly type: "nothing"; readonly contradictions: readonly Contradiction[] }
  | ({ readonly type: "finish" } & NightReport)
  | { readonly type: "stopped" };

/** The paths of a night. */
interface Night extends LearnOptions {
  readonly plan: NightPlan;
  readonly learning: LearningSettings;
  readonly path: string;
  /** The adapter that is live, where there is one. */
  readonly current: string | undefined;
}

/**
 * Learns from the lessons of a folder: trains a candidate, has it and the current version answer the same cases, and puts it in the
 * place of the live adapter only if the gate lets it. Aborting the signal ends with `stopped`; the same call goes on from there, and
 * so it does after a kill.
 *
 * @throws MosError `bad_data` with the line of a lesson, `not_found`, `bad_option`, and what `finetune` throws.
 * @example
 * for await (const event of learn({ folder: "lessons", model: "assets/tiny-english" }))
 *   if (event.type === "finish") console.log(event.live, event.text);
 */
export async function* learn(options: LearnOptions): AsyncGenerator<LearnEvent, void> {
  const { folder, live = join(folder, "adapter"), now = monotonicNow, signal } = options;
  const started = now();
  const learning = parseSettings(learningSettings, options.learning ?? {});
  const input = await readLessons(folder);
  const path = join(folder, LEARNING_FILES.night);
  await makeFolder(path);
  await using _lock = await lockFolder(path);
  const found = await findAdapter(live);
  if (found !== undefined && found.what !== "adapter")
    throw new MosError(
      "bad_option",
      `${live}: a run in this folder has not finished; finish it with mos train --resume, or name another adapter`,
    );
  const current = found && live;
  const version = await digestOf(current);
  const known = await knownLessons(folder, version);
  const plan = await planNight({ ...input, known, settings: learning });
  const { train, cases, known: _, ...rest } = plan;
  const told: ToldPlan = { ...rest, trained: train.length };
  const { contradictions, newLessons, deleted } = told;
  if (train.length === 0 && deleted > 0)
    throw new MosError(
      "bad_data",
      `${folder}: no lesson is left to train, and the adapter in use knows ${deleted} deleted ones; delete ${live}`,
    );
  if (newLessons + deleted === 0 || train.length === 0) return yield { type: "nothing", contradictions };
  const count = (origin: string): number => cases.filter((one) => one.origin === origin).length;
  yield { type: "plan", ...told, heldOut: count("held_out"), checks: count("check") };
  const night: Night = { ...options, plan, learning, path, current };
  await beginNight(night, version);
  const made = yield* stoppable(trainAndAsk(night), signal);
  if (made === undefined) return yield { type: "stopped" };
  const { candidate, answered } = made;
  const outcome = await readOutcome(join(path, "run"));
  const decision = decide(answered, learning, { deleted, warning: outcome && outcomeWarning(outcome) });
  const cost = { ...(await trainingCost(path)), seconds: (now() - started) / 1000 };
  const report: NightReport = {
    ...{ ...told, ...decision, adapter: live, cases: answered, cost, replaced: undefined },
    candidate: decision.live ? undefined : candidate,
  };
  const writeReport = (value: NightReport): Promise<void> =>
    writeFileAtomic(join(folder, LEARNING_FILES.report), `${JSON.stringify(value, null, 2)}\n`);
  await writeReport(report); // before a version goes live that it tells about
  if (!decision.live) return yield { type: "finish", ...report };
  await recordVersion(folder, { version: await digestOf(candidate), from: version, known: plan.known });
  // no rollback brings back what was deleted
  const keepVersions = deleted > 0 ? 0 : (options.keepVersions ?? KEPT_VERSIONS);
  const replaced = await replaceAdapter(live, candidate, { keepVersions });
  await writeReport({ ...report, replaced });
  yield { type: "finish", ...report, replaced };
}

/** Versions that are kept. */
export const KEPT_VERSIONS = 10;

/** A generator whose result is undefined where the signal was aborted. */
async function* stoppable<T, R>(
  steps: AsyncGenerator<T, R>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, R | undefined> {
  try {
    return yield* steps;
  } catch (error) {
    if (signal?.aborted === true && error instanceof MosError && error.code === "cancelled") return undefined;
    throw error;
  }
}

/** The candidate, and what both versions answered. */
async function* trainAndAsk(night: Night) {
  const candidate = yield* trainCandidate(night, yield* trainingLines(night));
  return { candidate, answered: yield* answerCases(night, candidate) };
}

const write = (path: string, value: unknown): Promise<void> =>
  writeFileAtomic(path, `${JSON.stringify(value)}\n`);

const planFile = z.object({ digest: z.string() });

/** Goes on with the night that the folder has, if it is this one, or empties it. */
async function beginNight(
  { path, plan, learning, model, settings, adapter }: Night,
  version: string,
): Promise<void> {
  await using files = await openModel(model);
  const { train, cases } = plan;
  const decisive = { train, cases, learning, settings, adapter, version, model: await sourceDigest(files) };
  const digest = createHash("sha256").update(canonicalJson(decisive)).digest("hex");
  const file = join(path, "plan.json");
  const begun = await readJson(file, planFile, { code: "bad_data" }).catch(() => undefined);
  if (begun?.digest === digest) return;
  for (const name of ["run", "candidate", "teacher.json", "current.json", "candidate.json"])
    await rm(join(path, name), { recursive: true, force: true });
  await write(file, { digest });
}

function askOptions({ model, learning, settings = {}, session = {}, signal }: Night) {
  const { system, chatTemplateKwargs, baseDtype, computeDtype } = settings;
  const { device, threads } = session;
  const forms = { baseDtype, computeDtype, device, threads };
  return { model, system, chatTemplateKwargs, ...forms, signal, maxTokens: learning.maxCompletionLength };
}

const answersFile = z.array(z.string());

/** Answers that are in a file already, or are asked for and written to it. */
async function* storedAnswers(
  night: Night,
  {
    who,
    adapter,
    prompts,
  }: {
    readonly who: Extract<LearnEvent, { type: "answers" }>["who"];
    readonly adapter: string | undefined;
    readonly prompts: Parameters<typeof askModel>[0];
  },
): AsyncGenerator<LearnEvent, readonly string[]> {
  const file = join(night.path, `${who}.json`);
  if (await pathExists(file)) return await readJson(file, answersFile, { code: "bad_data" });
  const asking = askModel(prompts, { ...askOptions(night), mergedAdapter: adapter });
  for (;;) {
    const { done, value } = await asking.next();
    if (done === true) {
      await write(file, value);
      return value;
    }
    yield { type: "answers", who, ...value };
  }
}

const startOf = ({ plan, current }: Night): string | undefined =>
  plan.startFrom === "current" ? current : undefined;

/** The lessons as lines of data; those with a remark alone have the teacher's answer, or are left out where it has none. */
async function* trainingLines(night: Night): AsyncGenerator<LearnEvent, readonly ExampleInput[]> {
  const { train } = night.plan;
  const prompts = train.filter(needsTeacher).map(hintedPrompt);
  const asked = { who: "teacher", adapter: startOf(night), prompts } as const;
  const taught = (prompts.length === 0 ? [] : yield* storedAnswers(night, asked)).values();
  return train.flatMap((lesson) => {
    const answer = answerOf(lesson) ?? String(taught.next().value ?? "");
    return answer === "" ? [] : [toLine(lesson, { objective: night.learning.objective, answer })];
  });
}

/** Trains the candidate, as far as time allows, and gives its folder. Throws `cancelled` where the signal is aborted. */
async function* trainCandidate(
  night: Night,
  data: readonly ExampleInput[],
): AsyncGenerator<LearnEvent, string> {
  const { path, model, learning, adapter, settings, session, cacheFolder, signal } = night;
  const { objective, maxTokens, maxMinutes } = learning;
  const [out, candidate] = [join(path, "run"), join(path, "candidate")];
  if (await pathExists(join(candidate, ADAPTER_CONFIG))) return candidate;
  using limit = abortAfter(maxMinutes * 60_000, signal);
  const from = startOf(night);
  const events = finetune({
    ...{ model, data, out, cacheFolder },
    ...omitUndefined({ session, maxTokens }),
    adapter: from === undefined ? adapter : { from },
    settings: { ...settings, objective },
    resume: await pathExists(join(out, RUN_FILES.record)),
    signal: limit.signal,
  });
  for await (const event of events) {
    yield { type: "training", event };
    if (event.type === "limited")
      throw new MosError(
        "bad_option",
        `${event.tokens} tokens would be trained, more than maxTokens, ${maxTokens}; raise it, or lower epochs`,
      );
  }
  if (signal?.aborted === true) throw new MosError("cancelled", "stopped while the candidate was trained");
  const found = await findAdapter(out);
  if (found === undefined)
    throw new MosError("bad_option", `no update was made within ${maxMinutes} minutes; raise maxMinutes`);
  await writeFolderAtomic(candidate, (into) => linkEntries(found.path, into, ADAPTER_FILES));
  return candidate;
}

/** What both versions answer, graded. */
async function* answerCases(
  night: Night,
  candidate: string,
): AsyncGenerator<LearnEvent, readonly AnsweredCase[]> {
  const { plan, current, signal, scoreModel, pythonGraders } = night;
  const prompts = plan.cases.map(({ messages }) => messages);
  const before = yield* storedAnswers(night, { who: "current", adapter: current, prompts });
  const after = yield* storedAnswers(night, { who: "candidate", adapter: candidate, prompts });
  const tools = { signal, scoreModel, pythonGraders };
  const [wasRight, isRight] = [
    await gradeAnswers(plan.cases, before, tools),
    await gradeAnswers(plan.cases, after, tools),
  ];
  return plan.cases.map(({ grader: _, ...one }, i) => ({
    ...one,
    ...{ answerBefore: before[i] ?? "", answerAfter: after[i] ?? "" },
    ...{ before: wasRight[i] === true, after: isRight[i] === true },
  }));
}

async function trainingCost(path: string) {
  let [trainingSeconds, steps, tokens] = [0, 0, 0];
  for await (const { measurement: one } of readMeasurements(join(path, "run"))) {
    trainingSeconds += one.seconds;
    if (one.type === "step") {
      steps++;
      tokens += one.tokens;
    }
  }
  return { trainingSeconds, steps, tokens };
}
