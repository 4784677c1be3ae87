// That each picture of the documents is what its numbers give, and says what a reader without the text needs.
import { readFile } from "node:fs/promises";
import { DOMParser } from "linkedom";
import { describe, expect, test } from "vitest";
import { withStudy } from "../../../../scripts/study/archive.ts";
import { drawPictures, readReport, type StoredReport } from "../../src/reproduce/pictures.ts";
import { EXPERIMENTS } from "../../src/reproduce/tables.ts";

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
  [...new DOMParser().parseFromString(svg, "image/svg+xml").querySelectorAll("text")]
    .map((element) =>
      [...(element.childNodes as Iterable<{ textContent: string }>)]
        .map((line) => line.textContent)
        .join(" "),
    )
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
