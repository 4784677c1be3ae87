import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describeCount, type SettingValues, setting } from "mixture-of-shards-core/common";
import { openEngine, textStream } from "mixture-of-shards-core/inference";
import { type BaseModel, loadModel, parameterCount } from "mixture-of-shards-core/models";
import { type FinetuneSettingsInput, finetune, finetuneSettings } from "mixture-of-shards-core/training";
import { z } from "zod";
import { defineCommand, group } from "./command.ts";
import { BUNDLED_MODEL } from "./common-options.ts";
import { formatDuration, labelled, type Row } from "./format.ts";
import { EXIT_INTERRUPTED, type Interrupt, listenForInterrupt } from "./interrupt.ts";
import { adapterText, budgetText } from "./model-text.ts";
import {
  liveLine,
  MOS,
  nearPath,
  nextText,
  printable,
  printJson,
  printLine,
  printResult,
  shellWord,
  terminalColumns,
} from "./terminal.ts";
import { curveText, type ReadyEvent, readHistory, validationText, watchTraining } from "./training-view.ts";

const options = group("Output", {
  out: setting(z.string(), {
    default: "adapters/quickstart",
    placeholder: "folder",
    help: "output folder of the adapter; its contents are replaced",
  }),
  seed: finetuneSettings.seed,
});
type Values = SettingValues<typeof options> & { readonly json: boolean };

export const command = defineCommand({
  description:
    "Trains a Mixture-of-Shards adapter of a bundled toy model (a million parameters) on the facts and the tone of one\n" +
    "business, and shows what changed. Requires neither network nor GPU.",
  options,
  json: "events",
  run,
});

const DATA = join(BUNDLED_MODEL, "../quickstart");

/** The budget of a LoRA of rank 2. Five layers with one shared rank each allow r = 6 at most. */
const ADAPTER = { method: "mos", equivalentRank: 2, rank: 6, shardsPerVector: 4, privateRank: 1 } as const;

/** A model this small learns with a rate far above those of large ones. */
const SETTINGS = {
  steps: 200,
  batchSize: 4,
  maxLength: 128,
  learningRate: 1e-2,
  schedule: "linear",
  evaluateEvery: 50,
  saveEvery: 0,
} as const satisfies FinetuneSettingsInput;

interface Quickstart {
  readonly options: Values;
  readonly base: BaseModel;
  readonly questions: readonly string[];
  readonly interrupt: Interrupt;
}

/** The whole way, from a base model to an adapter that answers. Returns the exit code. */
async function run(options: Values): Promise<number> {
  const started = performance.now();
  const { json } = options;
  using line = liveLine({ silent: json });
  using interrupt = listenForInterrupt("stopping after this batch", { silent: json, print: line.print });
  const base = await loadModel(BUNDLED_MODEL, { signal: interrupt.signal });
  const questions: readonly string[] = JSON.parse(await readFile(join(DATA, "questions.json"), "utf8"));
  const setup: Quickstart = { options, base, questions, interrupt };
  const before = await askQuestions(setup);
  if (!json) printLine(introduction(setup, before));
  let ready: ReadyEvent | undefined;
  const events = finetune({
    model: base,
    data: join(DATA, "train.jsonl"),
    validationData: join(DATA, "validation.jsonl"),
    out: options.out,
    adapter: ADAPTER,
    settings: { ...SETTINGS, seed: options.seed },
    overwrite: true,
    keepVersions: 0,
    signal: interrupt.signal,
  });
  const outcome = await watchTraining(events, {
    line,
    json,
    onReady: (event) => {
      ready = event;
      const { examples } = event.train;
      if (!json) printLine(`Training a Mixture-of-Shards adapter on ${examples} answers of the tenant:\n`);
    },
  });
  line[Symbol.dispose](); // its last state stays above the result
  if (outcome.stoppedAt !== undefined) {
    const { stoppedAt: step, steps } = outcome;
    printResult(
      json,
      { type: "stopped", step, steps },
      () => `Stopped after step ${step} of ${steps}. Restart with ${MOS} quickstart.`,
    );
    return EXIT_INTERRUPTED;
  }
  const after = await askQuestions(setup, options.out);
  const seconds = (performance.now() - started) / 1000;
  if (json)
    printJson({
      type: "finish",
      seconds,
      answers: questions.map((question, i) => ({ question, before: before[i], after: after[i] })),
    });
  else if (ready !== undefined) printLine(await conclusion(setup, { before, after, ready, seconds }));
  return 0;
}

/** Greedy answers to the three questions, with the adapter of a folder or without any. */
async function askQuestions(
  { base: model, questions, interrupt: { signal } }: Quickstart,
  adapter?: string,
): Promise<readonly string[]> {
  await using engine = await openEngine({ model, mergedAdapter: adapter, maxLength: 128 });
  const answers: string[] = [];
  for (const question of questions) {
    const events = engine.chat([{ role: "user", content: question }], { maxTokens: 48, signal });
    answers.push(printable((await text(textStream(events))).trim()));
  }
  return answers;
}

function introduction({ base, questions }: Quickstart, before: readonly string[]): string {
  return [
    `The base is ${base.model.name}, a toy model with ${describeCount(parameterCount(base.model.config))} parameters that speaks simple English.`,
    "It knows nothing about one tenant, a lighthouse that is open to visitors:",
    "",
    ...questions.flatMap((question, i) => [`  ${question}`, `    ${before[i]}`]),
    "",
  ].join("\n");
}

interface Result {
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly ready: ReadyEvent;
  readonly seconds: number;
}

async function conclusion({ options, base, questions }: Quickstart, result: Result): Promise<string> {
  const { ready, seconds } = result;
  const history = await readHistory(options.out);
  const out = shellWord(options.out);
  const model = shellWord(nearPath(BUNDLED_MODEL));
  return [
    "",
    curveText(history, terminalColumns()),
    "",
    answersText(questions, result),
    labelled([
      ["validation loss", validationText(history.validation) ?? "not measured"],
      ["adapter", adapterText(ready.adapter)],
      ["", budgetText(ready.budget, parameterCount(base.model.config))],
      [
        "files",
        `${options.out}/: adapter_config.json, adapter_model.safetensors, metrics.jsonl, best/, checkpoints/`,
      ],
      ["time", formatDuration(seconds)],
    ]),
    "",
    nextText([
      `${MOS} generate --model ${model} --adapter ${out} --chat`,
      `${MOS} generate --model ${model} --adapter ${out} --compare --prompt "How old is the lighthouse?"`,
      `${MOS} pull Qwen/Qwen3.5-0.8B`,
      `${MOS} train --model Qwen/Qwen3.5-0.8B --data yours.jsonl --out adapters/yours`,
    ]),
  ].join("\n");
}

/** Each question with the two answers below it. */
const answersText = (questions: readonly string[], { before, after }: Result): string =>
  questions
    .map((question, i) => {
      const answers: Row[] = [
        ["  before", before[i] ?? ""],
        ["  after", after[i] ?? ""],
      ];
      return `${question}\n${labelled(answers)}\n`;
    })
    .join("\n");
