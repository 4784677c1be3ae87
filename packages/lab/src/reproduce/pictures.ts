// The pictures of an experiment, drawn from a part of the JSON that it leaves. Each says all that a reader without the text
// needs: what was measured of which model on which data, how often, which end of the scale is good, and what may explain a
// difference.
import { basename, join } from "node:path";
import { readJson } from "mixture-of-shards-core/files";
import { z } from "zod";
import { BENCHMARK_NAMES } from "#evaluation";
import { resultSchema } from "./cell.ts";
import { type DotPlotOptions, type DotRow, dotPlot } from "./dot-plot.ts";
import { MISSING, namedRow, plural } from "./main-table.ts";
import { COLUMN_KEYS, listColumns } from "./summary.ts";
import { EXPERIMENTS, type ExperimentName, REFERENCES } from "./tables.ts";

const summary = z.object({ mean: z.number(), deviation: z.number().optional() });

const storedRow = z.object({
  key: z.string(),
  label: z.string(),
  rank: z.string(),
  /** Null for the base model as it is; undefined where the row does not fit the model. */
  adapter: z.object({}).nullish(),
  trainable: z.int(),
  learningRate: z.number().optional(),
  expected: z.int(),
  validationLoss: summary.optional(),
  exactMatch: summary.optional(),
  scores: z.partialRecord(z.enum(COLUMN_KEYS), summary).optional(),
  cells: z.array(resultSchema.pick({ validationLoss: true, validationExamples: true, answers: true })),
});
type StoredRow = Readonly<z.output<typeof storedRow>>;

export const storedReport = z.object({
  format: z.literal(1),
  experiment: z.enum(EXPERIMENTS),
  files: z.object({ model: z.string(), train: z.string(), evaluation: z.string() }),
  settings: z.object({
    seeds: z.int(),
    steps: z.int(),
    tuneSteps: z.int(),
    learningRates: z.array(z.number()),
    benchmarks: z.object({ tasks: z.array(z.enum(BENCHMARK_NAMES)), limit: z.int().optional() }).optional(),
  }),
  rows: z.array(storedRow),
});
export type StoredReport = Readonly<z.output<typeof storedReport>>;

/** @throws MosError `not_found`, or `bad_data` with the place of what is wrong. */
export const readReport = (folder: string, experiment: ExperimentName): Promise<StoredReport> =>
  readJson(join(folder, `${experiment}.json`), storedReport, { code: "bad_data" });

/** Measures that can be drawn, by the suffixes of the files' names. */
export const PICTURES = ["loss", "answers", "benchmarks"] as const;

/** Measure of a picture. */
interface Measure extends Pick<DotPlotOptions, "title" | "valueTitle" | "better" | "decimals" | "limits"> {
  readonly kind: (typeof PICTURES)[number];
  /** Text that says what each row was measured on. */
  readonly on: string;
  readonly read: (row: StoredRow) => Pick<DotRow, "mean" | "deviation" | "points"> | undefined;
}

const SUBJECTS: Readonly<Record<ExperimentName, string>> = {
  table1: "ways to share between layers at the budget of LoRA r = 2",
  table2: "Mixture of Shards and other adapter methods",
  budget: "Mixture of Shards and other methods at the budget of LoRA r = 2",
  capacity: "small adapters at the budgets of LoRA r = 1 and 2",
  figure1: "Mixture of Shards by private rank and shards per vector",
};

const ABLATIONS =
  "MoS-sp, -vs and -pd lack a part of MoS: private ranks, shards of vectors, or routing of its own for B.";
const ROWS: Readonly<Record<ExperimentName, string>> = {
  table1: "Orange: Subset Selection, the step before Mixture of Shards.",
  table2: `Orange: Mixture of Shards (MoS). ${ABLATIONS}`,
  budget: `Orange: Mixture of Shards (MoS). ${ABLATIONS} MoS-scaled has LoRA's alpha / r.`,
  capacity: "Orange: Mixture of Shards (MoS). MoS-r16 has rank 16, MoS-l16 sixteen shards per vector.",
  figure1:
    "Private rank: pairs that only one layer uses. Shards: the parts that each vector is split into. All have rank 8 and the trainable parameters of LoRA of rank 4.",
};

/** A file as a reader may know it: its name and folder. */
const shortPath = (path: string): string => path.split(/[\\/]/).slice(-2).join("/");

const PERCENT = { better: "higher", limits: [0, 100] } as const;

function listMeasures({ files, settings, rows }: StoredReport): readonly Measure[] {
  const cells = rows.flatMap((row) => row.cells);
  const examples = (count: number | undefined): string =>
    `${plural(count ?? 0, "example")} of ${shortPath(files.evaluation)}`;
  const loss: Measure = {
    kind: "loss",
    title: "Validation loss",
    valueTitle: "validation loss (nats per token)",
    better: "lower",
    limits: undefined,
    decimals: 4,
    on: examples(cells[0]?.validationExamples),
    // the base is so far away that the others would look alike beside it
    read: ({ adapter, validationLoss, cells }) =>
      adapter === null || validationLoss === undefined
        ? undefined
        : {
            mean: validationLoss.mean,
            deviation: validationLoss.deviation,
            points: cells.map((cell) => cell.validationLoss),
          },
  };
  const answered: Measure = {
    kind: "answers",
    title: "Exactly right answers",
    valueTitle: "exact match (%)",
    ...PERCENT,
    decimals: 1,
    on: `greedy answers to ${examples(cells.find(({ answers }) => answers !== undefined)?.answers?.total)}`,
    read: ({ exactMatch, cells }) =>
      exactMatch && {
        mean: 100 * exactMatch.mean,
        deviation: exactMatch.deviation && 100 * exactMatch.deviation,
        points: cells.flatMap(({ answers }) =>
          answers === undefined || answers.total === 0 ? [] : [(100 * answers.correct) / answers.total],
        ),
      },
  };
  const { tasks, limit } = settings.benchmarks ?? { tasks: [] };
  const columns = listColumns(tasks);
  const column = columns.find(({ key }) => key === "average") ?? columns[0];
  if (column === undefined) return [loss, answered];
  const isMean = column.key === "average";
  const benchmarks: Measure = {
    kind: "benchmarks",
    title: isMean ? "Mean of benchmarks" : column.title,
    valueTitle: `${isMean ? "mean of the columns" : column.title} (%)`,
    ...PERCENT,
    decimals: 2,
    on: `${limit === undefined ? "all questions" : plural(limit, "question")} of ${tasks.join(", ")}`,
    read: ({ scores }) => {
      const score = scores?.[column.key];
      return score && { mean: score.mean, deviation: score.deviation, points: [] };
    },
  };
  return [loss, answered, benchmarks];
}

/** SVG texts of an experiment's pictures by file name; none of what was not measured. */
export function drawPictures(report: StoredReport): Readonly<Record<string, string>> {
  const drawn = listMeasures(report).flatMap((measure) => {
    const rows = report.rows.flatMap((row) => toDotRow(row, report.experiment, measure) ?? []);
    // where no model gets anything right there is nothing to see
    if (rows.every(({ mean }) => measure.limits !== undefined && mean === 0)) return [];
    return [[`${report.experiment}-${measure.kind}.svg`, draw(report, measure, rows)] as const];
  });
  return Object.fromEntries(drawn);
}

function toDotRow(row: StoredRow, experiment: ExperimentName, { read }: Measure): DotRow | undefined {
  const measured = read(row);
  return (
    measured && {
      ...measured,
      label: namedRow(row),
      emphasised: REFERENCES[experiment].includes(row.key),
      details: [
        row.trainable === 0 ? MISSING : row.trainable.toLocaleString("en-US"),
        String(row.learningRate ?? MISSING),
      ],
    }
  );
}

function draw(report: StoredReport, measure: Measure, rows: readonly DotRow[]): string {
  const { files, settings, experiment } = report;
  const { seeds, steps } = settings;
  const { kind, title, decimals, limits, on, valueTitle, better } = measure;
  const base = report.rows.find(({ adapter }) => adapter === null)?.validationLoss;
  return dotPlot({
    rows,
    valueTitle,
    better,
    decimals,
    limits,
    detailTitles: ["trainable\nparameters", "learning\nrate"],
    title: `${title}: ${SUBJECTS[experiment]}`,
    subtitle: `${basename(files.model)}, trained for ${plural(steps, "update")} on ${shortPath(files.train)}; measured on ${on}; ${plural(seeds, "seed")}.`,
    note: [
      `Dots: means over the seeds. Lines: one standard deviation to each side${limits ? ", within 0 and 100 %" : ""}.`,
      ...(rows.some(({ points }) => points.length > 0)
        ? ["Rings: single seeds, stronger where several meet."]
        : []),
      ROWS[experiment],
      rateNote(settings),
      ...seedsNote(report),
      ...(kind === "loss" && base !== undefined
        ? [`The model without an adapter: ${base.mean.toFixed(decimals)}.`]
        : []),
    ].join("\n"),
  });
}

function rateNote({ learningRates, steps, tuneSteps }: StoredReport["settings"]): string {
  if (learningRates.length === 1)
    return `Learning rate: ${learningRates[0]} for all, which may suit some better than others.`;
  const early = tuneSteps < steps ? ` after ${tuneSteps} of the ${steps} updates` : "";
  return `Learning rates: the best of those tried${early}. Differences may come from that choice.`;
}

function seedsNote({ rows }: StoredReport): readonly string[] {
  const some = rows
    .filter(({ adapter, cells, expected }) => adapter && cells.length < expected)
    .map((row) => `${namedRow(row)} (${row.cells.length} of ${row.expected})`);
  return some.length === 0 ? [] : [`Seeds are missing: ${some.join(", ")}.`];
}
