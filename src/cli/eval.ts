import { resolve } from "node:path";
import type { AdapterGeometry } from "#adapters";
import {
  BASE_NAME,
  checkTasks,
  type EvaluateEvent,
  evaluate,
  inPercent,
  linkAdapters,
  resultTable,
  type Subject,
  type TaskOptions,
  usualFormat,
} from "#evaluation";
import { type Engine, openEngine } from "#inference";
import { geometryOf, loadModelText, openModel } from "#models";
import { createProgramChecker } from "#sandbox";
import type { LoadedText } from "#text";
import { findModel } from "./base-model.ts";
import { findBenchmarks } from "./benchmark-data.ts";
import { engineProgress } from "./engine-progress.ts";
import type { EvalOptions } from "./eval-command.ts";
import { type Interrupt, listenForInterrupt } from "./interrupt.ts";
import { given } from "./option-values.ts";
import { formatBar, formatDuration, formatInteger, type LiveLine } from "./progress.ts";
import { liveLine, nearPath, sayJson, sayLine } from "./terminal.ts";
import { textTable } from "./text-table.ts";
import { thisRun } from "./this-run.ts";

interface Files {
  readonly path: string;
  readonly name: string;
  readonly text: LoadedText;
  readonly geometry: AdapterGeometry;
}

async function readModel(path: string): Promise<Files> {
  await using files = await openModel(path);
  const { name, config, source } = files;
  return { path, name, text: await loadModelText(source), geometry: geometryOf(config) };
}

const subjectsOf = (names: readonly string[], { base }: EvalOptions): readonly Subject[] => [
  ...(names.length === 0 || base === true ? [{ name: BASE_NAME, adapter: null }] : []),
  ...names.map((name) => ({ name, adapter: name })),
];

async function openEngineFor(
  path: string,
  { options, folder, line, interrupt }: Opening & { readonly folder: string | undefined },
): Promise<Engine> {
  const { quantize, maxBatch, maxLength, threads } = options;
  return openEngine({
    model: path,
    ...{ quantize, maxBatch, maxWaiting: Number.MAX_SAFE_INTEGER },
    ...given({ adapters: folder, maxLength, threads }),
    onProgress: engineProgress(line),
    signal: interrupt.signal,
  });
}

interface Opening {
  readonly options: EvalOptions;
  readonly line: LiveLine;
  readonly interrupt: Interrupt;
}

/** Evaluates, and tells how it goes. */
export async function runEval(options: EvalOptions, version: string): Promise<void> {
  const silent = options.quiet === true || options.json === true;
  const end = await watchEvaluation(options, { version, silent });
  if (end !== undefined && !silent) sayLine(endText(end));
}

type End = Extract<EvaluateEvent, { readonly type: "end" }>;

async function watchEvaluation(
  options: EvalOptions,
  { version, silent }: { readonly version: string; readonly silent: boolean },
): Promise<End | undefined> {
  using line = liveLine({ silent });
  using interrupt = listenForInterrupt(() =>
    line.print("stopping; the same command goes on. Ctrl-C again ends at once"),
  );
  const { text, name, path, geometry } = await readModel(
    await findModel(options.model, { signal: interrupt.signal, silent }),
  );
  await using linked = await linkAdapters(options.adapter ?? [], geometry);
  const folders = await findBenchmarks(options, { line, interrupt });
  const { rules, seed, quantize, tasks, maxBatch, shots, limit, samples, temperature, direct } = options;
  const asked: TaskOptions = {
    ...{ text, rules, seed, tasks, shots, limit, samples, temperature, direct, signal: interrupt.signal },
    format: options.chatFormat ?? usualFormat(rules),
    dataFolder: (task) => folders.get(task) ?? "",
    out: resolve(options.out),
  };
  await checkTasks(asked);
  const folder = linked.names.length === 0 ? undefined : linked.folder;
  await using engine = await openEngineFor(path, { options, folder, line, interrupt });
  const events = evaluate({
    ...asked,
    ...{ engine, version },
    model: { name, fingerprint: engine.model.fingerprint, quantize },
    subjects: subjectsOf(linked.names, options),
    openChecker: () =>
      createProgramChecker({ ...given({ python: options.python }), signal: interrupt.signal }),
    // the engine is never without the next question
    concurrency: 2 * maxBatch,
    ...thisRun(),
    now: Date.now,
  });
  for await (const event of events) {
    if (options.json === true) sayJson(event);
    show(event, line);
    if (event.type === "end") return event;
  }
  return undefined;
}

function show(event: EvaluateEvent, line: LiveLine): void {
  if (event.type === "task") {
    const { task, known, wanted } = { ...event, task: event.task.task };
    for (const text of event.task.notes) line.print(`${task}: ${text}`);
    if (known > 0)
      line.print(`${task}: ${formatInteger(known)} of ${formatInteger(wanted)} answers are there`);
  } else if (event.type === "progress") {
    const { task, subject, done, wanted, score, secondsLeft } = event;
    const left = secondsLeft === undefined ? "" : `  ${formatDuration(secondsLeft)} left`;
    line.update(
      `${task} ${subject} ${formatBar(done / wanted, 24)} ${done} of ${wanted}  ${score.toFixed(3)}${left}`,
    );
  } else if (event.type === "score") {
    const { task, subject, scores, questions, seconds, tooLong } = event.score;
    const [[metric, score] = ["", 0]] = Object.entries(scores);
    line.print(
      `${task} ${subject}: ${metric} ${inPercent(task, score).toFixed(2)} % of ${formatInteger(questions)} questions, ${formatDuration(seconds)}`,
    );
    if (tooLong > 0)
      line.print(
        `${task} ${subject}: ${formatInteger(tooLong)} of them left no room for an answer, and count as wrong`,
      );
  }
}

function endText({ result, out }: End): string {
  return `${textTable(resultTable(result), { left: [0] })}\n\nresult   ${nearPath(out)}`;
}
