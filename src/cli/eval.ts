import { resolve } from "node:path";
import { type EvaluateEvent, inPercent, resultTable } from "#evaluation";
import { evaluateModel } from "#recipes";
import { findModel } from "./base-model.ts";
import { engineProgress } from "./engine-progress.ts";
import type { EvalOptions } from "./eval-command.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { given } from "./option-values.ts";
import { formatBar, formatDuration, formatInteger, type LiveLine } from "./progress.ts";
import { benchmarksOfUser, hubOfUser } from "./pull.ts";
import { pullProgress } from "./pull-progress.ts";
import { liveLine, nearPath, sayJson, sayLine } from "./terminal.ts";
import { textTable } from "./text-table.ts";
import { thisRun } from "./this-run.ts";

type End = Extract<EvaluateEvent, { readonly type: "end" }>;

/** Evaluates, and shows how it goes. */
export async function runEval(options: EvalOptions, version: string): Promise<void> {
  const silent = options.quiet === true || options.json === true;
  const end = await watchEvaluation(options, { version, silent });
  if (end !== undefined && !silent) sayLine(endText(end));
}

async function watchEvaluation(
  options: EvalOptions,
  { version, silent }: { readonly version: string; readonly silent: boolean },
): Promise<End | undefined> {
  using line = liveLine({ silent });
  using interrupt = listenForInterrupt(() =>
    line.print("stopping; the same command goes on. Ctrl-C again ends at once"),
  );
  const { signal } = interrupt;
  const { rules, seed, quantize, tasks, maxBatch, chatFormat, maxLength, threads } = options;
  const { adapter: adapters, base, shots, limit, samples, temperature, direct, python } = options;
  const events = evaluateModel({
    model: await findModel(options.model, { signal, silent }),
    data: options.data ?? { hub: await hubOfUser(), folder: benchmarksOfUser() },
    ...{ rules, seed, quantize, tasks, maxBatch, out: resolve(options.out), version, signal },
    ...{ shots, limit, samples, temperature, direct, python },
    ...given({ adapters, base, format: chatFormat, maxLength, threads }),
    onProgress: engineProgress(line),
    ...thisRun(),
    now: Date.now,
  });
  const showTransfer = pullProgress(line, () => performance.now());
  for await (const event of events) {
    if (event.type === "fetch") {
      showTransfer(event.transfer);
      continue;
    }
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
