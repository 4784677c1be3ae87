// How cells become rows and rows verdicts, and that the documents have the tables of the archive.
import { readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { drawPictures, readReport, type StoredReport } from "../packages/lab/src/reproduce/pictures.ts";
import { EXPERIMENTS } from "../packages/lab/src/reproduce/tables.ts";
import {
  type Cell,
  HYPOTHESES,
  listFindings,
  lossMeasure,
  measureSpread,
  toRows,
} from "../scripts/study/analysis.ts";
import { fillTables, withStudy } from "../scripts/study/archive.ts";
import { computeTables } from "../scripts/study/tables.ts";

interface Told {
  readonly key: string;
  readonly seed?: number;
  readonly rate: number;
  readonly loss?: number;
  readonly purpose?: Cell["purpose"];
}
const cell = ({ key, seed = 0, rate, loss, purpose = "measure" }: Told): Cell => ({
  commit: "abc",
  command: "mos reproduce",
  key,
  purpose,
  learningRate: rate,
  seed,
  adapter: null,
  result: loss === undefined ? { failure: { code: "diverged" } } : { trainable: 10, validationLoss: loss },
});

/** Five seeds of a row, whose tuning losses rise by 0.001 beside the best rate. */
const rowCells = (key: string, losses: readonly number[]): readonly Cell[] => [
  ...[0.002, 0.003, 0.0045].map((rate) =>
    cell({ key, rate, loss: rate === 0.003 ? 1 : 1.001, purpose: "tune" }),
  ),
  ...losses.map((loss, seed) => cell({ key, seed, rate: 0.003, loss })),
];
const lora = [0.8, 0.81, 0.79, 0.805, 0.795];
const judge = (name: string, ours: readonly Cell[], theirs: readonly Cell[]) => {
  const hypothesis = HYPOTHESES.filter((one) => one.name === name);
  return listFindings(hypothesis, new Map([["gsm8k", toRows([...ours, ...theirs])]]), lossMeasure)[0]!;
};
const shifted = (by: number): readonly number[] =>
  lora.map((loss, i) => loss + by + [0, 1e-4, -1e-4, 2e-4, 0][i]!);

describe("a row", () => {
  test("is measured at the rate with the lowest tuning loss; another rate's cells do not count", () => {
    const other = cell({ key: "lora-2", seed: 5, rate: 0.0045, loss: 0.1 });
    const [row] = toRows([...rowCells("lora-2", lora), other]);
    expect(row).toMatchObject({ key: "lora-2", rate: 0.003, trainable: 10, failures: 0 });
    expect(row!.step).toBeCloseTo(0.001, 12);
    expect([...row!.cells.keys()]).toEqual([0, 1, 2, 3, 4]);
  });

  test("without a search has the rate of the row that is named", () => {
    const point = [0.002, 0.003].map((rate) => cell({ key: "mos-p0-l4", rate, loss: rate }));
    const rows = toRows([...rowCells("mos-p1-l4", lora), ...point], "mos-p1-l4");
    expect(rows.find(({ key }) => key === "mos-p0-l4")).toMatchObject({ rate: 0.003 });
  });

  test("counts what diverged, and leaves it out of the mean", () => {
    const [row] = toRows([...rowCells("lora-2", lora), cell({ key: "lora-2", seed: 5, rate: 0.003 })]);
    expect(row!.failures).toBe(1);
    // scipy.stats.t.interval(0.95, 4, loc=0.8, scale=scipy.stats.sem(lora))
    const { mean, half } = measureSpread(row!, lossMeasure)!;
    expect(mean).toBeCloseTo(0.8, 12);
    expect(half!).toBeCloseTo(0.0098162158, 8);
  });
});

describe("a verdict", () => {
  test.each([
    ["H1", -0.01, "supported"],
    ["H1", 0.01, "refuted"],
    // sure, but smaller than what a step of the rates changes
    ["H1", -0.0005, "open"],
    ["H3", 0.01, "not run"],
    ["H6", 0.001, "supported"],
    ["H6", 0.02, "refuted"],
    ["H6", -0.02, "refuted"],
  ])("%s, %f away from LoRA: %s", (name, by, verdict) => {
    const theirs = rowCells(name === "H6" ? "lora-16" : "lora-2", lora);
    expect(judge(name, rowCells("mos-2", shifted(by)), theirs).verdict).toBe(verdict);
  });

  test.each([
    [-0.01, "supported"],
    [-0.001, "refuted"],
  ])("H7, %f: %s", (by, verdict) => {
    expect(judge("H7", rowCells("mos-2-scaled", shifted(by)), rowCells("mos-2", lora)).verdict).toBe(verdict);
  });

  test("pairs share a seed", () => {
    const ours = rowCells("mos-2", shifted(-0.01)).filter(
      ({ seed, purpose }) => purpose === "tune" || seed > 1,
    );
    expect(judge("H1", ours, rowCells("lora-2", lora)).pairs).toBe(3);
  });

  test("p values of a family are corrected together", () => {
    const cells = [
      ...rowCells("mos-2", shifted(-0.01)),
      ...rowCells("lora-2", lora),
      ...rowCells("pure-sharing", [0.81, 0.8, 0.805, 0.79, 0.82]),
    ];
    const alone = judge("H1", rowCells("mos-2", shifted(-0.01)), rowCells("lora-2", lora)).p!;
    const family = listFindings(HYPOTHESES, new Map([["gsm8k", toRows(cells)]]), lossMeasure);
    expect(family.filter(({ p }) => p !== undefined)).toHaveLength(2);
    expect(family[0]!.p).toBeCloseTo(2 * alone, 12);
  });
});

describe("the documents", () => {
  test("have the tables that the archive gives: else npm run study -- --page FILE", async () => {
    const pages = readdirSync("docs", { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".md"))
      .map((path) => readFileSync(`docs/${path}`, "utf8"))
      .filter((text) => text.includes("<!-- study: "));
    expect(pages.length).toBeGreaterThan(0);
    const { parts } = await withStudy(computeTables);
    for (const page of pages) expect(fillTables(page, parts)).toBe(page);
  });

  test("can only have tables that there are", () => {
    const page = "<!-- study: speed -->\n\n<!-- end of study -->";
    expect(() => fillTables(page, { loss: "" })).toThrowError("there is no table speed; use one of loss");
  });
});

// --- pictures: each is what its numbers give, and says what a reader without the text needs

const reports = await withStudy((study) =>
  Promise.all(
    ["bundled", "smollm2-gsm8k"].flatMap((folder) =>
      EXPERIMENTS.filter((name) => name !== "budget").map(
        async (name) => [`${folder}/${name}`, await readReport(`${study}/tables/${folder}`, name)] as const,
      ),
    ),
  ),
);

/** All words of a picture, line breaks being spaces. */
const readWords = (svg: string): string =>
  [...svg.matchAll(/<text\b[^>]*>(.*?)<\/text>/gs)]
    .map(([, lines = ""]) => lines.replaceAll(/(<[^>]+>)+/g, " ").trim())
    .join("\n");

test("the documents have the picture of table 2", async () => {
  const [, report] = reports.find(([name]) => name === "bundled/table2")!;
  const shown = await readFile("docs/pictures/study/bundled-table2-loss.svg", "utf8");
  expect(drawPictures(report)["table2-loss.svg"] === shown).toBe(true);
});

describe.each(reports)("%s", (name, report) => {
  const pictures = Object.entries(drawPictures(report));

  test.each(pictures)("%s says model, data, seeds, sizes, and which end is good", (file, svg) => {
    const words = readWords(svg);
    const isBundled = name.includes("bundled");
    const [model, data] = isBundled
      ? ["tiny-english", "quickstart/validation.jsonl"]
      : ["SmolLM2-135M-Instruct", "gsm8k-test.jsonl"];
    for (const said of [
      model,
      data,
      `${report.settings.seeds} seeds`,
      `${report.settings.steps} updates`,
      "rainable",
    ])
      expect(words).toContain(said);
    expect(words).toMatch(/trainable\s+parameters/);
    expect(words).toContain(file.includes("loss") ? "lower" : "higher");
    expect(words).toContain("better");
    // at least one tick needs the decimals that all have
    const axis = /font-variant="tabular-nums"[^>]*>(.*?)<\/g>/s.exec(svg)?.[1] ?? "";
    const ticks = [...axis.matchAll(/>(\d+\.\d+)</g)].map(([, tick]) => tick!);
    expect(ticks.length > 0 && ticks.every((tick) => tick.endsWith("0")), ticks.join()).toBe(false);
    for (const { validationLoss } of report.rows)
      if (file.includes("loss")) expect(words).toContain(validationLoss!.mean.toFixed(4));
  });
});

test("seeds that are missing are said", () => {
  const [, report] = reports.find(([name]) => name === "bundled/figure1")!;
  const [first, ...rest] = report.rows;
  const { validationLoss: _, ...empty } = { ...first!, cells: [] };
  const changed: StoredReport = { ...report, rows: [empty, ...rest] };
  const words = readWords(drawPictures(changed)["figure1-loss.svg"]!);
  expect(words).toContain("Seeds are missing: MoS p=0 l=1 r=8 (0 of 10).");
});

test("no bar, dot or ring of a percentage lies left of 0 %", () => {
  const [, report] = reports.find(([name]) => name.endsWith("bundled/table2"))!;
  const svg = drawPictures(report)["table2-answers.svg"]!;
  const group = (label: string) =>
    [...svg.matchAll(new RegExp(`aria-label="${label}">(.*?)</g>`, "gs"))]
      .map(([, inner]) => inner!)
      .join("");
  const xs = (text: string) => [...text.matchAll(/(?:x1|x2|cx)="([-\d.]+)"/g)].map(([, x]) => Number(x));
  const zero = Math.min(...xs(group("x-grid")));
  expect(xs(group("rule") + group("tick") + group("dot")).length).toBeGreaterThan(200);
  expect(Math.min(...xs(group("rule") + group("tick") + group("dot")))).toBeGreaterThanOrEqual(zero);
});

test("where only the base is measured, or nothing, there is no picture of losses", () => {
  const [, report] = reports.find(([name]) => name.endsWith("smollm2-gsm8k/table2"))!;
  const base = report.rows.filter(({ adapter }) => adapter === null);
  expect(base).toHaveLength(1);
  expect(drawPictures({ ...report, rows: base })).toEqual({});
  expect(drawPictures({ ...report, rows: [] })).toEqual({});
  expect(readWords(drawPictures(report)["table2-loss.svg"]!)).toContain(
    "The model without an adapter: 1.4615.",
  );
});
