import { resolve } from "node:path";
import { baseSettings, batchSettings, describeTrainedOn, unfinishedText } from "mixture-of-shards";
import {
  counted,
  defineCommand,
  engineProgress,
  findModel,
  formatBar,
  formatDuration,
  group,
  listenForInterrupt,
  liveLine,
  model,
  paint,
  printJson,
  printLine,
  pullProgress,
  quiet,
  textTable,
  thisRun,
  userPlaces,
  warn,
} from "mixture-of-shards/kit";
import {
  adjust,
  flag,
  omitUndefined,
  pick,
  type SettingValues,
  setting,
} from "mixture-of-shards-core/common";
import { templateSettings } from "mixture-of-shards-core/text";
import { z } from "zod";
import {
  type EvaluateEvent,
  evaluateModel,
  evaluationSettings,
  inPercent,
  markdownTable,
  percentDecimals,
  percentText,
  python,
  resultTable,
  type TaskScore,
  toPercentage,
} from "#evaluation";

const machineOptions = {
  maxBatch: adjust(batchSettings.maxBatch, { default: 32, help: "questions answered concurrently" }),
  maxLength: batchSettings.maxLength,
  threads: batchSettings.threads,
};
const options = {
  ...group("Model", {
    model,
    adapter: setting(z.array(z.string()).readonly(), {
      common: true,
      placeholder: "folder",
      help: "adapter to evaluate; repeatable",
    }),
    base: flag({ common: true, help: "with --adapter, also evaluate the base" }),
    ...baseSettings,
  }),
  ...group("Benchmarks", { ...evaluationSettings, ...templateSettings }),
  ...group("Data", {
    data: setting(z.string(), {
      placeholder: "folder",
      defaultText: "downloaded from the Hub once",
      help: "folder with the benchmarks' files, such as gsm8k/test.jsonl; docs/reference/files.md lists them",
    }),
  }),
  ...group("Output", {
    out: setting(z.string(), {
      common: true,
      required: true,
      placeholder: "file",
      help: "output file for the result, in JSON",
    }),
    markdown: flag({ help: "print the final table as Markdown" }),
    quiet,
  }),
  ...group("Machine", { python, ...machineOptions }),
};
type Values = SettingValues<typeof options> & { readonly json: boolean };

export const command: ReturnType<typeof defineCommand> = defineCommand({
  description:
    "Evaluates a model and its adapters on benchmarks, scored by the rules of the " +
    "Mixture-of-Shards paper or of lm-evaluation-harness.",
  usage: "--model <model> --out <file> [options]",
  options,
  json: "events",
  examples: `
Examples:
  mos eval --model org/name --tasks gsm8k --limit 200 --out results.json
  mos eval --model model.gguf --adapter adapters/mos --adapter adapters/lora --base --out results.json
  mos eval --model org/name --tasks mmlu,bbh --rules lm-eval --data benchmarks --out results.json
  mos eval --model org/name --tasks bfcl,bfcl_free --data bfcl --out results.json
  mos eval --model org/name --tasks humaneval --samples 5 --chat-format model --out results.json

Without --data the benchmarks are downloaded from the Hugging Face Hub once. Answers are logged in a folder beside the
result (results.answers) as JSON lines. Ctrl-C stops; the same command resumes, and a larger --limit reuses existing
answers. HumanEval runs the model's programs in a sandbox without files or network; --python runs them with a local
Python instead, without a sandbox.`,
  run,
});

type End = Extract<EvaluateEvent, { readonly type: "finish" }>;

/** Evaluates, and shows how it goes. */
async function run(options: Values, { version }: { readonly version: string }): Promise<void> {
  const silent = options.quiet || options.json;
  using line = liveLine({ silent });
  using interrupt = listenForInterrupt("stopping; the same command resumes", { silent, print: line.print });
  const { signal } = interrupt;
  const { adapter: adapters, chatFormat: format, data, ...settings } = options;
  const { hub, benchmarks, weights } = await userPlaces();
  const events = evaluateModel({
    ...omitUndefined({ ...settings, adapters, format }),
    engine: {
      ...omitUndefined(pick({ ...baseSettings, ...machineOptions }, options)),
      cacheFolder: weights,
      onProgress: engineProgress(line),
    },
    model: await findModel(options.model, { signal, silent }),
    data: data ?? { hub, folder: benchmarks },
    out: resolve(options.out),
    version,
    signal,
    ...thisRun(),
    now: () => performance.timeOrigin + performance.now(),
  });
  const showTransfer = pullProgress(() => performance.now());
  for await (const event of events) {
    if (options.json) printJson(event);
    if (event.type === "download") {
      showTransfer(event.transfer, line);
      continue;
    }
    if (event.type === "unfinished") {
      const said = unfinishedText(event.adapter, event);
      if (said !== undefined) warn(said);
      continue;
    }
    show(event, line);
    if (event.type !== "finish" || silent) continue;
    line[Symbol.dispose]();
    printLine(endText(event, options));
  }
}

function show(event: EvaluateEvent, line: ReturnType<typeof liveLine>): void {
  if (event.type === "trainedOn") line.print(`${event.subject}: ${describeTrainedOn(event.base)}`);
  else if (event.type === "task") {
    const { task, done, total } = { ...event, task: event.task.task };
    for (const text of event.task.notes) line.print(`${task}: ${text}`);
    if (done > 0)
      line.print(
        `${task}: ${done.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} answers reused`,
      );
  } else if (event.type === "progress") {
    const { task, subject, done, total, score, secondsLeft } = event;
    line.update([
      `${task} ${subject} ${formatBar(done / total, 10)} ${done} of ${total}`,
      `${inPercent(task, score).toFixed(percentDecimals(done))} %`,
      ...(secondsLeft === undefined ? [] : [`${formatDuration(secondsLeft)} left`]),
    ]);
  } else if (event.type === "score") {
    const { task, subject, scores, seconds, tooLong } = event.score;
    const [metric = ""] = Object.keys(scores);
    line.print(`${task} ${subject}: ${metric} ${scoreText(event.score, metric)}, ${formatDuration(seconds)}`);
    if (tooLong > 0)
      line.print(
        `${task} ${subject}: ${tooLong.toLocaleString("en-US")} prompts left no room for an answer and count as wrong`,
      );
  }
}

/** "26.28 ± 1.21 % of 1,319 questions", and of few "20 of 50 (40 ± 7)". */
function scoreText(score: TaskScore, metric: string): string {
  const figure = toPercentage(score.task, metric, score);
  if (figure === undefined) return "not measured";
  const text = percentText(figure);
  return text.includes(" of ") ? text : `${text} % of ${counted(figure.questions, "question")}`;
}

const LEGEND =
  "Percent ± one standard error over questions, or correct answers for up to 100 questions. Differences are paired by question.";

function endText({ result }: End, { markdown, out }: Values): string {
  const rows = resultTable(result);
  if (markdown) return `${markdownTable(rows)}\n\n${LEGEND}`;
  return [textTable(rows), paint("dim", LEGEND), `${paint("dim", "result")}   ${out}`].join("\n\n");
}
