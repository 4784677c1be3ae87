// The table in the paper's layout, and what is needed to read it.
import { basename } from "node:path";
import type { Grid } from "./grid.ts";
import type { Comparison, Metric, RowSummary } from "./report.ts";
import type { Summary } from "./statistics.ts";
import type { Row } from "./tables.ts";

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

function mainTable(rows: readonly RowSummary[], { hasAnswers }: { readonly hasAnswers: boolean }): string {
  const head = ["Method", "Rank", "# Param.", "Held-out loss"];
  if (hasAnswers) head.push("Exact match (%)");
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

const METRIC_NAMES: Readonly<Record<Metric, string>> = {
  heldOutLoss: "held-out loss (negative is better)",
  exactMatch: "exact match (positive is better)",
};

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
      const head = [`${named(first.ours)} against`, "Pairs", "Mean difference", "d_z", "t", "p", "p (Holm)"];
      const body = members.map(({ theirs, pairs, test, adjusted }) => [
        named(theirs),
        String(pairs),
        plain(test?.difference, 4),
        plain(test?.effect, 2),
        plain(test?.t, 2),
        p(test?.p),
        p(adjusted),
      ]);
      return `${named(first.ours)}, ${METRIC_NAMES[first.metric]}:\n\n${tableOf(head, body)}`;
    })
    .join("\n\n");
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

function settingsText({ options, settings, tuningExamples }: Grid, measured: readonly RowSummary[]): string {
  const { training, steps, seeds, alpha, dropout, learningRates, tuneSteps, evaluationExamples } = settings;
  const rows = training.batchSize * training.accumulate;
  const examples =
    evaluationExamples === undefined ? "all examples" : `the first ${evaluationExamples} examples`;
  return [
    `${basename(options.model)}, trained on ${basename(options.train)}, measured on ${examples} of ${basename(options.evaluation)}.`,
    `${steps} updates of ${rows} ${training.packing ? "packed " : ""}rows of up to ${training.maxLength} tokens, ${training.schedule} schedule, warm-up ${training.warmup}, gradient norm ${training.maxGradientNorm}, alpha ${alpha}, dropout ${dropout}; ${plural(seeds, "seed")}.`,
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

const HOW_TO_READ = [
  "Means over seeds ± sample standard deviation. Losses are nats per trained token. Time per step is the median update,",
  "relative to the first LoRA row. Peak memory is that of the cell's process.",
].join("\n");

/** What the report shows, and the names of its pictures. */
export interface ReportParts {
  readonly rows: readonly RowSummary[];
  readonly comparisons: readonly Comparison[];
  readonly pictures: readonly string[];
}

/** The whole report of an experiment. */
export function markdownOf(grid: Grid, { rows, comparisons, pictures }: ReportParts): string {
  const { experiment, options } = grid;
  const hasAnswers = rows.some(({ exactMatch }) => exactMatch !== undefined);
  const notes = rows.flatMap(({ row }) => row.notes.map((text) => `- ${namedRow(row)}: ${text}`));
  const failures = failureText(rows);
  const tests = comparisonTables(comparisons, rows);
  return `${[
    `# ${experiment.title}`,
    settingsText(grid, rows),
    mainTable(rows, { hasAnswers }),
    HOW_TO_READ,
    ...(notes.length === 0 ? [] : [`Where rows differ from the paper's:\n\n${notes.join("\n")}`]),
    ...pictures.map((name) => `![${name.replace(/\.svg$/, "")}](${name})`),
    ...(tests === ""
      ? []
      : [
          `## Paired tests\n\nTwo-sided t tests over seeds, ours − theirs; p adjusted by Holm within each table.\n\n${tests}`,
        ]),
    ...(failures.length === 0 ? [] : [`## Failed cells\n\n${failures.join("\n")}`]),
    ...(options.command === undefined ? [] : [`## Command\n\n\`\`\`sh\n${options.command}\n\`\`\``]),
  ].join("\n\n")}\n`;
}
