// That each picture of the documents is what its numbers give, and says what a reader without the text needs.
import { readdir, readFile } from "node:fs/promises";
import { DOMParser } from "linkedom";
import { describe, expect, test } from "vitest";
import { drawPictures } from "./pictures.ts";
import { readReport, type StoredReport } from "./stored-report.ts";
import { EXPERIMENTS } from "./tables.ts";

const RESULTS = "docs/results";
const folders = [`${RESULTS}/bundled`, `${RESULTS}/smollm2-gsm8k`];
const reports = await Promise.all(
  folders.flatMap((folder) =>
    EXPERIMENTS.filter((name) => name !== "budget").map(
      async (name) => [`${folder}/${name}`, folder, await readReport(folder, name)] as const,
    ),
  ),
);

/** All words of a picture, line breaks being spaces. */
const wordsOf = (svg: string): string =>
  [...new DOMParser().parseFromString(svg, "image/svg+xml").querySelectorAll("text")]
    .map((element) =>
      [...(element.childNodes as Iterable<{ textContent: string }>)]
        .map((line) => line.textContent)
        .join(" "),
    )
    .join("\n");

describe.each(reports)("%s", (name, folder, report) => {
  const pictures = Object.entries(drawPictures(report));

  test("the documents have the pictures of these numbers: else mos reproduce … --redraw", async () => {
    const stored = (await readdir(folder)).filter(
      (file) => file.startsWith(report.experiment) && file.endsWith(".svg"),
    );
    expect(stored.sort()).toEqual(pictures.map(([file]) => file).sort());
    for (const [file, svg] of pictures)
      expect(svg === (await readFile(`${folder}/${file}`, "utf8")), file).toBe(true);
  });

  test.each(pictures)("%s says model, data, seeds, sizes, and which end is good", (file, svg) => {
    const words = wordsOf(svg);
    const isBundled = name.includes("bundled");
    const [model, data] = isBundled
      ? ["tiny-english", "quickstart/heldout.jsonl"]
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
    for (const { heldOutLoss } of report.rows)
      if (file.includes("loss")) expect(words).toContain(heldOutLoss!.mean.toFixed(4));
  });
});

test("what is missing or does not fit is said", () => {
  const [, , report] = reports.find(([name]) => name.endsWith("bundled/figure1"))!;
  const [first, second, ...rest] = report.rows;
  const { heldOutLoss: _, ...empty } = { ...first!, cells: [] };
  const { adapter: __, heldOutLoss: ___, ...unfit } = { ...second!, cells: [] };
  const changed: StoredReport = { ...report, rows: [empty, unfit, ...rest] };
  const words = wordsOf(drawPictures(changed)["figure1-loss.svg"]!);
  expect(words).toContain("not measured");
  expect(words).toContain("does not fit");
  expect(words).toContain(`Seeds are missing: MoS p=0 l=1 r=8 (0 of 10).`);
});

test("a difference within the seeds' own spread is called that", () => {
  const said = reports.map(([name, , report]) => [
    name.slice(RESULTS.length + 1),
    Object.values(drawPictures(report)).some((svg) =>
      wordsOf(svg).includes("The means differ by less than the seeds"),
    ),
  ]);
  expect(Object.fromEntries(said)).toMatchObject({ "smollm2-gsm8k/figure1": true, "bundled/table2": false });
});

test("no bar, dot or ring of a percentage lies left of 0 %", () => {
  const [, , report] = reports.find(([name]) => name.endsWith("bundled/table2"))!;
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
  const [, , report] = reports.find(([name]) => name.endsWith("smollm2-gsm8k/table2"))!;
  const base = report.rows.filter(({ adapter }) => adapter === null);
  expect(base).toHaveLength(1);
  expect(drawPictures({ ...report, rows: base })).toEqual({});
  expect(drawPictures({ ...report, rows: [] })).toEqual({});
  expect(wordsOf(drawPictures(report)["table2-loss.svg"]!)).toContain(
    "The model without an adapter: 1.4615.",
  );
});
