import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type BaseModel,
  type FinetuneSettingsInput,
  finetune,
  loadModel,
  openSession,
  parameterCount,
} from "#recipes";
import { adapterText, budgetText } from "./budget-text.ts";
import { type Interrupt, listenForInterrupt } from "./interrupt.ts";
import { formatCount, formatDuration, type LiveLine } from "./progress.ts";
import type { QuickstartOptions } from "./quickstart-command.ts";
import { columnsOf, labelled, liveLine, sayJson, sayLine, shellWord, shown } from "./terminal.ts";
import { sideBySide } from "./text-columns.ts";
import { curveText, heldOutText, readHistory } from "./train-history.ts";
import { type ReadyEvent, watchTraining } from "./train-watch.ts";

const EXIT_INTERRUPTED = 130;

/** The same place from src/cli and from dist/cli. */
const ASSETS = fileURLToPath(new URL("../../assets", import.meta.url));
const MODEL = join(ASSETS, "tiny-english");
const DATA = join(ASSETS, "quickstart");

/** e = 2, r = 8, l = 4, p = 1: the numbers of a LoRA of rank 2. */
const ADAPTER = { method: "mos", equivalentRank: 2, rank: 8, shardsPerVector: 4, privateRank: 1 } as const;

/** A model this small learns with a rate far above those of large ones. */
const SETTINGS = {
  steps: 160,
  batchSize: 4,
  maxLength: 128,
  learningRate: 1e-2,
  schedule: "linear",
  evaluateEvery: 40,
  saveEvery: 0,
} as const satisfies FinetuneSettingsInput;

interface Quickstart {
  readonly options: QuickstartOptions;
  readonly base: BaseModel;
  readonly questions: readonly string[];
  readonly interrupt: Interrupt;
}

/** The whole way, from a base model to an adapter that answers, in less than a minute. Returns the exit code. */
export async function runQuickstart(options: QuickstartOptions): Promise<number> {
  const started = performance.now();
  let line: LiveLine | undefined;
  using interrupt = listenForInterrupt(() =>
    line?.print("stopping after this step; Ctrl-C again ends at once"),
  );
  const base = await loadModel(MODEL, { signal: interrupt.signal });
  const questions: readonly string[] = JSON.parse(await readFile(join(DATA, "questions.json"), "utf8"));
  const run: Quickstart = { options, base, questions, interrupt };
  const json = options.json === true;
  const before = await answersOf(run, null);
  if (!json) sayLine(introduction(run, before));
  let ready: ReadyEvent | undefined;
  const outcome = await (async () => {
    using live = liveLine({ silent: json });
    line = live;
    return await watchTraining(training(run), {
      line: live,
      json,
      onReady: (event) => {
        ready = event;
      },
    });
  })();
  if (outcome.stoppedAt !== undefined) {
    if (!json)
      sayLine(
        `Stopped after step ${outcome.stoppedAt} of ${outcome.steps}. Start again with mos quickstart.`,
      );
    return EXIT_INTERRUPTED;
  }
  const after = await answersOf(run, options.out);
  const seconds = (performance.now() - started) / 1000;
  if (json)
    sayJson({
      type: "finished",
      seconds,
      answers: questions.map((question, i) => ({ question, before: before[i], after: after[i] })),
    });
  else if (ready !== undefined) sayLine(await conclusion(run, { before, after, ready, seconds }));
  return 0;
}

function training({ options: { out, seed }, base, interrupt }: Quickstart): ReturnType<typeof finetune> {
  return finetune({
    model: base,
    data: join(DATA, "train.jsonl"),
    heldOutData: join(DATA, "heldout.jsonl"),
    out,
    adapter: ADAPTER,
    settings: { ...SETTINGS, seed },
    overwrite: true,
    signal: interrupt.signal,
  });
}

/** Greedy answers to the three questions, with the adapter of a folder or without any. */
async function answersOf(
  { base, questions, interrupt }: Quickstart,
  adapter: string | null,
): Promise<readonly string[]> {
  await using session = await openSession(base, { adapters: [adapter], maxLength: 128 });
  const answers: string[] = [];
  for (const question of questions) {
    const prompt = { kind: "chat", messages: [{ role: "user", content: question }] } as const;
    let text = "";
    for await (const event of session.answer(prompt, { maxTokens: 48, signal: interrupt.signal }))
      if (event.type === "end") text = event.text.trim();
    interrupt.signal.throwIfAborted();
    answers.push(shown(text));
  }
  return answers;
}

function introduction({ base, questions }: Quickstart, before: readonly string[]): string {
  return [
    `The base is ${base.model.name}, a toy of ${formatCount(parameterCount(base.model.config))} parameters that speaks simple English.`,
    "It knows nothing of one tenant, a lighthouse that is open to visitors:",
    "",
    ...questions.flatMap((question, i) => [`  ${question}`, `    ${before[i]}`]),
    "",
    "Now it learns from 224 questions and answers of the tenant, with Mixture of Shards:",
    "",
  ].join("\n");
}

interface Result {
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly ready: ReadyEvent;
  readonly seconds: number;
}

async function conclusion(
  { options, base, questions }: Quickstart,
  { before, after, ready, seconds }: Result,
): Promise<string> {
  const history = await readHistory(options.out);
  const columns = columnsOf();
  const out = shellWord(options.out);
  const model = shellWord(MODEL);
  const answers = (texts: readonly string[]): string =>
    questions.map((question, i) => `${question}\n  ${texts[i]}`).join("\n\n");
  return [
    "",
    "training loss",
    curveText(history, columns),
    "",
    sideBySide({ title: "before", text: answers(before) }, { title: "after", text: answers(after) }, columns),
    "",
    labelled([
      ["held-out loss", heldOutText(history.heldOut) ?? "not measured"],
      ["adapter", adapterText(ready.adapter)],
      ["", budgetText(ready.budget, { parameters: parameterCount(base.model.config) })],
      [
        "files",
        `${options.out}/: adapter_config.json, adapter_model.safetensors, metrics.jsonl, best/, checkpoints/`,
      ],
      ["time", formatDuration(seconds)],
    ]),
    "",
    "Next:",
    `  mos generate --model ${model} --adapter ${out} --chat`,
    `  mos generate --model ${model} --adapter ${out} --compare --prompt "How old is the lighthouse?"`,
    "  mos pull HuggingFaceTB/SmolLM2-135M-Instruct      a real model",
    "  mos train --model HuggingFaceTB/SmolLM2-135M-Instruct --data yours.jsonl --out adapters/yours",
  ].join("\n");
}
