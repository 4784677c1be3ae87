// Everything that is written of an experiment: numbers as JSON, the table as Markdown, and pictures.
import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { writeFileAtomic } from "mixture-of-shards-core/files";
import { BENCHMARK_NAMES, type ChatFormat, markdownTable } from "#evaluation";
import type { Grid } from "./grid.ts";
import {
  type Format,
  isWithinRateStep,
  listWarnings,
  mainTable,
  namedRow,
  nameKey,
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

/** Writes the report again, each file as a whole. Returns their paths, and their summary for a terminal. */
export async function writeReport(grid: Grid, outcomes: readonly RowOutcome[]) {
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
    /** A head and a line for each row. */
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

/** Paragraphs of those that there are. */
const joined = (parts: readonly (string | undefined)[], between: string): string =>
  parts.filter((part) => part !== undefined && part !== "").join(between);

/** A list under a line; undefined without items. */
const bullets = (head: string, items: readonly string[]): string | undefined =>
  items.length === 0 ? undefined : `${head}\n\n${items.map((item) => `- ${item}`).join("\n")}`;

const probability = (p: number | undefined): string =>
  p === undefined ? "not available" : p < 0.0001 ? p.toExponential(1) : p.toFixed(4);

/** A metric in the units of the main table. */
function metricFormat(metric: Metric, rows: readonly RowSummary[]): Format & { readonly title: string } {
  if (metric === "validationLoss") return { title: "validation loss (negative is better)", digits: 4 };
  const title = (name: string): string => `${name} in points of % (positive is better)`;
  if (metric === "exactMatch") return { title: title("exact match"), digits: 1, factor: 100 };
  const column = listColumns(BENCHMARK_NAMES).find(({ key }) => key === metric);
  const trials = rows.flatMap((row) => row.trials);
  return {
    title: title(column?.title ?? metric),
    digits: columnDecimals(trials, metric, BENCHMARK_NAMES),
  };
}

/** A table for each reference row and metric. */
function comparisonTables(comparisons: readonly Comparison[], rows: readonly RowSummary[]): string {
  const familyKey = ({ metric, ours }: Comparison): string => `${metric} ${ours}`;
  return [...new Set(comparisons.map(familyKey))]
    .map((family) => comparisons.filter((one) => familyKey(one) === family))
    .map((family) => comparisonTable(family, rows))
    .join("\n\n");
}

function comparisonTable(family: readonly Comparison[], rows: readonly RowSummary[]): string {
  const [first] = family;
  if (first === undefined) return "";
  const { title, digits, factor = 1 } = metricFormat(first.metric, rows);
  const ours = nameKey(rows, first.ours);
  // where no model gets anything right there is nothing to test
  if (family.every(({ difference, test }) => difference === 0 && test === undefined))
    return `${ours}, ${title}: no pair differs.`;
  const hasSteps = family.some(({ rateStep }) => rateStep !== undefined);
  const head = [`${ours} against`, "Pairs", "Mean difference", "d_z", "t", "p", "p (Holm)"];
  const body = family.map((one) => [
    nameKey(rows, one.theirs),
    String(one.pairs),
    (one.difference * factor).toFixed(digits),
    plain(one.test?.effect, 2),
    plain(one.test?.t, 2),
    probability(one.test?.p),
    probability(one.adjusted),
    `${plain(one.rateStep, 4)}${isWithinRateStep(one) ? " (more than the difference)" : ""}`,
  ]);
  const lines = [[...head, "One step of the rates"], ...body];
  return `${ours}, ${title}:\n\n${markdownTable(hasSteps ? lines : lines.map((cells) => cells.slice(0, -1)))}`;
}

const failureLines = (rows: readonly RowSummary[]): readonly string[] =>
  rows.flatMap(({ failures }) =>
    failures.map(({ trial: { key, purpose, seed, learningRate }, message }) => {
      const which = purpose === "tune" ? "tuning" : `seed ${seed}`;
      return `${key}, ${which}, learning rate ${learningRate}: ${message.split("\n")[0]}`;
    }),
  );

/** Describes how cells shared the machine; times of rows that were run differently cannot be compared. */
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

function rateChoice({ settings: { learningRates, tuneSteps }, tuning }: Grid): string {
  if (learningRates.length === 1) return `Learning rate ${learningRates[0]} for all rows.`;
  const place = tuning.isSplit ? "held out of the training file" : `of ${basename(tuning.files.validation)}`;
  const seeds = `${plural(tuning.seeds.length, "seed")} of ${tuning.seeds.length === 1 ? "its" : "their"} own`;
  return `The learning rate of each row is the best of a grid that starts as ${learningRates.join(", ")}, continues beyond its ends where the best is there, and is refined to steps of at most ${FINEST_STEP} around the best: on ${plural(tuning.examples, "example")} ${place}, after ${plural(tuneSteps, "update")} with ${seeds}.`;
}

function settingsText(grid: Grid, measured: readonly RowSummary[]): string {
  const { options, settings, repeatedExamples } = grid;
  const { training, base, steps, seeds, alpha, dropout, evaluationExamples, answers, answerTokens } =
    settings;
  const rows = training.batchSize * training.gradientAccumulationSteps;
  const examples =
    evaluationExamples === undefined ? "all examples" : `the first ${evaluationExamples} examples`;
  const trained = training.maxExamples === undefined ? "" : `the first ${training.maxExamples} examples of `;
  const decay = training.weightDecay === 0 ? "" : `, weight decay ${training.weightDecay}`;
  const kept = base.baseDtype === "stored" ? "as its file stores them" : `kept as ${base.baseDtype}`;
  return joined(
    [
      `${basename(options.model)}, trained on ${trained}${basename(options.train)}, measured on ${examples} of ${basename(options.evaluation)}.`,
      `The base's weights are ${kept}, and its products computed in ${base.computeDtype}.`,
      repeatedExamples > 0
        ? `${plural(repeatedExamples, "test example")} can also be found in the training file.`
        : undefined,
      `${steps} updates of ${rows} ${training.packing ? "packed " : ""}rows of up to ${training.maxLength} tokens, ${training.schedule} schedule, warm-up ${training.warmup}, gradient norm ${training.maxGradientNorm}, alpha ${alpha}, dropout ${dropout}${decay}; ${plural(seeds, "seed")}.`,
      rateChoice(grid),
      machineText(measured),
      answers > 0
        ? `Exact match of greedy answers of up to ${answerTokens} tokens to the first ${answers} examples.`
        : undefined,
    ],
    "\n",
  );
}

const FORMATS: Readonly<Record<ChatFormat, string>> = {
  tulu: "in Tulu's chat format",
  model: "in the model's own chat format",
  none: "without a chat format",
};

/** Whose rules, how many questions, and what the paper does otherwise. */
function benchmarkText({ settings, benchmarks, options }: Grid, rows: readonly RowSummary[]): string {
  const requested = settings.benchmarks;
  if (requested === undefined) return "";
  const scores = rows.flatMap(({ trials }) => trials.flatMap((trial) => trial.benchmarks ?? []));
  const asked: string[] = [];
  const remarks: string[] = [];
  for (const { task, shots, notes } of benchmarks) {
    const own = scores.filter((score) => score.task === task);
    const [{ questions = requested.limit } = {}] = own;
    const count = questions === undefined ? "all questions" : plural(questions, "question");
    const tooLong = Math.max(0, ...own.map((score) => score.tooLong));
    asked.push(`${task} (${count}, ${shots}-shot)`);
    remarks.push(...notes.map((note) => `${task}: ${note}`));
    if (tooLong > 0)
      remarks.push(`${task}: ${tooLong} of ${count} without room for an answer, which count as wrong`);
  }
  const about = [
    `Benchmarks by ${requested.rules}'s rules, ${FORMATS[requested.format]}: ${asked.join(", ")}.`,
    `All use the same adapters, trained on ${basename(options.train)}. In the paper, MMLU with TyDi QA, BBH, GSM8K and HumanEval each`,
    "have a training set of their own, so only the columns on the training file's topic can be compared with the paper's.",
    listColumns(requested.tasks).some(({ key }) => key === "average")
      ? "Avg. is the mean of the benchmark columns before it."
      : undefined,
  ];
  return joined([joined(about, "\n"), bullets("Of the benchmarks:", remarks)], "\n\n");
}

const LEGEND = [
  "Means over seeds ± sample standard deviation. Losses are nats per trained token. Time per step is the median update,",
  "relative to the first LoRA row. Peak memory is that of the cell's process, without its answers.",
].join("\n");

const RATES =
  "## Learning rates\n\nTuning losses: means over the tuning seeds, on examples that no row is measured on. One step of the finished grid to\neither side of the best rate changes them by as much as shown.";
const TESTS =
  "## Paired tests\n\nTwo-sided t tests over seeds, ours − theirs; p adjusted by Holm within each table. Not available for fewer than two pairs, and for\ndifferences that are all the same.";

/** The content of the report, and the names of its pictures. */
interface ReportParts {
  readonly rows: readonly RowSummary[];
  readonly comparisons: readonly Comparison[];
  readonly pictures: readonly string[];
}

/** The whole report of an experiment. */
export function formatReport(grid: Grid, { rows, comparisons, pictures }: ReportParts): string {
  const { experiment, options } = grid;
  const notes = rows.flatMap(({ row }) => row.notes.map((text) => `${namedRow(row)}: ${text}`));
  const rates = rateTable(rows);
  const tests = comparisonTables(comparisons, rows);
  const parts = [
    `# ${experiment.title}`,
    settingsText(grid, rows),
    markdownTable(mainTable(rows, grid, { withCosts: true })),
    LEGEND,
    benchmarkText(grid, rows),
    bullets("Where rows differ from the paper's:", notes),
    ...pictures.map((name) => `![${name.replace(/\.svg$/, "")}](${name})`),
    bullets("Before rows are compared:", listWarnings(grid, rows, comparisons)),
    rates.length === 0 ? undefined : `${RATES}\n\n${markdownTable(rates)}`,
    tests === "" ? undefined : `${TESTS}\n\n${tests}`,
    bullets("## Failed cells", failureLines(rows)),
    options.command === undefined ? undefined : `## Command\n\n\`\`\`sh\n${options.command}\n\`\`\``,
  ];
  return `${joined(parts, "\n\n")}\n`;
}
