import { realpath } from "node:fs/promises";
import { basename, resolve } from "node:path";
import {
  distinct,
  flag,
  MosError,
  omitUndefined,
  pick,
  type SettingValues,
  setting,
} from "mixture-of-shards-core/common";
import {
  checkpointSettings,
  DEFAULT_KEPT_VERSIONS,
  dataSettings,
  type FinetuneOptions,
  type FinetuneSettingsInput,
  finetune,
  finetuneSettings,
  memorySettings,
  objectiveChoice,
  objectiveSettings,
  previewRun,
  trainingSettings,
} from "mixture-of-shards-core/training";
import { z } from "zod";
import { trackRun } from "../trackers/track.ts";
import { defineCommand, group } from "./command.ts";
import {
  adapterInput,
  adapterOptions,
  chosenTracker,
  device,
  model,
  quiet,
  refuseSettings,
  threads,
  trackOptions,
} from "./common-options.ts";
import { labelled } from "./format.ts";
import { EXIT_INTERRUPTED, listenForInterrupt } from "./interrupt.ts";
import { type FindModelOptions, findData, findModel, loadingProgress, userPlaces } from "./loading.ts";
import { keyVariable, retryNotice, teacherKey } from "./teacher-access.ts";
import { liveLine, printJson, printLine, terminalColumns, warn, warningText } from "./terminal.ts";
import { endText, linesText, peakMemory, scheduleRows, startRows } from "./train-summary.ts";
import { watchTraining } from "./training-view.ts";

const options = {
  ...group("Model", { model }),
  ...group("Data", {
    data: setting(z.array(z.string()).readonly(), {
      common: true,
      required: true,
      placeholder: "name",
      help: "training data: a JSON Lines, JSON, CSV or Parquet file, a glob pattern such as 'data/*.jsonl', or org/name[:split] on the Hub; repeatable",
    }),
    ...dataSettings,
    validationData: setting(z.array(z.string()).readonly(), {
      placeholder: "name",
      defaultText: "a split of --data",
      help: "validation data, given like --data",
    }),
  }),
  ...group("Adapter", {
    ...adapterOptions,
    fromAdapter: setting(z.string(), {
      placeholder: "folder",
      help: "continue training from this adapter, with its settings and weights",
    }),
  }),
  ...group("Objective", { ...objectiveChoice, ...objectiveSettings, keyVariable }),
  ...group("Training", trainingSettings),
  ...group("Evaluation and checkpoints", {
    ...checkpointSettings,
    tensorboard: flag({ help: "also write TensorBoard event files to tensorboard/ in the output folder" }),
    ...trackOptions,
  }),
  ...group("Memory", memorySettings),
  ...group("Output", {
    out: setting(z.string(), {
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
    keepVersions: setting(z.int().min(0), {
      default: DEFAULT_KEPT_VERSIONS,
      help: "earlier versions to keep for mos adapters rollback",
    }),
    quiet,
    dryRun: flag({
      common: true,
      help: "preview the run and some tokenised examples without loading the model or writing anything",
    }),
    previewLines: setting(distinct(z.int().min(1)).describe("one or more different lines"), {
      placeholder: "lines",
      defaultText: "the first three",
      help: "lines of the data for --dry-run to show, such as 1,5,9",
    }),
  }),
  ...group("Machine", { device, threads }),
};
export type Options = SettingValues<typeof options> & { readonly json: boolean };

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
    ["dryRun", "track"],
  ],
  json: "events",
  examples: `
Examples:
  mos train --model Qwen/Qwen3.5-0.8B --data train.jsonl --out adapters/acme
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
    printLine(linesText(preview.lines, terminalColumns()));
  }
  return 0;
}

/** Trains, shows how it goes, and returns the exit code. */
async function train({ out, ...others }: Options): Promise<number> {
  if (out === undefined)
    throw new MosError("bad_option", "--out <folder> is required, except with --dry-run");
  if (others.previewLines !== undefined)
    throw new MosError("bad_option", "--preview-lines requires --dry-run");
  const options = { ...others, out };
  const key = teacherKey(options);
  const track = chosenTracker(options, (reason) => print(reason));
  const silent = options.quiet || options.json;
  using line = liveLine({ silent });
  using interrupt = listenForInterrupt("stopping after this batch and saving a checkpoint", {
    silent,
    print: line.print,
  });
  const find = { signal: interrupt.signal, silent };
  const run = await resolveRun(options, find);
  const path = await findModel(options.model, find);
  interrupt.ignore(); // until there is anything to save: data may be long, and is encoded without a pause
  const { resume, overwrite, keepVersions, tensorboard, json, quiet } = options;
  const print = (text: string): void => line.print(warningText(text));
  const events = finetune({
    ...{ ...run, model: path, out, resume, overwrite, keepVersions, tensorboard },
    follow: track && ((folder) => trackRun(folder, { name: basename(resolve(out)), ...track })),
    teacherAccess: { key, onRetry: retryNotice({ json, quiet, print }) },
    cacheFolder: (await userPlaces()).answers,
    signal: interrupt.signal,
    ...(process.stderr.isTTY === true ? { onProgress: loadingProgress(line) } : {}),
  });
  const outcome = await watchTraining(events, {
    line,
    json,
    onReady: (event, memory) => {
      interrupt.listen();
      if (!silent && memory !== undefined)
        printLine(`${labelled(startRows({ ...memory, ...event }, options))}\n`);
    },
  });
  line[Symbol.dispose](); // its last state stays above the result
  const type = outcome.stoppedAt === undefined ? "finish" : "stopped";
  if (json) printJson({ type, out, ...outcome, peakMemoryBytes: peakMemory() });
  else if (!quiet) printLine(await endText(outcome, options));
  else for (const { message } of outcome.warnings) warn(warningText(message));
  return outcome.stoppedAt === undefined ? 0 : EXIT_INTERRUPTED;
}
