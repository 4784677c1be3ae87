// The table in the paper's layout, and what is needed to read it.
import { basename } from "node:path";
import { type ChatFormat, TASK_NAMES } from "#evaluation";
import { type Column, columnsOf } from "./columns.ts";
import type { Row } from "./fit-row.ts";
import type { Grid } from "./grid.ts";
import type { Comparison, Metric, RowSummary } from "./report.ts";
import type { Summary } from "./statistics.ts";

const MISSING = "–";

interface Format {
  readonly digits: number;
  readonly factor?: number;
}

/** `0.7432 ± 0.0021`; the spread only where there is one. */
function spread(summary: Summary | undefined, { digits, factor = 1 }: Format): string {
  if (summary === undefined) return MISSING;
  const mean = (summary.mean * factor).toFixed(digits);
  return summary.deviation === undefined ? mean : `${mean} ± ${(summary.deviation * factor).toFixed(digits)}`;
}

const plain = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? MISSING;

const p = (value: number | undefined): string =>
  value === undefined ? "not available" : value < 0.0001 ? value.toExponential(1) : value.toFixed(4);

const tableOf = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, column) => (column === 0 ? "---" : "---:")), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");

const namedRow = ({ label, rank, adapter }: Row): string => (adapter === null ? label : `${label} r=${rank}`);

function mainTable(
  rows: readonly RowSummary[],
  { hasAnswers, columns }: { readonly hasAnswers: boolean; readonly columns: readonly Column[] },
): string {
  const head = ["Method", "Rank", "# Param.", "Held-out loss"];
  if (hasAnswers) head.push("Exact match (%)");
  head.push(...columns.map(({ title }) => `${title} (%)`));
  head.push("Time per step", "Tokens/s", "Peak memory (GB)", "Learning rate", "Seeds");
  return tableOf(
    head,
    rows.map((one) => {
      const { row, cells, expected } = one;
      return [
        row.label,
        row.rank,
        row.trainable === 0 ? MISSING : row.trainable.toLocaleString("en-US"),
        spread(one.heldOutLoss, { digits: 4 }),
        ...(hasAnswers ? [spread(one.exactMatch, { digits: 1, factor: 100 })] : []),
        ...columns.map(({ key }) => spread(one.scores?.[key], { digits: 2 })),
        one.relativeTime === undefined ? MISSING : `${one.relativeTime.toFixed(2)} ×`,
        plain(one.tokensPerSecond?.mean, 0),
        plain(one.peakMemoryBytes && one.peakMemoryBytes.mean / 1e9, 2),
        one.learningRate === undefined ? MISSING : String(one.learningRate),
        row.adapter === undefined
          ? "does not fit"
          : row.adapter === null
            ? MISSING
            : `${cells.length} of ${expected}`,
      ];
    }),
  );
}

/** In the units of the main table. */
const METRICS: Readonly<Record<"heldOutLoss" | "exactMatch", Format & { readonly title: string }>> = {
  heldOutLoss: { title: "held-out loss (negative is better)", digits: 4 },
  exactMatch: { title: "exact match in points of % (positive is better)", digits: 1, factor: 100 },
};

function formatOf(metric: Metric): Format & { readonly title: string } {
  if (metric === "heldOutLoss" || metric === "exactMatch") return METRICS[metric];
  const column = columnsOf(TASK_NAMES).find(({ key }) => key === metric);
  return { title: `${column?.title ?? metric} in points of % (positive is better)`, digits: 2 };
}

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
      const { title, digits, factor = 1 } = formatOf(first.metric);
      // where no model gets anything right there is nothing to test
      if (members.every(({ difference, test }) => difference === 0 && test === undefined))
        return `${named(first.ours)}, ${title}: no pair differs.`;
      const head = [`${named(first.ours)} against`, "Pairs", "Mean difference", "d_z", "t", "p", "p (Holm)"];
      const body = members.map(({ theirs, pairs, difference, test, adjusted }) => [
        named(theirs),
        String(pairs),
        (difference * factor).toFixed(digits),
        plain(test?.effect, 2),
        plain(test?.t, 2),
        p(test?.p),
        p(adjusted),
      ]);
      return `${named(first.ours)}, ${title}:\n\n${tableOf(head, body)}`;
    })
    .join("\n\n");
}

/** What each rate came to, and where a wider choice might have found a better one. */
function rateText(rows: readonly RowSummary[], rates: readonly number[]): string {
  const tuned = rows.filter(({ tuning }) => tuning.some(({ heldOutLoss }) => heldOutLoss !== undefined));
  if (tuned.length === 0) return "";
  const losses = tableOf(
    ["Method", ...rates.map(String)],
    tuned.map(({ row, tuning }) => [
      namedRow(row),
      ...rates.map((rate) => plain(tuning.find(({ learningRate }) => learningRate === rate)?.heldOutLoss, 4)),
    ]),
  );
  const at = (end: "lowest" | "highest"): string => {
    const rate = end === "lowest" ? Math.min(...rates) : Math.max(...rates);
    const names = tuned.filter(({ learningRate }) => learningRate === rate).map(({ row }) => namedRow(row));
    return names.length === 0 ? "" : `Best at the ${end} rate tried, ${rate}: ${names.join(", ")}.`;
  };
  const ends = [at("lowest"), at("highest")].filter((text) => text !== "");
  const warning =
    "These may do better at a rate that was not tried, and rows beside them may only seem to win.";
  return [losses, ...(ends.length === 0 ? [] : [[...ends, warning].join("\n")])].join("\n\n");
}

const failureText = (rows: readonly RowSummary[]): readonly string[] =>
  rows.flatMap(({ failures }) =>
    failures.map(({ cell, message }) => {
      const which = cell.purpose === "tune" ? "tuning" : `seed ${cell.seed}`;
      return `- ${cell.key}, ${which}, learning rate ${cell.learningRate}: ${message.split("\n")[0]}`;
    }),
  );

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** How the cells shared the machine; times of rows that were run otherwise cannot be compared. */
function machineText(rows: readonly RowSummary[]): string {
  const ways = new Set(
    rows.flatMap(({ cells }) =>
      cells.map(
        ({ jobs, threads }) =>
          `${plural(jobs, "cell")} at a time${threads === undefined ? "" : ` with ${plural(threads, "thread")} each`}`,
      ),
    ),
  );
  const warning = ways.size > 1 ? "; times of rows that differ in this cannot be compared" : "";
  return ways.size === 0 ? "Nothing was run yet." : `Run ${[...ways].join(", or ")}${warning}.`;
}

function settingsText(
  { options, settings, tuningExamples, repeatedExamples }: Grid,
  measured: readonly RowSummary[],
): string {
  const { training, steps, seeds, alpha, dropout, learningRates, tuneSteps, evaluationExamples } = settings;
  const rows = training.batchSize * training.accumulate;
  const examples =
    evaluationExamples === undefined ? "all examples" : `the first ${evaluationExamples} examples`;
  const trained = training.examples === undefined ? "" : `the first ${training.examples} examples of `;
  const decay = training.weightDecay === 0 ? "" : `, weight decay ${training.weightDecay}`;
  return [
    `${basename(options.model)}, trained on ${trained}${basename(options.train)}, measured on ${examples} of ${basename(options.evaluation)}.`,
    ...(repeatedExamples === 0
      ? []
      : [
          `${plural(repeatedExamples, "example")} of those measured on can be found in the training file, too.`,
        ]),
    `${steps} updates of ${rows} ${training.packing ? "packed " : ""}rows of up to ${training.maxLength} tokens, ${training.schedule} schedule, warm-up ${training.warmup}, gradient norm ${training.maxGradientNorm}, alpha ${alpha}, dropout ${dropout}${decay}; ${plural(seeds, "seed")}.`,
    learningRates.length > 1
      ? `The learning rate of each row is the best of ${learningRates.join(", ")} on ${tuningExamples} examples held out of the training file, after ${tuneSteps} updates with a seed of its own.`
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
  const scores = rows.flatMap(({ cells }) => cells.flatMap((cell) => cell.benchmarks ?? []));
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
  const asked = grid.settings.benchmarks;
  if (asked === undefined) return [];
  const { tasks, notes } = aboutBenchmarks(grid, rows);
  return [
    [
      `Benchmarks by ${asked.rules}'s rules, ${FORMATS[asked.format]}: ${tasks.join(", ")}.`,
      `All of them are asked of the same adapters, trained on ${basename(grid.options.train)}: in the paper MMLU and TyDi QA, BBH, GSM8K`,
      "and HumanEval have a training set each, so columns of other topics than the training file's cannot be compared with its own.",
      ...(columnsOf(asked.tasks).length > 1
        ? ["Avg. is the mean of the columns of benchmarks before it."]
        : []),
    ].join("\n"),
    ...(notes.length === 0 ? [] : [`Of the benchmarks:\n\n${notes.join("\n")}`]),
  ];
}

const HOW_TO_READ = [
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
export function markdownOf(grid: Grid, { rows, comparisons, pictures }: ReportParts): string {
  const { experiment, options, settings } = grid;
  const hasAnswers = rows.some(({ exactMatch }) => exactMatch !== undefined);
  const notes = rows.flatMap(({ row }) => row.notes.map((text) => `- ${namedRow(row)}: ${text}`));
  const failures = failureText(rows);
  const rates = rateText(rows, settings.learningRates);
  const tests = comparisonTables(comparisons, rows);
  return `${[
    `# ${experiment.title}`,
    settingsText(grid, rows),
    mainTable(rows, { hasAnswers, columns: columnsOf(settings.benchmarks?.tasks ?? []) }),
    HOW_TO_READ,
    ...benchmarkText(grid, rows),
    ...(notes.length === 0 ? [] : [`Where rows differ from the paper's:\n\n${notes.join("\n")}`]),
    ...pictures.map((name) => `![${name.replace(/\.svg$/, "")}](${name})`),
    ...(rates === "" ? [] : [`## Learning rates\n\nLosses on the part held out for tuning.\n\n${rates}`]),
    ...(tests === ""
      ? []
      : [
          `## Paired tests\n\nTwo-sided t tests over seeds, ours − theirs; p adjusted by Holm within each table. Not available for fewer than two pairs, and for\ndifferences that are all the same.\n\n${tests}`,
        ]),
    ...(failures.length === 0 ? [] : [`## Failed cells\n\n${failures.join("\n")}`]),
    ...(options.command === undefined ? [] : [`## Command\n\n\`\`\`sh\n${options.command}\n\`\`\``]),
  ].join("\n\n")}\n`;
}
