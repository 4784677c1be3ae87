// The study's numbers as docs/results/study/tables.md and its pictures, from the cells that are there; the words around
// them are docs/results/README.md's. usage: node --conditions=source --import tsx scripts/study/report.ts [--tree DIR]
import { join } from "node:path";
import { parseArgs } from "node:util";
import { writeFileAtomic } from "#storage";
import { budgetPlot } from "../../packages/reproduce/src/charts/index.ts";
import {
  type Cell,
  type Finding,
  f1Of,
  findingsOf,
  HYPOTHESES,
  lossOf,
  type Measure,
  RECALL,
  readCells,
  recallOf,
  rowsOf,
  type StudyRow,
  spreadOf,
} from "./analysis.ts";
import { type Fitting, servingLines } from "./serving.ts";

/** Rows by key, in the order of the tables. */
const LABELS: Readonly<Record<string, string>> = {
  base: "the model as it is",
  "lora-2": "LoRA r = 2",
  "lora-8": "LoRA r = 8",
  "lora-16": "LoRA r = 16",
  "mos-2": "MoS e = 2",
  "mos-8": "MoS e = 8",
  "mos-2-scaled": "MoS e = 2, LoRA's scaling",
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
/** Of figure 1, whose rows have a rate in common. */
const CENTRE = "mos-p1-l4";

interface Part {
  readonly task: string;
  readonly title: string;
  readonly about: string;
  /** Other measures than the loss, where a task has them. */
  readonly extra?: { readonly title: string; readonly of: Measure; readonly decimals: number };
}

const recall = { title: "facts kept, %", of: percent(recallOf), decimals: 1 };

function percent(measure: Measure): Measure {
  return (cell) => {
    const share = measure(cell);
    return share && 100 * share;
  };
}

const facts = (tenants: number): Part => ({
  ...{ task: `capacity-${tenants}`, title: `${tenants * 5} facts of ${tenants} tenants`, extra: recall },
  about: "the bundled model of a million numbers; measured on the facts that it was trained to keep",
});

const PARTS: readonly Part[] = [
  { task: "gsm8k", title: "GSM8K", about: "SmolLM2-135M-Instruct; 96 examples of the test file" },
  {
    ...{ task: "tydiqa", title: "TyDi QA with gold passages", extra: { title: "F1", of: f1Of, decimals: 1 } },
    about: "SmolLM2-135M-Instruct; 128 questions of other documents, F1 on 90 of the dev files",
  },
  ...[80, 40, 160].map(facts),
  { task: "gemma-gsm8k", title: "GSM8K, Gemma 3 270M", about: "64 examples of the test file" },
];
/** Whose hypotheses are judged by the loss; figures are drawn of these. */
const JUDGED = ["gsm8k", "tydiqa", "capacity-80"];

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
const NONE = "–";
const fixed = (value: number | undefined, decimals: number): string =>
  value === undefined ? NONE : value.toFixed(decimals).replace("-", "−");

/** Mean ± deviation and the interval of the mean. */
function spreadCells(row: StudyRow, measure: Measure, decimals: number): readonly string[] {
  const spread = spreadOf(row, measure);
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
  const searched = range.length === 0 ? NONE : `${rate} (${range.length}: ${range[0]} to ${range.at(-1)})`;
  return [
    LABELS[key] ?? key,
    trainable === 0 ? NONE : trainable.toLocaleString("en-US"),
    searched,
    fixed(step, 4),
    `${cells.size}${failures === 0 ? "" : `, ${failures} diverged`}`,
    ...spreadCells(row, lossOf, 4),
    ...(extra === undefined ? [] : spreadCells(row, extra.of, extra.decimals)),
  ];
}

function partText(
  { task, title, about, extra }: Part,
  rows: readonly StudyRow[],
  cells: readonly Cell[],
): string {
  const order = Object.keys(LABELS);
  const place = ({ key }: StudyRow): number => (order.indexOf(key) + order.length + 1) % (order.length + 1);
  const sorted = [...rows].sort((a, b) => place(a) - place(b));
  const head = ["", "trained", "rate (tried)", "one step", "seeds", "held-out loss", "95 % interval"];
  const last = cells.findLast(({ purpose }) => purpose === "measure");
  return [
    `## ${title}`,
    `\`${task}\`: ${about}. "One step" is what one step of the rates changes the tuning loss by.`,
    table(
      extra === undefined ? head : [...head, extra.title, "95 % interval"],
      sorted.map((row) => rowCells(row, extra)),
    ),
    "Each row's command, with other names behind `--only`, and the commit of the program:",
    `\`\`\`text\n${last?.command}\n${[...new Set(cells.map(({ commit }) => commit.slice(0, 7)))].join(", ")}\n\`\`\``,
  ].join("\n\n");
}

function findingCells(finding: Finding, decimals: number): readonly string[] {
  const { hypothesis, task, pairs, difference, half, theirMean, p, step, visible, verdict } = finding;
  const share =
    difference === undefined || theirMean === undefined ? undefined : (100 * difference) / theirMean;
  return [
    hypothesis.name,
    hypothesis.says,
    task,
    String(pairs),
    fixed(difference, decimals),
    half === undefined || difference === undefined
      ? NONE
      : `${fixed(difference - half, decimals)} to ${fixed(difference + half, decimals)}`,
    share === undefined ? NONE : `${fixed(share, 1)} %`,
    p === undefined ? NONE : p < 0.001 ? "< 0.001" : fixed(p, 3),
    fixed(step, decimals),
    fixed(visible, decimals),
    verdict === "supported" || verdict === "refuted" ? `**${verdict}**` : verdict,
  ];
}

const findingsTable = (findings: readonly Finding[], decimals: number): string =>
  table(
    ...([
      ["", "", "task", "pairs", "difference", "95 % interval", "of theirs", "p", "one step", "visible", ""],
      findings.map((finding) => findingCells(finding, decimals)),
    ] as const),
  );

const FAMILIES = [
  { name: "LoRA", keys: ["lora-2", "lora-8", "lora-16"], emphasised: false },
  { name: "MoS", keys: ["mos-2", "mos-8"], emphasised: true },
];

function picture(
  { title, about, task }: Part,
  rows: readonly StudyRow[],
  measure: Measure,
): string | undefined {
  const isLoss = measure === lossOf;
  const series = FAMILIES.map(({ name, keys, emphasised }) => ({
    ...{ name, emphasised },
    points: keys.flatMap((key) => {
      const row = rows.find((one) => one.key === key);
      const spread = row && spreadOf(row, measure);
      if (row === undefined || spread === undefined) return [];
      const { mean, half } = spread;
      return {
        label: LABELS[key] ?? key,
        numbers: row.trainable,
        mean,
        ...(half === undefined ? {} : { half }),
      };
    }),
  })).filter(({ points }) => points.length > 0);
  if (series.length === 0) return undefined;
  const seeds = Math.min(...rows.filter(({ key }) => key !== "base").map(({ cells }) => cells.size));
  return budgetPlot({
    ...{ series, better: isLoss ? "lower" : "higher", decimals: isLoss ? 3 : 0 },
    valueTitle: isLoss ? "held-out loss (nats per token)" : "facts kept (%)",
    title: `${title}: quality against budget`,
    subtitle: `${about[0]?.toUpperCase()}${about.slice(1)} (task ${task}). Each row at the learning rate that its own search chose.`,
    note: `Dots: means over ${seeds} seeds or more. Lines through dots: 95 % intervals of the mean, between seeds; methods are compared by pairs that share a seed, which is finer. Orange: MoS, blue: LoRA.`,
    ...(isLoss ? {} : { limits: [0, 100] as const }),
  });
}

/** Which row so many adapters can have, what they take, and how good it is. */
function fittingCells(adapters: number, fitting: Fitting | undefined): readonly string[] {
  if (fitting === undefined) return ["none fits", NONE, NONE];
  const { row, bytes } = fitting;
  return [
    LABELS[row.key] ?? row.key,
    `${((adapters * bytes) / 1e9).toFixed(2)} GB`,
    spreadCells(row, lossOf, 4)[0] ?? NONE,
  ];
}

async function servingText(tasks: ReadonlyMap<string, readonly StudyRow[]>): Promise<string> {
  const lines: (readonly string[])[] = [];
  for (const task of JUDGED)
    for (const { adapters, lora, mos } of await servingLines(task, tasks.get(task) ?? [], lossOf))
      lines.push([
        task,
        adapters.toLocaleString("en-US"),
        ...fittingCells(adapters, lora),
        ...fittingCells(adapters, mos),
      ]);
  return table(
    ["task", "adapters", "LoRA", "they take", "held-out loss", "MoS", "they take", "held-out loss"],
    lines,
  );
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { tree: { type: "string", default: "." } } });
  const folder = join(values.tree, "docs", "results", "study");
  const tasks = new Map<string, readonly StudyRow[]>();
  const texts: string[] = [];
  for (const part of PARTS) {
    const cells = await readCells(join(folder, "cells", part.task));
    const rows = rowsOf(cells, CENTRE);
    if (rows.length === 0) continue;
    tasks.set(part.task, rows);
    texts.push(partText(part, rows, cells));
    if (part.task === "gemma-gsm8k") continue;
    for (const [name, measure] of [
      ["loss", lossOf],
      ["recall", recall.of],
    ] as const) {
      const svg = part.extra === recall || measure === lossOf ? picture(part, rows, measure) : undefined;
      if (svg !== undefined) await writeFileAtomic(join(folder, `${part.task}-${name}.svg`), svg);
    }
  }
  const judged = JUDGED.flatMap((task) =>
    findingsOf(HYPOTHESES, new Map([[task, tasks.get(task) ?? []]]), lossOf),
  );
  const sizes = [40, 80, 160].map((size) => `capacity-${size}`);
  const kept = findingsOf(RECALL, new Map(sizes.map((task) => [task, tasks.get(task) ?? []])), recallOf);
  const gemma = findingsOf(
    HYPOTHESES.slice(0, 1),
    new Map([["gemma-gsm8k", tasks.get("gemma-gsm8k") ?? []]]),
    lossOf,
  );
  const text = [
    "# The study's numbers",
    'Written by `node --conditions=source --import tsx scripts/study/report.ts` from the cells in `cells/`; what they mean is in [the report](../README.md), how they are judged in [the plan](../plan.md). Differences are ours − theirs, of pairs that share a seed; p is corrected by Holm among the tests of a task; "visible" is the difference that so many pairs show with power 0.8.',
    "## Hypotheses, by the held-out loss",
    findingsTable(judged, 4),
    "## H8, by the share of facts kept",
    findingsTable(kept, 3),
    "## H1 on Gemma 3 270M",
    findingsTable(gemma, 4),
    "## Quality in 2 GB",
    "All N adapters resident in bfloat16 (`mos serve --adapter-memory 2GB --adapter-dtype bfloat16`): the measured row with the lowest loss that fits, of LoRA and of MoS. Bytes are those that a server counts, indices included; `npm run bench:adapter-memory` measures the same ones ([benchmarks](../../benchmarks.md#adapters-in-memory)).",
    await servingText(tasks),
    ...texts,
  ];
  await writeFileAtomic(join(folder, "tables.md"), `${text.join("\n\n")}\n`);
}

if (process.argv[1] === import.meta.filename) await main();
