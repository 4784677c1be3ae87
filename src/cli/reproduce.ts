import { MosError } from "#core";
import type { TaskName } from "#evaluation";
import {
  type BenchmarkOptions,
  EXPERIMENTS,
  type ExperimentName,
  experimentOf,
  FIGURE_AXES,
  type ReproduceOptions as GridOptions,
  type ReproduceEvent,
  type Row,
  reproduce,
  withPlainBase,
} from "#experiments";
import { geometryOf, readModelConfig } from "#recipes";
import { findModel } from "./base-model.ts";
import { findBenchmarks } from "./benchmark-data.ts";
import { type Interrupt, listenForInterrupt } from "./interrupt.ts";
import { given } from "./option-values.ts";
import { formatInteger, type LiveLine } from "./progress.ts";
import type { ReproduceOptions } from "./reproduce-command.ts";
import { reproduceProgress } from "./reproduce-progress.ts";
import { liveLine, sayJson, sayLine } from "./terminal.ts";
import { textTable } from "./text-table.ts";
import { thisRun } from "./this-run.ts";

const EXIT_MISSING = 1;
const EXIT_INTERRUPTED = 130;

/** Runs an experiment, tells how it goes, and returns the exit code. */
export async function runReproduce(
  name: string,
  options: ReproduceOptions,
  version: string,
): Promise<number> {
  const experiment = EXPERIMENTS.find((known) => known === name);
  if (experiment === undefined)
    throw new MosError(
      "bad_option",
      `there is no experiment "${name}" to reproduce; there are ${EXPERIMENTS.join(", ")}`,
    );
  const silent = options.quiet === true || options.json === true;
  let line: LiveLine | undefined;
  using interrupt = listenForInterrupt(() =>
    line?.print("stopping the cells after their update; the same command goes on. Ctrl-C again ends at once"),
  );
  const wanted = required("--model", options.model);
  // what is missing is said before a model is fetched
  const asked = options.list === true ? undefined : gridOptions(experiment, options);
  const model = await findModel(wanted, { signal: interrupt.signal, silent });
  if (asked === undefined) return await list(experiment, model, options);
  using live = liveLine({ silent });
  line = live;
  const benchmarks = await benchmarksOf(options, { line: live, interrupt });
  const grid = { ...asked, ...given({ benchmarks }), model, version, signal: interrupt.signal };
  return await watch(reproduce(grid), { line: live, options });
}

/** Data that are not given are fetched before anything is trained. */
async function benchmarksOf(
  options: ReproduceOptions,
  at: { readonly line: LiveLine; readonly interrupt: Interrupt },
): Promise<BenchmarkOptions | undefined> {
  const { benchmarks: tasks, benchmarkData: data } = options;
  if (tasks === undefined) return undefined;
  const folders: ReadonlyMap<TaskName, string> = await findBenchmarks({ data, tasks }, at);
  return {
    tasks,
    dataFolder: (task) => folders.get(task) ?? "",
    rules: options.benchmarkRules,
    limit: options.benchmarkLimit,
    samples: options.benchmarkSamples,
    shots: options.benchmarkShots,
    format: options.benchmarkFormat,
  };
}

function required(flag: string, value: string | undefined): string {
  if (value !== undefined) return value;
  throw new MosError("bad_option", `required option '${flag}' not given; see mos reproduce --help`);
}

/** What the options of the command line are to the experiment. */
function gridOptions(
  experiment: ExperimentName,
  options: ReproduceOptions,
): Omit<GridOptions, "model" | "version" | "signal"> {
  const { batchSize, accumulate, maxLength, packing, schedule, warmup, weightDecay, maxGradientNorm } =
    options;
  const {
    promptFormat,
    system,
    examples,
    seeds,
    steps,
    learningRates,
    alpha,
    dropout,
    answers,
    answerTokens,
  } = options;
  const { privateRanks, shards, jobs } = options;
  return {
    experiment,
    train: required("--train", options.train),
    evaluation: required("--eval", options.eval),
    out: required("--out", options.out),
    ...{ seeds, steps, learningRates, alpha, dropout, answers, answerTokens, jobs },
    training: {
      ...{
        batchSize,
        accumulate,
        maxLength,
        packing,
        schedule,
        warmup,
        weightDecay,
        maxGradientNorm,
        promptFormat,
      },
      ...given({ system, examples }),
    },
    axes: given({ privateRanks, shards }),
    ...given({
      only: options.only?.flatMap((words) => words.split(",")),
      tuneSteps: options.tuneSteps,
      tuneSeeds: options.tuneSeeds,
      tuneExamples: options.tuneExamples,
      tuneTrain: options.tuneTrain,
      tuneEvaluation: options.tuneEval,
      evaluationExamples: options.evalExamples,
      threads: options.threads,
    }),
    keepAdapters: options.keepAdapters === true,
    ...thisRun(),
  };
}

/** The rows of an experiment on a model, without running anything. */
async function list(experiment: ExperimentName, model: string, options: ReproduceOptions): Promise<number> {
  const geometry = geometryOf(await readModelConfig(model));
  const { alpha, dropout, privateRanks, shards } = options;
  const axes = { ...FIGURE_AXES, ...given({ privateRanks, shards }) };
  const plain = experimentOf(experiment, { geometry, alpha, dropout }, axes);
  const isAsked = options.benchmarks !== undefined && options.benchmarkFormat !== "none";
  const { rows, title } = isAsked ? withPlainBase(plain) : plain;
  if (options.json === true) sayJson({ experiment, title, rows });
  else sayLine(`${title}\n\n${listText(rows)}`);
  return 0;
}

function listText(rows: readonly Row[]): string {
  const cells = rows.map(({ key, label, rank, trainable, notes, adapter }) => [
    key,
    label,
    rank,
    adapter === undefined ? "does not fit" : trainable === 0 ? "–" : formatInteger(trainable),
    notes.join("; "),
  ]);
  return textTable([["key", "row", "rank", "trainable", ""], ...cells], { left: [0, 1, 4] });
}

interface Watching {
  readonly line: LiveLine;
  readonly options: ReproduceOptions;
}

/** Shows how the cells go, and gives the exit code. */
async function watch(events: AsyncIterable<ReproduceEvent>, { line, options }: Watching): Promise<number> {
  const json = options.json === true;
  const progress = reproduceProgress({ jobs: options.jobs, now: () => performance.now() });
  let code = 0;
  for await (const event of events) {
    if (json) sayJson(event);
    if (event.type === "end") {
      code = exitCodeOf(event);
      line.clear();
      if (!json && options.quiet !== true) sayLine(progress.summary(event));
      continue;
    }
    const said = progress.take(event);
    if (said !== undefined) line.print(said);
    line.update(progress.text());
  }
  return code;
}

function exitCodeOf({ stopped, missing }: Extract<ReproduceEvent, { readonly type: "end" }>): number {
  if (stopped) return EXIT_INTERRUPTED;
  return missing > 0 ? EXIT_MISSING : 0;
}
