// Everything that is written of an experiment: numbers as JSON, the table as Markdown, and pictures.
import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { writeFileAtomic } from "mixture-of-shards/cli";
import { BENCHMARK_NAMES, type ChatFormat, markdownTable } from "#evaluation";
import type { Grid } from "./grid.ts";
import {
  type Format,
  isWithinRateStep,
  listWarnings,
  mainTable,
  namedRow,
  plain,
  plural,
  rateTable,
} from "./main-table.ts";
import { drawPictures, PICTURES, readReport, storedReport } from "./pictures.ts";
import { FINEST_STEP, findRateSteps } from "./rate-search.ts";
import {
  type Comparison,
  columnDecimals,
  compareRows,
  listColumns,
  type Metric,
  type RowOutcome,
  type RowSummary,
  summarizeRows,
} from "./summary.ts";
import type { ExperimentName } from "./tables.ts";

/** Everything that was found, for programs. */
function formatJson(grid: Grid, rows: readonly RowSummary[], comparisons: readonly Comparison[]): string {
  const { options, settings, experiment, digests, tuning, repeatedExamples } = grid;
  const { version, command, environment, model, train, evaluation, jobs = 1, threads } = options;
  const value = {
    format: 1,
    experiment: experiment.name,
    title: experiment.title,
    program: { version, command, ...environment },
    files: { model, train, evaluation, digests },
    settings: { ...settings, jobs, threads, tuningExamples: tuning.examples, repeatedExamples },
    tuning: { seeds: tuning.seeds, ...tuning.identity },
    ...(grid.benchmarks.length === 0 ? {} : { benchmarks: grid.benchmarks }),
    rows: rows.map(({ row, trials, ...rest }) => ({
      ...row,
      cells: trials,
      ...rest,
      rateSteps: findRateSteps(rest.tuning),
    })),
    comparisons,
    warnings: listWarnings(grid, rows, comparisons),
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** What was written, and what a terminal shows of it. */
export interface Report {
  readonly files: readonly string[];
  /** A head and a line for each row. */
  readonly table: readonly (readonly string[])[];
  readonly rates: readonly (readonly string[])[];
  readonly warnings: readonly string[];
}

/** Writes the report again, each file as a whole. */
export async function writeReport(grid: Grid, outcomes: readonly RowOutcome[]): Promise<Report> {
  const { experiment, options } = grid;
  const { tasks } = grid.settings.benchmarks ?? { tasks: [] };
  const rows = summarizeRows(outcomes, tasks);
  const comparisons = compareRows(outcomes, experiment.references, tasks);
  const json = formatJson(grid, rows, comparisons);
  // from what is stored, as they are drawn again later
  const pictures = drawPictures(storedReport.parse(JSON.parse(json)));
  const texts: Readonly<Record<string, string>> = {
    [`${experiment.name}.json`]: json,
    ...pictures,
    [`${experiment.name}.md`]: formatReport(grid, { rows, comparisons, pictures: Object.keys(pictures) }),
  };
  const files = await writeTexts(options.out, experiment.name, texts);
  return {
    files,
    table: mainTable(rows, grid, { withCosts: false }),
    rates: rateTable(rows).map((cells) => cells.slice(0, -1)),
    warnings: listWarnings(grid, rows, comparisons),
  };
}

/**
 * Draws the pictures of a finished or unfinished experiment again, from the JSON in its folder.
 *
 * @returns the files written.
 * @throws MosError `not_found`: the folder has no such experiment; `bad_data`: its JSON is not a report's.
 */
export async function redraw(experiment: ExperimentName, folder: string): Promise<readonly string[]> {
  return writeTexts(folder, experiment, drawPictures(await readReport(folder, experiment)));
}

/** Writes files whole, and removes pictures from other settings: these are not part of the report. */
async function writeTexts(
  folder: string,
  experiment: ExperimentName,
  texts: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  const files = Object.entries(texts).map(([name, text]) => ({ path: join(folder, name), text }));
  for (const { path, text } of files) await writeFileAtomic(path, text);
  const names = PICTURES.map((kind) => `${experiment}-${kind}.svg`);
  for (const name of names) if (!(name in texts)) await rm(join(folder, name), { force: true });
  return files.map(({ path }) => path);
}

// --- Markdown

const p = (value: number | undefined): string =>
  value === undefined ? "not available" : value < 0.0001 ? value.toExponential(1) : value.toFixed(4);

/** In the units of the main table. */
const METRICS: Readonly<Record<"validationLoss" | "exactMatch", Format & { readonly title: string }>> = {
  validationLoss: { title: "validation loss (negative is better)", digits: 4 },
  exactMatch: { title: "exact match in points of % (positive is better)", digits: 1, factor: 100 },
};

function metricFormat(metric: Metric, rows: readonly RowSummary[]): Format & { readonly title: string } {
  if (metric === "validationLoss" || metric === "exactMatch") return METRICS[metric];
  const column = listColumns(BENCHMARK_NAMES).find(({ key }) => key === metric);
  const trials = rows.flatMap((row) => row.trials);
  const digits = columnDecimals(trials, metric, BENCHMARK_NAMES);
  return { title: `${column?.title ?? metric} in points of % (positive is better)`, digits };
}

const stepText = (comparison: Comparison): string =>
  `${plain(comparison.rateStep, 4)}${isWithinRateStep(comparison) ? " (more than the difference)" : ""}`;

function comparisonTables(comparisons: readonly Comparison[], rows: readonly RowSummary[]): string {
  const named = (key: string): string => {
    const found = rows.find(({ row }) => row.key === key);
    return found === undefined ? key : namedRow(found.row);
  };
  const families = [...new Set(comparisons.map(({ metric, ours }) => `${metric} ${ours}`))];
  return families
    .map((family) => {
      const members = comparisons.filter(({ metric, ours }) => `${metric} ${ours}` === family);
      const [first] = members;
      if (first === undefined) return "";
      const { title, digits, factor = 1 } = metricFormat(first.metric, rows);
      // where no model gets anything right there is nothing to test
      if (members.every(({ difference, test }) => difference === 0 && test === undefined))
        return `${named(first.ours)}, ${title}: no pair differs.`;
      const head = [`${named(first.ours)} against`, "Pairs", "Mean difference", "d_z", "t", "p", "p (Holm)"];
      const hasSteps = members.some(({ rateStep }) => rateStep !== undefined);
      const body = members.map((one) => [
        named(one.theirs),
        String(one.pairs),
        (one.difference * factor).toFixed(digits),
        plain(one.test?.effect, 2),
        plain(one.test?.t, 2),
        p(one.test?.p),
        p(one.adjusted),
        ...(hasSteps ? [stepText(one)] : []),
      ]);
      if (hasSteps) head.push("One step of the rates");
      return `${named(first.ours)}, ${title}:\n\n${markdownTable([head, ...body])}`;
    })
    .join("\n\n");
}

/** How rates were found; nothing where there was one for all. */
function rateText(rows: readonly RowSummary[]): readonly string[] {
  const [head, ...lines] = rateTable(rows);
  if (head === undefined) return [];
  return [
    "## Learning rates",
    "Tuning losses: means over the tuning seeds, on examples that no row is measured on. One step of the finished grid to\neither side of the best rate changes them by as much as shown.",
    markdownTable([head, ...lines]),
  ];
}

const failureText = (rows: readonly RowSummary[]): readonly string[] =>
  rows.flatMap(({ failures }) =>
    failures.map(({ trial, message }) => {
      const which = trial.purpose === "tune" ? "tuning" : `seed ${trial.seed}`;
      return `- ${trial.key}, ${which}, learning rate ${trial.learningRate}: ${message.split("\n")[0]}`;
    }),
  );

/** How the cells shared the machine; times of rows that were run otherwise cannot be compared. */
function machineText(rows: readonly RowSummary[]): string {
  const ways = new Set(
    rows.flatMap(({ trials }) =>
      trials.map(
        ({ jobs, threads }) =>
          `${plural(jobs, "cell")} at a time${threads === undefined ? "" : ` with ${plural(threads, "thread")} each`}`,
      ),
    ),
  );
  const warning = ways.size > 1 ? "; times of rows that differ in this cannot be compared" : "";
  return ways.size === 0 ? "Nothing was run yet." : `Run ${[...ways].join(", or ")}${warning}.`;
}

const baseText = ({ base: { baseDtype, computeDtype } }: Grid["settings"]): string =>
  `The base's weights are ${baseDtype === "stored" ? "as its file stores them" : `kept as ${baseDtype}`}, and its products computed in ${computeDtype}.`;

function settingsText(
  { options, settings, tuning, repeatedExamples }: Grid,
  measured: readonly RowSummary[],
): string {
  const { training, steps, seeds, alpha, dropout, learningRates, tuneSteps, evaluationExamples } = settings;
  const rows = training.batchSize * training.gradientAccumulationSteps;
  const examples =
    evaluationExamples === undefined ? "all examples" : `the first ${evaluationExamples} examples`;
  const trained = training.maxExamples === undefined ? "" : `the first ${training.maxExamples} examples of `;
  const decay = training.weightDecay === 0 ? "" : `, weight decay ${training.weightDecay}`;
  return [
    `${basename(options.model)}, trained on ${trained}${basename(options.train)}, measured on ${examples} of ${basename(options.evaluation)}.`,
    baseText(settings),
    ...(repeatedExamples === 0
      ? []
      : [
          `${plural(repeatedExamples, "example")} of those measured on can be found in the training file, too.`,
        ]),
    `${steps} updates of ${rows} ${training.packing ? "packed " : ""}rows of up to ${training.maxLength} tokens, ${training.schedule} schedule, warm-up ${training.warmup}, gradient norm ${training.maxGradientNorm}, alpha ${alpha}, dropout ${dropout}${decay}; ${plural(seeds, "seed")}.`,
    learningRates.length > 1
      ? `The learning rate of each row is the best of a grid that starts as ${learningRates.join(", ")}, continues beyond its ends where the best is there, and is refined to steps of at most ${FINEST_STEP} around the best: on ${plural(tuning.examples, "example")} ${tuning.isSplit ? "held out of the training file" : `of ${basename(tuning.files.validation)}`}, after ${plural(tuneSteps, "update")} with ${plural(tuning.seeds.length, "seed")} of ${tuning.seeds.length === 1 ? "its" : "their"} own.`
      : `Learning rate ${learningRates[0]} for all rows.`,
    machineText(measured),
    ...(settings.answers > 0
      ? [
          `Exact match of greedy answers of up to ${settings.answerTokens} tokens to the first ${settings.answers} examples.`,
        ]
      : []),
  ].join("\n");
}

/** Of each benchmark how many questions were asked, and what is to be known of its scores. */
function aboutBenchmarks(
  { settings, benchmarks }: Grid,
  rows: readonly RowSummary[],
): { readonly tasks: readonly string[]; readonly notes: readonly string[] } {
  const scores = rows.flatMap(({ trials }) => trials.flatMap((trial) => trial.benchmarks ?? []));
  const about = benchmarks.map(({ task, shots, notes }) => {
    const own = scores.filter((score) => score.task === task);
    const [{ questions = settings.benchmarks?.limit } = {}] = own;
    const count = questions === undefined ? "all questions" : plural(questions, "question");
    const tooLong = Math.max(0, ...own.map((score) => score.tooLong));
    const room = `${tooLong} of ${count} without room for an answer, which count as wrong`;
    const all = tooLong === 0 ? notes : [...notes, room];
    return { text: `${task} (${count}, ${shots}-shot)`, notes: all.map((note) => `- ${task}: ${note}`) };
  });
  return { tasks: about.map(({ text }) => text), notes: about.flatMap(({ notes }) => notes) };
}

const FORMATS: Readonly<Record<ChatFormat, string>> = {
  tulu: "in Tulu's chat format",
  model: "in the model's own chat format",
  none: "without a chat format",
};

/** Whose rules, how many questions, and what the paper does otherwise. */
function benchmarkText(grid: Grid, rows: readonly RowSummary[]): readonly string[] {
  const requested = grid.settings.benchmarks;
  if (requested === undefined) return [];
  const { tasks, notes } = aboutBenchmarks(grid, rows);
  return [
    [
      `Benchmarks by ${requested.rules}'s rules, ${FORMATS[requested.format]}: ${tasks.join(", ")}.`,
      `All of them are asked of the same adapters, trained on ${basename(grid.options.train)}: in the paper MMLU and TyDi QA, BBH, GSM8K`,
      "and HumanEval have a training set each, so columns of other topics than the training file's cannot be compared with its own.",
      ...(listColumns(requested.tasks).length > 1
        ? ["Avg. is the mean of the columns of benchmarks before it."]
        : []),
    ].join("\n"),
    ...(notes.length === 0 ? [] : [`Of the benchmarks:\n\n${notes.join("\n")}`]),
  ];
}

const LEGEND = [
  "Means over seeds ± sample standard deviation. Losses are nats per trained token. Time per step is the median update,",
  "relative to the first LoRA row. Peak memory is that of the cell's process, answers left out.",
].join("\n");

/** What the report shows, and the names of its pictures. */
export interface ReportParts {
  readonly rows: readonly RowSummary[];
  readonly comparisons: readonly Comparison[];
  readonly pictures: readonly string[];
}

/** The whole report of an experiment. */
export function formatReport(grid: Grid, { rows, comparisons, pictures }: ReportParts): string {
  const { experiment, options } = grid;
  const notes = rows.flatMap(({ row }) => row.notes.map((text) => `- ${namedRow(row)}: ${text}`));
  const failures = failureText(rows);
  const warnings = listWarnings(grid, rows, comparisons);
  const tests = comparisonTables(comparisons, rows);
  return `${[
    `# ${experiment.title}`,
    settingsText(grid, rows),
    markdownTable(mainTable(rows, grid, { withCosts: true })),
    LEGEND,
    ...benchmarkText(grid, rows),
    ...(notes.length === 0 ? [] : [`Where rows differ from the paper's:\n\n${notes.join("\n")}`]),
    ...pictures.map((name) => `![${name.replace(/\.svg$/, "")}](${name})`),
    ...(warnings.length === 0
      ? []
      : [`Before rows are compared:\n\n${warnings.map((text) => `- ${text}`).join("\n")}`]),
    ...rateText(rows),
    ...(tests === ""
      ? []
      : [
          `## Paired tests\n\nTwo-sided t tests over seeds, ours − theirs; p adjusted by Holm within each table. Not available for fewer than two pairs, and for\ndifferences that are all the same.\n\n${tests}`,
        ]),
    ...(failures.length === 0 ? [] : [`## Failed cells\n\n${failures.join("\n")}`]),
    ...(options.command === undefined ? [] : [`## Command\n\n\`\`\`sh\n${options.command}\n\`\`\``]),
  ].join("\n\n")}\n`;
}
