// The tables of the study: those of its page, by name, and the long list of every row with its rates, seeds and commands.
import { join } from "node:path";
import { parseAdapterConfig } from "#adapters";
import type { LinearName } from "#graph";
import { presetConfig, readModelConfig, toLayerShapes } from "#models";
import { markdownTable } from "../../packages/lab/src/evaluation/results.ts";
import { summarize } from "../../packages/lab/src/reproduce/statistics.ts";
import { residentBytes } from "../../src/inference/adapters/compact-adapter.ts";
import {
  type Cell,
  f1Measure,
  findingsTable,
  fixed,
  HYPOTHESES,
  listFindings,
  lossMeasure,
  type Measure,
  measureSpread,
  NONE,
  overview,
  RECALL,
  readCells,
  recallMeasure,
  type StudyRow,
  toRows,
} from "./analysis.ts";

/** Rows by key, in the order of the tables. */
const LABELS: Readonly<Record<string, string>> = {
  base: "the model as it is",
  "lora-2": "LoRA r = 2",
  "lora-8": "LoRA r = 8",
  "lora-16": "LoRA r = 16",
  "mos-2": "MoS e = 2",
  "mos-8": "MoS e = 8",
  "mos-2-scaled": "MoS e = 2, LoRA's scaling",
  "mos-2-half-rank": "MoS e = 2, half the rank",
  "mos-2-sp": "MoS e = 2 −sp",
  "mos-2-vs": "MoS e = 2 −vs",
  "mos-2-pd": "MoS e = 2 −pd",
  "pure-sharing": "pure sharing",
  "random-scaling": "random scaling",
  "subset-selection": "subset selection",
  "vera-equal": "VeRA",
  "tied-lora": "Tied LoRA",
  prolora: "PRoLoRA",
};

/** Points of figure 1 say where they are. */
const rowLabel = (key: string): string =>
  LABELS[key] ?? key.replace(/^mos-p(\d+)-l(\d+)$/, "MoS e = 4, p = $1, l = $2");

interface Part {
  readonly task: string;
  readonly title: string;
  readonly about: string;
  /** Other measures than the loss, where a task has them. */
  readonly extra?: { readonly title: string; readonly of: Measure; readonly decimals: number };
}

const recall = { title: "facts kept, %", of: percent(recallMeasure), decimals: 1 };

function percent(measure: Measure): Measure {
  return (cell) => {
    const share = measure(cell);
    return share && 100 * share;
  };
}

const facts = (tenants: number): Part => ({
  task: `capacity-${tenants}`,
  title: `${tenants * 5} facts of ${tenants} tenants`,
  extra: recall,
  about: "the bundled model of a million numbers; measured on the facts that it was trained to keep",
});

const PARTS: readonly Part[] = [
  { task: "gsm8k", title: "GSM8K", about: "SmolLM2-135M-Instruct; 96 examples of the test file" },
  {
    task: "tydiqa",
    title: "TyDi QA with gold passages",
    extra: { title: "F1", of: f1Measure, decimals: 1 },
    about: "SmolLM2-135M-Instruct; 128 questions of other documents, F1 on 90 of the dev files",
  },
  ...[80, 40, 160].map(facts),
  {
    task: "gsm8k-float32",
    title: "GSM8K in float32",
    about: "as GSM8K, at one rate, with the base in float32 and its products too",
  },
  {
    task: "gsm8k-kv",
    title: "GSM8K, adapters of the k and v projections only",
    about: "SmolLM2-135M-Instruct; 96 examples of the test file",
  },
  {
    task: "tydiqa-kv",
    title: "TyDi QA, adapters of the k and v projections only",
    about: "SmolLM2-135M-Instruct; 128 questions of other documents",
  },
  { task: "gemma-gsm8k", title: "GSM8K, Gemma 3 270M", about: "64 examples of the test file" },
];
/** The task of facts that figure 1 and the default rates were measured on. */
const FACTS = "capacity-80";
/** Whose hypotheses are judged by the loss. */
const JUDGED = ["gsm8k", "tydiqa", FACTS];
/** LoRA and MoS of one budget, and rates that a default could be. */
const SAME_BUDGET = ["lora-2", "mos-2"];
const FIXED_RATES = [0.0002, 0.001, 0.002];
/** The row that was trained for half and for twice the updates of these tasks, at one rate. */
const LENGTHENED = { row: "lora-8", rate: 0.003, updates: { gsm8k: 48, tydiqa: 64 } } as const;
/** Of figure 1, at the rate that its centre was tuned to. */
const FIGURE = { privateRanks: [0, 1, 2, 3], shards: [1, 4, 16], centre: "mos-p1-l4" } as const;

/** Mean ± deviation and the interval of the mean. */
function spreadCells(row: StudyRow, measure: Measure, decimals: number): readonly string[] {
  const spread = measureSpread(row, measure);
  if (spread === undefined) return [NONE, NONE];
  const { mean, deviation, half } = spread;
  const interval =
    half === undefined ? NONE : `${fixed(mean - half, decimals)} to ${fixed(mean + half, decimals)}`;
  const spelt = deviation === undefined ? "" : ` ± ${fixed(deviation, decimals)}`;
  return [`${fixed(mean, decimals)}${spelt}`, interval];
}

function rowCells(row: StudyRow, extra: Part["extra"]): readonly string[] {
  const { key, trainable, rate, tried, step, cells, failures } = row;
  const range = tried.map(({ learningRate }) => learningRate).sort((a, b) => a - b);
  const searched =
    range.length === 0
      ? `${rate} (not searched)`
      : `${rate} (${range.length}: ${range[0]} to ${range.at(-1)})`;
  return [
    rowLabel(key),
    trainable === 0 ? NONE : trainable.toLocaleString("en-US"),
    trainable === 0 ? NONE : searched,
    fixed(step, 4),
    `${cells.size}${failures === 0 ? "" : `, ${failures} diverged`}`,
    ...spreadCells(row, lossMeasure, 4),
    ...(extra === undefined ? [] : spreadCells(row, extra.of, extra.decimals)),
  ];
}

/** The rows of a task, in the order of LABELS. */
function rowsText(rows: readonly StudyRow[], extra: Part["extra"]): string {
  const order = Object.keys(LABELS);
  const place = ({ key }: StudyRow): number => (order.indexOf(key) + order.length + 1) % (order.length + 1);
  const sorted = [...rows].sort((a, b) => place(a) - place(b));
  const head = ["", "trained", "rate (tried)", "one step", "seeds", "validation loss", "95 % interval"];
  return markdownTable([
    extra === undefined ? head : [...head, extra.title, "95 % interval"],
    ...sorted.map((row) => rowCells(row, extra)),
  ]);
}

function partText(
  { task, title, about, extra }: Part,
  rows: readonly StudyRow[],
  cells: readonly Cell[],
): string {
  const measured = rows.flatMap((row) => [...row.cells.values()]);
  const commands = [...new Set(measured.map(({ command }) => command))];
  const commits = [...new Set(cells.map(({ commit }) => commit.slice(0, 7)))];
  return [
    `## ${title}`,
    `\`${task}\`: ${about}. "One step" is what one step of the rates changes the tuning loss by.`,
    rowsText(rows, extra),
    `The commands that measured these rows, of commits ${commits.join(", ")}; each cell's file has its own:`,
    `\`\`\`text\n${commands.join("\n\n")}\n\`\`\``,
  ].join("\n\n");
}

/** F1 of each language's questions, means over the seeds that were asked. */
function languagesText(rows: readonly StudyRow[]): string {
  const cellGroups = (cell: Cell) => cell.result.benchmarks?.[0]?.groups ?? {};
  const asked = rows
    .map((row) => ({
      key: row.key,
      cells: [...row.cells.values()].filter((cell) => f1Measure(cell) !== undefined),
    }))
    .filter(({ cells }) => cells.length > 0);
  const languages = [
    ...new Set(asked.flatMap(({ cells }) => cells.flatMap((cell) => Object.keys(cellGroups(cell))))),
  ];
  const f1 = (cells: readonly Cell[], language: string): string =>
    fixed(summarize(cells.flatMap((cell) => cellGroups(cell)[language]?.scores["f1"] ?? []))?.mean, 1);
  return markdownTable([
    ["", "seeds", ...languages, "all"],
    ...asked.map(({ key, cells }) => [
      rowLabel(key),
      String(cells.length),
      ...languages.map((language) => f1(cells, language)),
      fixed(summarize(cells.flatMap((cell) => f1Measure(cell) ?? []))?.mean, 1),
    ]),
  ]);
}

/** Which row so many adapters can have, what they take, and how good it is. */
function fittingCells(adapters: number, fitting: Fitting | undefined): readonly string[] {
  if (fitting === undefined) return ["none fits", NONE, NONE];
  const { row, targets, bytes } = fitting;
  const on = targets.length < 7 ? ` on ${targets.join(", ").replaceAll("_proj", "")}` : "";
  return [
    `${rowLabel(row.key)}${on}`,
    `${((adapters * bytes) / 1e9).toFixed(2)} GB`,
    spreadCells(row, lossMeasure, 4)[0] ?? NONE,
  ];
}

/** The loss of a row with the seed 0 at a rate, whether or not the row's search chose it. */
function lossAt(cells: readonly Cell[], key: string, rate: number | undefined): number | undefined {
  const found = cells.find(
    (cell) => cell.key === key && cell.purpose === "measure" && cell.seed === 0 && cell.learningRate === rate,
  );
  return found && lossMeasure(found);
}

/** What a row loses with the seed 0 at rates that a default could be, beside its own. */
function ratesText(
  cells: ReadonlyMap<string, readonly Cell[]>,
  tasks: ReadonlyMap<string, readonly StudyRow[]>,
): string {
  const lines = JUDGED.flatMap((task) =>
    SAME_BUDGET.map((key) => {
      const own = tasks.get(task)?.find((row) => row.key === key)?.rate;
      const losses = [...FIXED_RATES, own].map((rate) => fixed(lossAt(cells.get(task) ?? [], key, rate), 3));
      return [task, rowLabel(key), ...losses, String(own ?? NONE)];
    }),
  );
  return markdownTable([["task", "", ...FIXED_RATES.map(String), "its best", "which is"], ...lines], {
    left: [0, 1],
  });
}

/** The loss after half, all and twice the updates of a task, and what each doubling gains. */
async function lengthsText(read: (task: string) => Promise<readonly Cell[]>): Promise<string> {
  const { row, rate } = LENGTHENED;
  const lines = Object.entries(LENGTHENED.updates).map(async ([task, updates]) => {
    const lengths = [updates / 2, updates, updates * 2];
    const folders = lengths.map((length) => (length === updates ? task : `${task}-${length}-updates`));
    const losses = await Promise.all(folders.map(async (folder) => lossAt(await read(folder), row, rate)));
    const cells = losses.map((loss, i) => {
      const before = losses[i - 1];
      if (loss === undefined) return NONE;
      const gain = before === undefined ? "" : ` (${fixed((100 * (loss - before)) / before, 1)} %)`;
      return `${fixed(loss, 3)} after ${lengths[i]}${gain}`;
    });
    return [task, ...cells];
  });
  return markdownTable([
    ["task", "half the updates", "as measured", "twice the updates"],
    ...(await Promise.all(lines)),
  ]);
}

/** Facts kept at the points of figure 1, in per cent. */
function figureText(rows: readonly StudyRow[]): string {
  const findCell = (key: string): string => {
    const row = rows.find((one) => one.key === key);
    return row === undefined ? NONE : (spreadCells(row, recall.of, recall.decimals)[0] ?? NONE);
  };
  return markdownTable([
    ["", ...FIGURE.shards.map((shards) => `l = ${shards}`)],
    ...FIGURE.privateRanks.map((rank) => [
      `p = ${rank}`,
      ...FIGURE.shards.map((shards) => findCell(`mos-p${rank}-l${shards}`)),
    ]),
  ]);
}

async function servingText(tasks: ReadonlyMap<string, readonly StudyRow[]>): Promise<string> {
  const lines: (readonly string[])[] = [];
  const rowsBySize = (task: string) => [...(tasks.get(task) ?? []), ...(tasks.get(`${task}-kv`) ?? [])];
  for (const task of JUDGED)
    for (const { adapters, lora, mos } of await servingLines(task, rowsBySize(task), lossMeasure))
      lines.push([
        task,
        adapters.toLocaleString("en-US"),
        ...fittingCells(adapters, lora),
        ...fittingCells(adapters, mos),
      ]);
  return markdownTable(
    [
      ["task", "adapters", "LoRA", "they take", "validation loss", "MoS", "they take", "validation loss"],
      ...lines,
    ],
    { left: [0, 2, 5] },
  );
}

const SIZES = [40, 80, 160].map((tenants) => `capacity-${tenants}`);
const GEMMA = "gemma-gsm8k";

export interface StudyTables {
  /** Tables of the study's page, by the name in its comment `<!-- study: name -->`. */
  readonly parts: Readonly<Record<string, string>>;
  /** Every hypothesis and every row with what decided it, as a Markdown document. */
  readonly details: string;
}

/** Tables from the folder of the unpacked archive. Throws MosError `bad_data`, `storage`. */
export async function computeTables(folder: string): Promise<StudyTables> {
  const read = async (task: string): Promise<readonly Cell[]> => readCells(join(folder, "cells", task));
  const cells = new Map<string, readonly Cell[]>();
  const tasks = new Map<string, readonly StudyRow[]>();
  for (const { task } of PARTS) {
    cells.set(task, await read(task));
    tasks.set(task, toRows(cells.get(task) ?? [], FIGURE.centre));
  }
  const only = (names: readonly string[]) => new Map(names.map((name) => [name, tasks.get(name) ?? []]));
  const judged = JUDGED.flatMap((task) => listFindings(HYPOTHESES, only([task]), lossMeasure));
  const kept = listFindings(RECALL, only(SIZES), recallMeasure);
  const gemma = listFindings(HYPOTHESES.slice(0, 1), only([GEMMA]), lossMeasure);
  const details = [
    "# Every row of the study",
    'Differences are ours − theirs, of pairs that share a seed; p is corrected by Holm among the tests of a task; "visible" is the difference that so many pairs show with power 0.8.',
    "## Hypotheses, by validation loss",
    findingsTable(judged, 4),
    "## H8, by the share of facts kept",
    findingsTable(kept, 3),
    "## H1 on Gemma 3 270M",
    findingsTable(gemma, 4),
    "## F1 on TyDi QA, by language",
    languagesText(tasks.get("tydiqa") ?? []),
    "## The best row in 2 GB",
    await servingText(tasks),
    "## Half and twice the updates",
    await lengthsText(read),
    "## Figure 1, facts kept in per cent",
    figureText(tasks.get(FACTS) ?? []),
    ...PARTS.map((part) => partText(part, tasks.get(part.task) ?? [], cells.get(part.task) ?? [])),
  ];
  return {
    details: `${details.join("\n\n")}\n`,
    parts: {
      loss: overview(judged, JUDGED),
      recall: overview(kept, SIZES),
      rates: ratesText(cells, tasks),
    },
  };
}

/** As `mos serve` keeps them with `--adapter-memory 2GB`. */
const MEMORY = 2e9;
const COUNTS = [100, 1000, 10_000] as const;

/** Of one method, the row with the best result of those whose adapters fit. */
export interface Fitting {
  readonly row: StudyRow;
  readonly targets: readonly LinearName[];
  /** Of one adapter. */
  readonly bytes: number;
}
export interface ServingLine {
  readonly adapters: number;
  readonly lora: Fitting | undefined;
  readonly mos: Fitting | undefined;
}

/** The base of a task: SmolLM2-135M's shapes are known, the bundled model's are read. */
const geometryFor = async (task: string) =>
  toLayerShapes(
    task.startsWith("capacity") ? await readModelConfig("assets/tiny-english") : presetConfig("smollm2-135m"),
  );

/** The best of LoRA's rows and of MoS's for each number of adapters, by `measure`, of which low values are good. */
export async function servingLines(
  task: string,
  rows: readonly StudyRow[],
  measure: Measure,
): Promise<readonly ServingLine[]> {
  const shapes = await geometryFor(task);
  const sized = rows.flatMap((row): readonly (Fitting & { readonly mean: number })[] => {
    const [cell] = row.cells.values();
    const mean = measureSpread(row, measure)?.mean;
    if (row.key === "base" || cell === undefined || mean === undefined) return [];
    const config = parseAdapterConfig(cell.adapter, row.key);
    const { targets } = config;
    return [{ row, mean, targets, bytes: residentBytes(config, shapes, "bfloat16").own }];
  });
  const best = (adapters: number, matches: (key: string) => boolean): Fitting | undefined =>
    sized
      .filter(({ row, bytes }) => matches(row.key) && bytes * adapters <= MEMORY)
      .reduce<(typeof sized)[number] | undefined>(
        (found, one) => (found === undefined || one.mean < found.mean ? one : found),
        undefined,
      );
  return COUNTS.map((adapters) => ({
    adapters,
    lora: best(adapters, (key) => key.startsWith("lora-")),
    mos: best(adapters, (key) => key === "mos-2" || key === "mos-8"),
  }));
}
