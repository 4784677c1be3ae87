// Each picture says all that a reader without the text needs: what was measured of which model on which data, how often,
// which end of the scale is good, and what may explain a difference.
import { basename } from "node:path";
import { dotPlot } from "./charts/dot-plot.ts";
import type { Better } from "./charts/svg.ts";
import { listColumns } from "./columns.ts";
import { MISSING, namedRow, plural } from "./main-table.ts";
import type { StoredReport, StoredRow } from "./stored-report.ts";
import { type ExperimentName, REFERENCES } from "./tables.ts";

/** SVG texts by file name; none of what was not measured. */
type Pictures = Readonly<Record<string, string>>;

/** Measures that can be drawn, by the suffixes of the files' names. */
export const PICTURES = ["loss", "answers", "benchmarks"] as const;

interface Measured {
  readonly mean: number;
  readonly deviation?: number | undefined;
  readonly points: readonly number[];
}

/** Measure of a picture. */
interface Measure {
  readonly kind: (typeof PICTURES)[number];
  readonly title: string;
  readonly valueTitle: string;
  readonly better: Better;
  readonly decimals: number;
  readonly limits?: readonly [number, number];
  /** Text that says what each row was measured on. */
  readonly on: string;
  readonly of: (row: StoredRow) => Measured | undefined;
}

const SUBJECTS: Readonly<Record<ExperimentName, string>> = {
  table1: "ways to share between layers at the budget of LoRA r = 2",
  table2: "Mixture of Shards and other adapter methods",
  budget: "Mixture of Shards and other methods at the budget of LoRA r = 2",
  figure1: "Mixture of Shards by private rank and shards per vector",
};

const ABLATIONS =
  "MoS-sp, -vs and -pd lack a part of MoS: private ranks, shards of vectors, or routing of its own for B.";
const ROWS: Readonly<Record<ExperimentName, string>> = {
  table1: "Orange: Subset Selection, the step before Mixture of Shards.",
  table2: `Orange: Mixture of Shards (MoS). ${ABLATIONS}`,
  budget: `Orange: Mixture of Shards (MoS). ${ABLATIONS} MoS-scaled has LoRA's alpha / r.`,
  figure1:
    "Private rank: pairs that one layer has for itself. Shards: the parts that each vector is cut into. All have rank 8 and the trainable parameters of LoRA of rank 4.",
};

/** A file as a reader may know it: its name and folder. */
const shortPath = (path: string): string => path.split(/[\\/]/).slice(-2).join("/");

const PERCENT = { better: "higher", limits: [0, 100] } as const;

function listMeasures({ files, settings, rows }: StoredReport): readonly Measure[] {
  const cells = rows.flatMap((row) => row.cells);
  const of = (examples: number | undefined) =>
    `${plural(examples ?? 0, "example")} of ${shortPath(files.evaluation)}`;
  const { tasks, limit } = settings.benchmarks ?? { tasks: [] };
  const column = listColumns(tasks).at(-1);
  return [
    {
      kind: "loss",
      title: "Validation loss",
      valueTitle: "validation loss (nats per token)",
      better: "lower",
      decimals: 4,
      on: of(cells[0]?.validationExamples),
      // the base is so far away that the others would look alike beside it
      of: ({ adapter, validationLoss, cells }) =>
        adapter === null || validationLoss === undefined
          ? undefined
          : { ...validationLoss, points: cells.map((cell) => cell.validationLoss) },
    },
    {
      kind: "answers",
      title: "Exactly right answers",
      valueTitle: "exact match (%)",
      ...PERCENT,
      decimals: 1,
      on: `greedy answers to ${of(cells.find(({ answers }) => answers !== undefined)?.answers?.total)}`,
      of: ({ exactMatch, cells }) =>
        exactMatch && {
          mean: 100 * exactMatch.mean,
          deviation: exactMatch.deviation && 100 * exactMatch.deviation,
          points: cells.flatMap(({ answers }) =>
            answers === undefined || answers.total === 0 ? [] : [(100 * answers.correct) / answers.total],
          ),
        },
    },
    ...(column === undefined
      ? []
      : [
          {
            kind: "benchmarks" as const,
            title: column.key === "average" ? "Mean of benchmarks" : column.title,
            valueTitle: `${column.key === "average" ? "mean of the columns" : column.title} (%)`,
            ...PERCENT,
            decimals: 2,
            on: `${limit === undefined ? "all questions" : plural(limit, "question")} of ${tasks.join(", ")}`,
            of: ({ scores }: StoredRow) => {
              const found = scores?.[column.key];
              return found && { ...found, points: [] };
            },
          },
        ]),
  ];
}

/** The pictures of an experiment, from its numbers alone. */
export function drawPictures(report: StoredReport): Pictures {
  const drawn = listMeasures(report).flatMap((measure) => {
    const means = report.rows.flatMap((row) => measure.of(row)?.mean ?? []);
    // where no model gets anything right there is nothing to see
    if (means.length === 0 || (measure.limits !== undefined && means.every((mean) => mean === 0))) return [];
    return [[`${report.experiment}-${measure.kind}.svg`, drawRows(report, measure)] as const];
  });
  return Object.fromEntries(drawn);
}

function drawRows(report: StoredReport, measure: Measure): string {
  const { title, valueTitle, better, decimals, limits, kind } = measure;
  const base =
    kind === "loss" ? report.rows.find(({ adapter }) => adapter === null)?.validationLoss : undefined;
  const rows = report.rows.flatMap((row) => {
    const measured = measure.of(row);
    if (measured === undefined) return [];
    const { mean, deviation, points } = measured;
    return {
      label: namedRow(row),
      mean,
      points,
      ...(deviation === undefined ? {} : { deviation }),
      emphasised: REFERENCES[report.experiment].includes(row.key),
      details: [
        row.trainable === 0 ? MISSING : row.trainable.toLocaleString("en-US"),
        String(row.learningRate ?? MISSING),
      ],
    };
  });
  const rings = rows.some(({ points }) => points.length > 0);
  return dotPlot({
    rows,
    valueTitle,
    better,
    decimals,
    ...(limits && { limits }),
    detailTitles: ["trainable\nparameters", "learning\nrate"],
    title: `${title}: ${SUBJECTS[report.experiment]}`,
    subtitle: aboutRun(report, measure),
    note: [
      `Dots: means over the seeds. Lines: one standard deviation to each side${limits ? ", within 0 and 100 %" : ""}.`,
      ...(rings ? ["Rings: single seeds, stronger where several meet."] : []),
      ROWS[report.experiment],
      rateNote(report),
      ...seedsNote(report),
      ...(base === undefined ? [] : [`The model without an adapter: ${base.mean.toFixed(decimals)}.`]),
    ].join("\n"),
  });
}

const aboutRun = ({ files, settings: { seeds, steps } }: StoredReport, { on }: Measure): string =>
  `${basename(files.model)}, trained for ${plural(steps, "update")} on ${shortPath(files.train)}; measured on ${on}; ${plural(seeds, "seed")}.`;

function rateNote({ settings: { learningRates, steps, tuneSteps } }: StoredReport): string {
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
