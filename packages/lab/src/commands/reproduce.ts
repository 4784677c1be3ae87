import { MosError, readModelConfig, toLayerShapes } from "mixture-of-shards";
import {
  defineCommand,
  findModel,
  group,
  listenForInterrupt,
  liveLine,
  model,
  printJson,
  printLine,
  pullProgress,
  quiet,
  textTable,
  thisRun,
  userPlaces,
} from "mixture-of-shards/kit";
import {
  flag,
  matching,
  pick,
  type SettingValues,
  setting,
  settingInfo,
  withProgress,
} from "mixture-of-shards-core/common";
import { z } from "zod";
import { findData } from "#evaluation";
import {
  adapterSettings,
  baseSettings,
  benchmarkSettings,
  buildExperiment,
  EXPERIMENTS,
  gridSettings,
  machineSettings,
  measuringSettings,
  type ReproduceEvent,
  type ReproduceOptions,
  type Row,
  redraw,
  reproduce,
  reproduceProgress,
  selectRows,
  trainingSettings,
  withPlainBase,
} from "#reproduce";

const file = { placeholder: "file" };
const { seeds, steps, privateRanks, shards, ...tuning } = gridSettings;
const { evaluationExamples: evalExamples, answers, answerTokens } = measuringSettings;

const options = {
  ...group("Model", {
    model: setting(z.string(), { placeholder: "model", help: settingInfo(model).help }),
    ...baseSettings,
  }),
  ...group("Data", {
    train: setting(z.string(), { ...file, help: "training data in JSON Lines, as for mos train" }),
    eval: setting(z.string(), { ...file, help: "test data in JSON Lines; never trained on" }),
  }),
  ...group("Grid", {
    seeds,
    steps,
    only: setting(z.array(z.string()).readonly(), {
      placeholder: "row...",
      help: "run only these rows, by key or label (see --list)",
    }),
    list: flag({ help: "list the rows of the experiment on this model without running it" }),
    privateRanks,
    shards,
    ...tuning,
    tuneEval: setting(z.string(), {
      ...file,
      help: "choose learning rates on this file instead of a split of --train",
    }),
    tuneTrain: setting(z.string(), {
      ...file,
      help: "with --tune-eval, the file to train on while choosing learning rates",
    }),
  }),
  ...group("Training", { ...adapterSettings, ...trainingSettings }),
  ...group("Evaluation", { evalExamples, answers, answerTokens }),
  ...group("Benchmarks", {
    ...benchmarkSettings,
    benchmarkData: setting(z.string(), {
      placeholder: "folder",
      defaultText: "fetched from the Hub",
      help: "benchmark data, as for mos eval",
    }),
  }),
  ...group("Output", {
    out: setting(z.string(), {
      placeholder: "folder",
      help: "output folder for tables, pictures and runs; finished runs are not repeated",
    }),
    redraw: flag({ help: "redraw the pictures from the results in --out without running anything" }),
    keepAdapters: flag({ help: "keep the adapter of every run" }),
    quiet,
  }),
  ...group("Machine", {
    ...machineSettings,
    service: setting(matching(/^https?:\/\/[^\s@/?#][^\s@?#]*$/, "an http or https URL without a password"), {
      placeholder: "url",
      defaultText: "none",
      help: "train the adapters as jobs of this mos serve, with the key in MOS_API_KEY, and only measure here",
    }),
  }),
};
const experiment = setting(z.enum(EXPERIMENTS), {
  required: true,
  help: "table1, table2, budget, capacity or figure1",
});
type Values = SettingValues<typeof options> &
  SettingValues<{ readonly experiment: typeof experiment }> & { readonly json: boolean };

export const command: ReturnType<typeof defineCommand> = defineCommand({
  description:
    "Reproduces tables 1 and 2 of the Mixture-of-Shards paper, its methods at equal budget, small adapters, or the grid of its figure 1, " +
    "on your model and data, with the same training for every method, several seeds and paired tests.",
  usage:
    "table1|table2|budget|capacity|figure1 --model <model> --train <file> --eval <file> --out <folder> [options]",
  arguments: { experiment },
  options,
  json: "events",
  examples: `
Examples:
  mos reproduce table2 --list --model model.gguf
      rows on this model: keys, ranks and trainable parameters

  mos reproduce table2 --model model.gguf --train train.jsonl --eval test.jsonl \\
      --learning-rates 1e-3,3e-3,1e-2 --steps 200 --seeds 5 --jobs 2 --out reproduction
      a learning rate per row: the search extends beyond the ends and refines to a factor of 1.5

  mos reproduce table2 --model model.gguf --train train.jsonl --eval test.jsonl --out reproduction \\
      --benchmarks mmlu,bbh,gsm8k,tydiqa,humaneval --benchmark-limit 100
      the paper's seven columns beside the validation loss

  mos reproduce table2 --model models/llama2-7b --base-dtype nf4 --train train.jsonl --eval test.jsonl --out reproduction
      an NF4 base, as in the paper

  mos reproduce figure1 --model model.gguf --train train.jsonl --eval test.jsonl --answers 0 --out reproduction

  mos reproduce table2 --redraw --out reproduction
      redraw the pictures from reproduction/table2.json

Ctrl-C saves a checkpoint and stops; the same command resumes. All rows run with one seed before the next seed starts, and
tables are rewritten after each run, so you can compare the rows early. The exit code is 1 while a result is missing.`,
  run,
});

/** Runs an experiment, shows how it goes, and returns the exit code. */
async function run(options: Values, { version }: { readonly version: string }): Promise<number> {
  const silent = options.quiet || options.json;
  if (options.redraw) {
    const files = await redraw(options.experiment, required("--out", options.out));
    if (options.json) printJson({ files });
    else if (!silent) printLine(files.join("\n"));
    return 0;
  }
  using line = liveLine({ silent });
  using interrupt = listenForInterrupt("stopping the cells after their update; the same command resumes", {
    silent,
    print: line.print,
  });
  const wanted = required("--model", options.model);
  // missing options are reported before a model is fetched
  const requested = options.list ? undefined : gridOptions(options);
  const model = await findModel(wanted, { signal: interrupt.signal, silent });
  if (requested === undefined) return await list(model, options);
  const { signal } = interrupt;
  const benchmarkFolder = await findBenchmarks(options, line, signal);
  const grid = { ...requested, benchmarkFolder, model, version, signal };
  return await watch(reproduce(grid), { line, options });
}

type Line = ReturnType<typeof liveLine>;

/** The data of the requested benchmarks, which are downloaded before anything is trained. */
async function findBenchmarks(
  { benchmarks: tasks, benchmarkData }: Values,
  line: Line,
  signal: AbortSignal,
): Promise<ReproduceOptions["benchmarkFolder"]> {
  if (tasks === undefined) return undefined;
  const { hub, benchmarks: folder } = await userPlaces();
  const show = pullProgress(() => performance.now());
  const events = findData({ tasks, data: benchmarkData ?? { hub, folder }, signal });
  return await withProgress(events, ({ transfer }) => show(transfer, line));
}

function required(flag: string, value: string | undefined): string {
  if (value !== undefined) return value;
  throw new MosError("bad_option", `required option '${flag}' not given; see mos reproduce --help`);
}

/** Converts the command line's options to those of the experiment. */
const gridOptions = (options: Values): Omit<ReproduceOptions, "model" | "version" | "signal"> => ({
  ...pick(
    { ...gridSettings, ...adapterSettings, ...baseSettings, ...machineSettings, ...benchmarkSettings },
    options,
  ),
  experiment: options.experiment,
  train: required("--train", options.train),
  evaluation: required("--eval", options.eval),
  out: required("--out", options.out),
  answers: options.answers,
  answerTokens: options.answerTokens,
  evaluationExamples: options.evalExamples,
  training: pick(trainingSettings, options),
  only: selectedRows(options),
  tuneTrain: options.tuneTrain,
  tuneEvaluation: options.tuneEval,
  keepAdapters: options.keepAdapters,
  service:
    options.service === undefined ? undefined : { url: options.service, key: process.env["MOS_API_KEY"] },
  ...thisRun(),
});

/** The rows of --only, with commas or spaces between them. */
const selectedRows = ({ only }: Values): readonly string[] | undefined =>
  only?.flatMap((words) => words.split(","));

/** The rows of an experiment on a model, without running anything. */
async function list(model: string, options: Values): Promise<number> {
  const shapes = toLayerShapes(await readModelConfig(model));
  const { experiment, alpha, dropout, targets, privateRanks, shards } = options;
  const axes = { privateRanks, shards };
  const plain = buildExperiment(experiment, { shapes, alpha, dropout, targets }, axes);
  const isAsked = options.benchmarks !== undefined && options.benchmarkFormat !== "none";
  const { rows: all, title } = isAsked ? withPlainBase(plain) : plain;
  const rows = selectRows(all, selectedRows(options));
  if (options.json) printJson({ experiment, title, rows });
  else printLine(`${title}\n\n${listText(rows)}`);
  return 0;
}

function listText(rows: readonly Row[]): string {
  const cells = rows.map(({ key, label, rank, trainable, notes, adapter }) => [
    key,
    label,
    rank,
    adapter === undefined ? "does not fit" : trainable === 0 ? "–" : trainable.toLocaleString("en-US"),
    notes.join("; "),
  ]);
  return textTable([["key", "row", "rank", "trainable", ""], ...cells], { left: [0, 1, 4] });
}

/** Shows how the cells go, and gives the exit code. */
async function watch(
  events: AsyncIterable<ReproduceEvent>,
  { line, options }: { readonly line: Line; readonly options: Values },
): Promise<number> {
  const { json } = options;
  const progress = reproduceProgress({ jobs: options.jobs, now: () => performance.now() });
  let code = 0;
  for await (const event of events) {
    if (json) printJson(event);
    if (event.type === "finish") {
      code = chooseExitCode(event);
      line.clear();
      if (!json && !options.quiet) printLine(progress.summary(event));
      continue;
    }
    const said = progress.take(event);
    if (said !== undefined) line.print(said);
    line.update(progress.text().split("  ·  "));
  }
  return code;
}

function chooseExitCode({ stopped, missing }: Extract<ReproduceEvent, { readonly type: "finish" }>): number {
  if (stopped) return 130; // 128 + SIGINT
  return missing > 0 ? 1 : 0;
}
