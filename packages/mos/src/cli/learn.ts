// Learning from a folder of lessons: what a night is to do, how it goes, and what came of it.
import { pick, type SettingValues, setting } from "mixture-of-shards-core/common";
import {
  type AnsweredCase,
  type Contradiction,
  KEPT_VERSIONS,
  type LearnEvent,
  learn,
  learningSettings,
  type NightReport,
} from "mixture-of-shards-core/learning";
import {
  dataSettings,
  finetuneSettings,
  memorySettings,
  trainingSettings,
} from "mixture-of-shards-core/training";
import { z } from "zod";
import { defineCommand, group } from "./command.ts";
import { adapterInput, adapterOptions, device, model, quiet, threads } from "./common-options.ts";
import { counted, formatDuration, formatInteger, labelled, type Row } from "./format.ts";
import { EXIT_INTERRUPTED, listenForInterrupt } from "./interrupt.ts";
import { findModel, userPlaces } from "./loading.ts";
import {
  heading,
  type LiveLine,
  liveLine,
  MOS,
  nextText,
  printable,
  printJson,
  printLine,
  shellWord,
  warningText,
} from "./terminal.ts";
import { trainProgress } from "./training-view.ts";

const { system, keep, reword, maxLength } = dataSettings;
const options = {
  ...group("Model", { model }),
  ...group("Lessons", learningSettings),
  ...group("Adapter", {
    adapter: setting(z.string(), {
      common: true,
      placeholder: "folder",
      defaultText: "adapter in the folder of lessons",
      help: "adapter in use, which a better one replaces; it need not exist",
    }),
    ...adapterOptions,
  }),
  ...group("Training", { system, keep, reword, maxLength, ...trainingSettings }),
  ...group("Memory", memorySettings),
  ...group("Output", {
    keepVersions: setting(z.int().min(0), {
      default: KEPT_VERSIONS,
      help: "earlier versions to keep for mos adapters rollback",
    }),
    quiet,
  }),
  ...group("Machine", { device, threads }),
};
const positional = {
  folder: setting(z.string(), {
    required: true,
    help: "folder with lessons.jsonl, and perhaps checks.jsonl",
  }),
};
type Values = SettingValues<typeof options> & SettingValues<typeof positional> & { readonly json: boolean };

export const command = defineCommand({
  description:
    "Learns from corrections and remarks: trains a candidate, asks it and the version in use the same questions, and\n" +
    "replaces that version only by one that is better on the lessons and loses nothing else.",
  usage: "<folder> --model <model> [options]",
  arguments: positional,
  options,
  conflicts: [["epochs", "steps"]],
  json: "events",
  examples: `
Examples:
  mos learn lessons --model Qwen/Qwen3.5-0.8B
      learn lessons/lessons.jsonl; the adapter in use is lessons/adapter, and lessons/report.json says what was learnt

  mos learn lessons --model Qwen/Qwen3.5-0.8B --adapter adapters/acme --max-minutes 30
      improve an adapter that mos serve --adapters adapters serves, which needs no restart

  mos learn lessons --model model.gguf --objective sdft
      learn from remarks: a teacher reads them, and the candidate learns to answer as it does

  mos adapters rollback lessons/adapter
      go back to the version before

A line of lessons.jsonl: {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "the wanted answer"}]}
Beside messages: hint, a remark in words, with or without an answer; rejected_response, what was answered; weight; grader; and
held_out, to keep a lesson as a question or not. Lessons that contradict each other are shown, not learnt. checks.jsonl has
questions of the same form, which must stay right.

The same call after Ctrl-C or a crash continues, and without new lessons it does nothing.`,
  run,
});

async function run(values: Values): Promise<number> {
  const { folder, adapter: live, keepVersions, device, threads, json, quiet } = values;
  const silent = quiet || json;
  using line = liveLine({ silent });
  using interrupt = listenForInterrupt("stopping after this batch", { silent, print: line.print });
  const { signal } = interrupt;
  const path = await findModel(values.model, { signal, silent });
  // what a night decides itself, and a number of updates in the place of epochs
  const { objective: _, maxCompletionLength: __, grader: ___, ...settings } = pick(finetuneSettings, values);
  const events = learn({
    ...{ folder, model: path, live, keepVersions, signal },
    adapter: adapterInput(values),
    learning: pick(learningSettings, values),
    settings: values.steps === undefined ? settings : { ...settings, epochs: undefined },
    session: { device, ...(threads === undefined ? {} : { threads }) },
    cacheFolder: (await userPlaces()).answers,
  });
  const show = nightView(line);
  let last: LearnEvent | undefined;
  for await (const event of events) {
    if (json) printJson(event);
    else show(event);
    last = event;
  }
  line[Symbol.dispose]();
  if (!json && !quiet) printLine(endText(last, values));
  return last?.type === "stopped" ? EXIT_INTERRUPTED : 0;
}

/** Shows on the live line how a night goes. */
function nightView(line: LiveLine): (event: LearnEvent) => void {
  let progress = trainProgress(0);
  return (event) => {
    if (event.type === "plan") {
      const { trained, newLessons, heldOut, checks } = event;
      line.print(
        `${counted(newLessons, "new lesson")}; ${trained} to train, ${heldOut} held out, ${counted(checks, "check")}`,
      );
    } else if (event.type === "answers")
      line.update([`${event.done}/${event.total} answers of the ${event.who}`]);
    else if (event.type === "training") {
      const { event: training } = event;
      if (training.type === "ready") progress = trainProgress(training.steps, training.shown);
      else if (training.type === "step") progress.step(training);
      else if (training.type === "warning") line.print(warningText(training.message));
      line.update(progress.parts(process.memoryUsage.rss()));
    }
  };
}

function endText(event: LearnEvent | undefined, values: Values): string {
  if (event?.type === "finish") return reportText(event, values);
  if (event?.type === "nothing")
    return [...contradictionLines(event.contradictions), "There is nothing new to learn."].join("\n");
  return `Stopped; the same command continues.`;
}

/** Cases that are shown; report.json has all. */
const SHOWN = 5;

function reportText(report: NightReport, { model }: Values): string {
  const { live, text, adapter, candidate, replaced, cases, contradictions, duplicates, cost } = report;
  const lessons = cases.filter(({ set }) => set === "lessons");
  const lost = cases.filter(({ set, before, after }) => set !== "lessons" && before && !after);
  const missed = lessons.filter(({ after }) => !after);
  const shown = [...lost, ...lessons].slice(0, SHOWN);
  const place = candidate ?? adapter;
  const rows: readonly (Row | false)[] = [
    [live ? "live" : "held", text],
    missed.length > 0 && [
      "not taken",
      `${missed.length} of ${counted(lessons.length, "case")} are still wrong`,
    ],
    duplicates > 0 && ["duplicates", String(duplicates)],
    [live ? "adapter" : "candidate", place],
    replaced !== undefined && ["kept", `the version before, as version ${replaced}`],
    [
      "cost",
      `${formatDuration(cost.seconds)}, of which training ${formatDuration(cost.trainingSeconds)}; ${formatInteger(cost.tokens)} tokens in ${counted(cost.steps, "update")}`,
    ],
  ];
  return [
    "",
    ...shown.map(caseText),
    ...contradictionLines(contradictions),
    labelled(rows),
    "",
    nextText([
      `${MOS} generate --model ${shellWord(model)} --adapter ${shellWord(place)} --chat`,
      ...(replaced === undefined ? [] : [`${MOS} adapters rollback ${shellWord(place)}`]),
    ]),
  ].join("\n");
}

/** A question with both answers below it. */
function caseText({ messages, before, after, answerBefore, answerAfter, wanted }: AnsweredCase): string {
  const mark = (isRight: boolean): string => (isRight ? "✓ " : "✗ ");
  return `${heading(printable(messages.at(-1)?.content ?? ""))}\n${labelled([
    ["  before", mark(before) + printable(answerBefore)],
    ["  after", mark(after) + printable(answerAfter)],
    !after && wanted !== undefined && ["  wanted", `  ${printable(wanted)}`],
  ])}\n`;
}

const contradictionLines = (contradictions: readonly Contradiction[]): readonly string[] =>
  contradictions.map(({ prompt, lessons }) =>
    warningText(
      `not learnt, since they contradict each other: ${JSON.stringify(prompt.at(-1)?.content)} has the answers ${lessons.map(({ answer }) => JSON.stringify(answer)).join(" and ")}; remove the wrong ones`,
    ),
  );
