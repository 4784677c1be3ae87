import { realpath } from "node:fs/promises";
import { basename, dirname, extname } from "node:path";
import { findAdapter } from "#adapters";
import {
  describeBytes,
  describeCount,
  flag,
  integer,
  list,
  MosError,
  omitUndefined,
  pick,
  type SettingValues,
  text,
  texts,
} from "#core";
import {
  type ChosenSettings,
  checkpointSettings,
  DEFAULT_KEPT_VERSIONS,
  dataSettings,
  type FinetuneOptions,
  type FinetuneSettingsInput,
  finetune,
  finetuneSettings,
  memorySettings,
  previewRun,
  trainingSettings,
} from "#training";
import { defineCommand, group } from "./command.ts";
import {
  adapterInput,
  adapterOptions,
  device,
  model,
  quiet,
  refuseSettings,
  threads,
} from "./common-options.ts";
import { commandText, counted, formatDuration, formatInteger, labelled, paint } from "./format.ts";
import { EXIT_INTERRUPTED, listenForInterrupt } from "./interrupt.ts";
import { type FindModelOptions, findData, findModel, loadingProgress } from "./loading.ts";
import { adapterText, budgetText } from "./model-text.ts";
import { linesText, scheduleRows } from "./preview-text.ts";
import {
  heading,
  type LiveLine,
  liveLine,
  MOS,
  nextText,
  printJson,
  printLine,
  shellWord,
  terminalColumns,
  warn,
  warningText,
} from "./terminal.ts";
import {
  curveText,
  type MemoryEvent,
  type ReadyEvent,
  readHistory,
  type TrainOutcome,
  validationText,
  watchTraining,
} from "./training-view.ts";

const options = {
  ...group("Model", { model }),
  ...group("Data", {
    data: texts({
      common: true,
      required: true,
      placeholder: "name",
      help: "training data: a JSON Lines, JSON, CSV or Parquet file, a glob pattern such as 'data/*.jsonl', or org/name[:split] on the Hub; repeatable",
    }),
    ...dataSettings,
    validationData: texts({
      placeholder: "name",
      defaultText: "a split of --data",
      help: "validation data, given like --data",
    }),
  }),
  ...group("Adapter", {
    ...adapterOptions,
    fromAdapter: text({
      placeholder: "folder",
      help: "continue training from this adapter, with its settings and weights",
    }),
  }),
  ...group("Training", trainingSettings),
  ...group("Evaluation and checkpoints", {
    ...checkpointSettings,
    tensorboard: flag({ help: "also write TensorBoard event files to tensorboard/ in the output folder" }),
  }),
  ...group("Memory", memorySettings),
  ...group("Output", {
    out: text({
      common: true,
      placeholder: "folder",
      help: "output folder; required unless --dry-run is given",
    }),
    resume: flag({
      common: true,
      help: "resume the run in --out with identical results; with more --steps, extend a finished run",
    }),
    overwrite: flag({
      help: "replace the contents of --out; the old adapter stays in use until the new one is complete",
    }),
    keepVersions: integer({
      min: 0,
      default: DEFAULT_KEPT_VERSIONS,
      help: "earlier versions to keep for mos adapters rollback",
    }),
    quiet,
    dryRun: flag({
      common: true,
      help: "preview the run and some tokenised examples without loading the model or writing anything",
    }),
    previewLines: list(integer({ min: 1, help: "a line" }), {
      what: "one or more different lines",
      placeholder: "lines",
      defaultText: "the first three",
      help: "lines of the data for --dry-run to show, such as 1,5,9",
    }),
  }),
  ...group("Machine", { device, threads }),
};
type Options = SettingValues<typeof options> & { readonly json: boolean };
/** The options of a run that is made. */
type Values = Options & { readonly out: string };

export const command = defineCommand({
  description:
    "Fine-tunes an adapter on your data and saves it in PEFT's folder layout. The base model is not changed.",
  usage: "--model <model> --data <name> --out <folder> [options]",
  options,
  conflicts: [
    ["epochs", "steps"],
    ["validationSplit", "validationData"],
    ["resume", "overwrite"],
    ["dryRun", "resume"],
    ["dryRun", "overwrite"],
    ["dryRun", "tensorboard"],
  ],
  json: "events",
  examples: `
Examples:
  mos train --model HuggingFaceTB/SmolLM2-135M-Instruct --data train.jsonl --out adapters/acme
      as many passes as the data need; Mixture of Shards with the parameter count of a LoRA of rank 2

  mos train --model model.gguf --data train.jsonl --out adapters/acme \\
      --equivalent-rank 8 --rank 32 --epochs 3 --learning-rate 3e-4

  mos train --model models/llama --data train.jsonl --out adapters/plain --method lora --rank 8

  mos train --model model.gguf --data train.jsonl --dry-run --preview-lines 1,20
      previews target tokens, updates and memory; writes nothing

  mos train … --data 'data/*.jsonl' --data HuggingFaceH4/no_robots:train --data-columns prompt=article,completion=summary
      several files and a data set on the Hub, with column names mapped to fields

  mos train … --out adapters/acme-2 --from-adapter adapters/acme
      continue from an existing adapter, which is not changed

  mos train … --out adapters/acme --overwrite
      replace an adapter that is being served; undo with mos adapters rollback adapters/acme

  mos train … --out adapters/acme --steps 200 --resume
      extend a finished run of 100 steps; new steps follow the schedule of 200

A line of data: {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
Only assistant messages are trained on. Also accepted: ShareGPT conversations; prompt and completion; question and
answer; instruction, input and output; text, which is trained in full. In CSV and Parquet these are columns.

Ctrl-C finishes the batch, saves a checkpoint and exits; --resume continues. A second Ctrl-C exits at once.
mos params estimates size and memory before training.`,
  run: (values) => (values.dryRun ? dryRun(values) : train(values)),
});

/** A new adapter, or the one that is trained further. */
function chooseStart(values: Options): FinetuneOptions["adapter"] {
  if (values.fromAdapter === undefined) return adapterInput(values);
  refuseSettings(values, "--from-adapter, which keeps its settings");
  return { from: values.fromAdapter };
}

/** A number of updates that was given replaces the epochs. */
function chooseSettings(values: Options): FinetuneSettingsInput {
  const { epochs, ...settings } = pick(finetuneSettings, values);
  return values.steps === undefined ? { ...settings, epochs } : settings;
}

/** Refuses validation data that is also training data: its loss says nothing about other examples. */
async function refuseShared(trained: readonly string[], validation: readonly string[]): Promise<void> {
  const real = new Set(await Promise.all(trained.map((path) => realpath(path))));
  for (const path of validation)
    if (real.has(await realpath(path)))
      throw new MosError(
        "bad_option",
        `${path} is used for both training and validation; use another file, or a split with --validation-split`,
      );
}

/** The run that the options say, with its data on this machine. */
async function resolveRun(options: Options, find: FindModelOptions) {
  const { device, threads } = options;
  const adapter = chooseStart(options);
  const data = await findData(options.data, find);
  const validationData = options.validationData && (await findData(options.validationData, find));
  if (validationData !== undefined) await refuseShared(data, validationData);
  return {
    adapter,
    settings: chooseSettings(options),
    session: { device, ...omitUndefined({ threads }) },
    data,
    ...omitUndefined({ validationData }),
  };
}

/** Previews the run. */
async function dryRun(options: Options): Promise<number> {
  const find = { silent: options.quiet || options.json };
  const run = await resolveRun(options, find);
  const model = await findModel(options.model, find);
  const { previewLines: lines } = options;
  const preview = await previewRun({ ...run, model, ...omitUndefined({ lines }) });
  if (options.json) printJson(preview);
  else {
    printLine(`${labelled([...startRows(preview, options), ...scheduleRows(preview)])}\n`);
    const emphasise = (row: string): string => paint("green", row);
    printLine(linesText(preview.lines, { columns: terminalColumns(), emphasise }));
  }
  return 0;
}

/** Trains, shows how it goes, and returns the exit code. */
async function train({ out, ...others }: Options): Promise<number> {
  if (out === undefined)
    throw new MosError("bad_option", "--out <folder> is required, except with --dry-run");
  if (others.previewLines !== undefined)
    throw new MosError("bad_option", "--preview-lines requires --dry-run");
  const options: Values = { ...others, out };
  const silent = options.quiet || options.json;
  let line: LiveLine | undefined;
  using interrupt = listenForInterrupt("stopping after this batch and saving a checkpoint", {
    silent,
    print: (text) => (line?.print ?? warn)(text),
  });
  const find = { signal: interrupt.signal, silent };
  const run = await resolveRun(options, find);
  const path = await findModel(options.model, find);
  interrupt.ignore(); // until there is anything to save: data may be long, and is encoded without a pause
  let memory: MemoryEvent | undefined;
  const outcome = await (async () => {
    using live = liveLine({ silent });
    line = live;
    const { resume, overwrite, keepVersions, tensorboard } = options;
    const events = finetune({
      ...run,
      model: path,
      out,
      resume,
      overwrite,
      keepVersions,
      tensorboard,
      signal: interrupt.signal,
      ...(process.stderr.isTTY === true ? { onProgress: loadingProgress(live) } : {}),
    });
    return await watchTraining(events, {
      line: live,
      json: options.json,
      onMemory: (event) => {
        memory = event;
      },
      onReady: (event) => {
        interrupt.listen();
        if (!silent && memory !== undefined)
          printLine(`${labelled(startRows({ ...memory, ...event }, options))}\n`);
      },
    });
  })();
  const type = outcome.stoppedAt === undefined ? "finish" : "stopped";
  if (options.json) printJson({ type, out: options.out, ...outcome, peakMemoryBytes: peakMemory() });
  else if (!options.quiet) printLine(await endText(outcome, options));
  else for (const { message } of outcome.warnings) warn(warningText(message));
  return outcome.stoppedAt === undefined ? 0 : EXIT_INTERRUPTED;
}

/** Bytes of memory that the process has had at most. */
const peakMemory = (): number => process.resourceUsage().maxRSS * 1024;

/** A run that begins, or would. */
type Start = Omit<MemoryEvent, "type"> &
  Pick<ReadyEvent, "adapter" | "budget" | "train" | "validation" | "steps"> &
  ChosenSettings &
  Partial<Pick<ReadyEvent, "step" | "extended">>;

/** Summary of the run before its first step. */
function startRows(event: Start, options: Options): readonly (readonly [string, string])[] {
  const { model } = event;
  const { layers, hiddenSize, parameters } = model;
  const rows: (readonly [string, string])[] = [
    [
      "model",
      `${model.name}: ${counted(layers, "layer")} of width ${formatInteger(hiddenSize)}, ${describeCount(parameters)} parameters`,
    ],
    ["data", dataText(event.train, namesText(options.data))],
  ];
  if (event.validation !== undefined)
    rows.push([
      "validation",
      dataText(event.validation, options.validationData && namesText(options.validationData)),
    ]);
  rows.push(["adapter", adapterText(event.adapter)]);
  rows.push(["", budgetText(event.budget, { parameters })]);
  rows.push(["memory", memoryText(event, options)]);
  if (model.computeDtype === "int8")
    rows.push(["products", "in int8; --compute-dtype float32 is exact, and takes 1.3 to 1.9 times as long"]);
  rows.push(["training", planText(event, options)]);
  if (event.steps < FEW_STEPS && event.extended === undefined)
    rows.push(["", `note: ${counted(event.steps, "step")} will change little; raise --epochs or --steps`]);
  return rows;
}

/** Steps below which hardly anything is learnt at the usual learning rates. */
const FEW_STEPS = 20;

/** "base 86 MB (4 bits in blocks of 32, as stored) · activations 1.2 GB · … · 2.1 of 22.4 GB free". */
function memoryText({ plan, free, model, rematerialise }: Start, options: Options): string {
  const dtype = options.baseDtype === "stored" ? "as stored" : options.baseDtype;
  return [
    ...plan.parts.map(
      ({ name, bytes }) =>
        `${name} ${describeBytes(bytes)}${name === "base" ? ` (${model.storage}, ${dtype})` : ""}`,
    ),
    `${describeBytes(plan.bytes)} of ${describeBytes(free.bytes + free.resident)} free`,
    ...(rematerialise === "layers" ? ["layers recomputed in the backward pass to save memory"] : []),
  ].join(" · ");
}

/** Data by their names, of files without their folders. */
function namesText(names: readonly string[]): string {
  const [first = "", ...more] = names.map((name) => (extname(name) === "" ? name : basename(name)));
  return more.length === 0 ? first : `${first} and ${formatInteger(more.length)} more`;
}

function dataText(
  { examples, tokens, targetTokens, truncated, truncatedTargets, dropped, longest }: ReadyEvent["train"],
  file: string | undefined,
): string {
  const share = Math.round((100 * targetTokens) / tokens);
  return [
    ...(file === undefined ? [] : [file]),
    counted(examples, "example"),
    `${counted(tokens, "token")}, ${share}% trained`,
    `longest ${formatInteger(longest)}`,
    ...(truncated > 0
      ? [`${formatInteger(truncated)} truncated, ${counted(truncatedTargets, "target token")} lost`]
      : []),
    ...(dropped > 0 ? [`${formatInteger(dropped)} dropped: no target tokens`] : []),
  ].join(" · ");
}

function planText(start: Start, { gradientAccumulationSteps, packing, schedule }: Options): string {
  const { steps, epochs, batchSize, maxLength, learningRate, step = 0, extended } = start;
  const { evaluateEvery, earlyStoppingPatience } = start;
  const rows = batchSize * gradientAccumulationSteps;
  return [
    `${describeCount(Math.round(100 * epochs) / 100)} ${epochs === 1 ? "pass" : "passes"} over the data in ${counted(steps, "step")}`,
    `${counted(rows, packing ? "packed row" : "row")} of up to ${formatInteger(maxLength)} tokens`,
    `learning rate ${learningRate} ${schedule}`,
    ...(evaluateEvery === 0 ? [] : [`evaluated every ${counted(evaluateEvery, "step")}`]),
    ...(earlyStoppingPatience === 0
      ? []
      : [
          `stops after ${counted(earlyStoppingPatience, "evaluation")} without a lower loss, and keeps the best`,
        ]),
    ...(extended !== undefined
      ? [
          `extending a finished run of ${counted(extended, "step")}; the learning rate follows the schedule of ${formatInteger(steps)}`,
        ]
      : step > 0
        ? [`resuming after step ${formatInteger(step)}`]
        : []),
  ].join(" · ");
}

/** Result of the run, and next steps. */
async function endText(outcome: TrainOutcome, options: Values): Promise<string> {
  const { tokens, seconds, stoppedAt, folder } = outcome;
  const history = await readHistory(stoppedAt === undefined ? options.out : folder);
  const validation = validationText(history.validation);
  const curve = curveText(history, terminalColumns());
  const rows: (readonly [string, string])[] = [];
  if (validation !== undefined) rows.push(["validation loss", validation]);
  if (seconds > 0)
    rows.push([
      "trained",
      `${counted(tokens, "token")} in ${formatDuration(seconds)}, ${formatInteger(tokens / seconds)} tokens/s, at most ${describeBytes(peakMemory())} of memory`,
    ]);
  rows.push(["files", `${stoppedAt === undefined ? options.out : folder}/`]);
  if (options.tensorboard) rows.push(["", `tensorboard --logdir ${shellWord(dirname(options.out))}`]);
  if (outcome.replaced !== undefined)
    rows.push([
      "replaced",
      `the previous adapter, kept as version ${outcome.replaced}; ${MOS} adapters rollback ${shellWord(options.out)} restores it`,
    ]);
  const next = stoppedAt === undefined ? finishedText(outcome, options) : await stoppedText(outcome, options);
  return [...(curve === "" ? [] : [curve, ""]), labelled(rows), "", ...next].join("\n");
}

function finishedText({ warnings }: TrainOutcome, options: Values): readonly string[] {
  const said = warnings.map(({ message }) => paint("yellow", `Warning: ${message}`));
  return [...said, ...(said.length === 0 ? [] : [""]), nextText(nextCommands(options))];
}

/** Where a run that was stopped stands, and what can be used of it. */
async function stoppedText(
  { stoppedAt = 0, steps, folder }: TrainOutcome,
  { out }: Values,
): Promise<readonly string[]> {
  const found = await findAdapter(folder);
  const what = found?.what === "best" ? "Its best adapter so far" : "The adapter of the last checkpoint";
  return [
    `Stopped after step ${formatInteger(stoppedAt)} of ${formatInteger(steps)}; everything is saved.`,
    ...(folder === out ? [] : [`The adapter in ${out} is unchanged.`]),
    ...(found === undefined ? [] : [`${what} is in ${found.path}.`]),
    heading("Resume with:"),
    commandText(resumeCommand(process.argv.slice(2))),
  ];
}

function nextCommands({ model, out }: Values): readonly string[] {
  const common = `${MOS} generate --model ${shellWord(model)} --adapter ${shellWord(out)}`;
  return [`${common} --chat`, `${common} --compare --prompt "…"`];
}

/** The command that continues a run that these arguments started. */
export function resumeCommand(args: readonly string[]): string {
  const kept = args.filter((arg) => arg !== "--overwrite" && arg !== "--resume");
  return [MOS, ...kept.map(shellWord), "--resume"].join(" ");
}
