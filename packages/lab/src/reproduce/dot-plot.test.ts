// What a reader sees: the words, their order and positions, and whether they are legible.
import { expect, test } from "vitest";
import { type DotPlotOptions, type DotRow, dotPlot } from "./dot-plot.ts";

const makeRow = (row: Partial<DotRow> & Pick<DotRow, "label" | "mean">): DotRow => ({
  deviation: undefined,
  points: [],
  emphasised: false,
  details: [],
  ...row,
});
const rows: readonly DotRow[] = [
  makeRow({ label: "LoRA", mean: 0.41, deviation: 0.02, points: [0.38, 0.44], details: ["23,360", "0.01"] }),
  makeRow({ label: "MoS <4/2>", mean: 0.47, deviation: 0.01, points: [0.46, 0.48], emphasised: true }),
];
const plain: DotPlotOptions = {
  title: "Accuracy",
  subtitle: "two seeds",
  note: "Rings: seeds.",
  rows,
  detailTitles: ["size"],
  valueTitle: "share",
  better: "higher",
  limits: undefined,
  decimals: 3,
};
const long = "MoS with one private pair and three shared ones";
const everything = {
  "a dot plot": dotPlot({
    title: `Accuracy of ${long}, ${long} and ${long}`,
    subtitle: "mean and standard deviation over seeds; rings are the seeds",
    note: `Dots: means.\nLines: ${long}, ${long} and ${long}.`,
    valueTitle: "exact match (%)",
    detailTitles: ["trainable\nparameters", "learning\nrate"],
    better: "higher",
    limits: [0, 1],
    decimals: 1,
    rows: [
      ...rows,
      makeRow({ label: `${long}, ${long}`, mean: 0.99, deviation: 0.3 }),
      makeRow({ label: "base", mean: 0 }),
    ],
  }),
  "a dot plot of losses": dotPlot({
    ...plain,
    title: "Losses",
    valueTitle: "loss",
    note: "Rings: the seeds.",
    better: "lower",
    decimals: 4,
    rows: [0.4441, 0.4448].map((mean, i) =>
      makeRow({ label: `row ${i}`, mean, deviation: 1e-4, points: [mean] }),
    ),
  }),
};

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}
type Shape = Box & { readonly tag: string; readonly text: string; readonly fill: string };

function readAttributes(tag: string): (name: string) => string {
  const values = new Map([...tag.matchAll(/ ([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
  return (name) => values.get(name) ?? "";
}

/** The box of a line of text, of letters as wide as DejaVu Sans has them on average. */
function lineBox(get: (name: string) => string, text: string): Box {
  const size = Number(get("font-size"));
  const width = 0.6 * size * text.length;
  const share = { start: 0, middle: 0.5, end: 1 }[get("text-anchor")] ?? Number.NaN;
  return { x: Number(get("x")) - share * width, y: Number(get("y")) - 0.75 * size, width, height: size };
}

function readShapes(svg: string): {
  readonly width: number;
  readonly height: number;
  readonly shapes: readonly Shape[];
} {
  const shapes = [...svg.matchAll(/<(text|rect)( [^>]*?)\/?>([^<]*)/g)].map(
    ([, tag = "", attributes = "", content = ""]): Shape => {
      const get = readAttributes(attributes);
      const text = content.trim().replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
      const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => Number(get(name)));
      const box = tag === "rect" ? { x: x!, y: y!, width: width!, height: height! } : lineBox(get, text);
      return { ...box, tag, text, fill: get("fill") };
    },
  );
  const root = readAttributes(/^<svg[^>]*>/.exec(svg)?.[0] ?? "");
  return { width: Number(root("width")), height: Number(root("height")), shapes };
}

const readLines = (svg: string) => readShapes(svg).shapes.filter(({ tag }) => tag !== "rect");
const readWords = (svg: string) => readLines(svg).map(({ text }) => text);
const find = (svg: string, text: string) => readLines(svg).find((line) => line.text === text)!;
const meet = (a: Box, b: Box) =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

test.each(Object.entries(everything))(
  "%s stands alone, and none of its words collide or are cut",
  (_, svg) => {
    expect(svg).toMatch(/^<svg[^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    const { width, height, shapes } = readShapes(svg);
    expect(shapes[0]).toMatchObject({ x: 0, y: 0, width, height, fill: "#ffffff" });
    const lines = readLines(svg);
    expect(lines.length).toBeGreaterThan(10);
    for (const [i, line] of lines.entries()) {
      expect(line.x, line.text).toBeGreaterThanOrEqual(0);
      expect(line.y, line.text).toBeGreaterThanOrEqual(0);
      expect(line.x + line.width, line.text).toBeLessThanOrEqual(width);
      expect(line.y + line.height, line.text).toBeLessThanOrEqual(height);
      const [met] = lines.slice(i + 1).filter((other) => meet(line, other));
      expect(met?.text, `meets "${line.text}"`).toBeUndefined();
    }
  },
);

test("a dot plot shows its labels from top to bottom, escaped", () => {
  const svg = dotPlot(plain);
  const order = ["Accuracy", "two seeds", "size", "LoRA", "MoS <4/2>", "0.40"]
    .concat("share; higher is better", "Rings: seeds.")
    .map((text) => find(svg, text).y);
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  expect(svg).toContain("MoS &lt;4/2&gt;");
  expect(svg).toMatch(/<text[^>]*font-weight="bold"[^>]*>MoS/);
  expect(find(svg, "23,360").y).toBeCloseTo(find(svg, "LoRA").y, 0);
  expect(svg.match(/<circle/g)).toHaveLength(6);
});

test("means are numbers in a column of their own, beyond every ring", () => {
  const svg = dotPlot(plain);
  const rings = [...svg.matchAll(/<circle [^>]*cx="([\d.]+)"/g)].map(([, x]) => Number(x));
  for (const [label, mean] of [
    ["LoRA", "0.410"],
    ["MoS <4/2>", "0.470"],
  ] as const) {
    expect(find(svg, mean).y).toBeCloseTo(find(svg, label).y, 0);
    expect(find(svg, mean).x).toBeGreaterThan(Math.max(...rings) + 12);
  }
  expect(find(svg, "mean").y).toBeLessThan(find(svg, "0.410").y);
});

test("the same options give the same SVG", () => {
  expect(dotPlot(plain)).toBe(dotPlot(plain));
});

test("an axis begins at the least possible value, where there is one, and error bars end there", () => {
  const low = { ...plain, rows: [makeRow({ label: "a", mean: 1, deviation: 2, points: [0, 2] })] };
  const [free, cut] = [dotPlot(low), dotPlot({ ...low, limits: [0, 100] })];
  const ticks = (svg: string) => readWords(svg).filter((words) => /^−?\d\.\d$/.test(words));
  const start = (svg: string, name: string) =>
    Math.min(
      ...[...svg.matchAll(new RegExp(`class="${name}" x1="([\\d.]+)"`, "g"))].map(([, x]) => Number(x)),
    );
  expect(ticks(free)[0]).toBe("−1.0");
  expect(ticks(cut)[0]).toBe("0.0");
  expect(start(cut, "bar")).toBe(start(cut, "grid"));
  // the end that is cut has no cap
  expect([free, cut].map((svg) => svg.match(/class="cap"/g)?.length)).toEqual([2, 1]);
});

test("long labels and titles wrap", () => {
  const title = `${long}, ${long}, ${long}`;
  const words = readWords(dotPlot({ ...plain, rows: [makeRow({ label: long, mean: 1 })], title }));
  expect(words).not.toContain(long);
  expect(words.join(" ")).toContain(title);
  expect(words.join(" ")).toContain(
    `${long} ` /* before the axis or after */
      .trim(),
  );
});

test("an axis of losses begins near the smallest, with round ticks", () => {
  const words = readWords(everything["a dot plot of losses"]);
  expect(words).toEqual(expect.arrayContaining(["0.4440", "0.4441", "0.4448"]));
});

/** WCAG 2's relative luminance. */
function luminance(colour: string): number {
  const parts = (colour.match(/[\da-f]{2}/g) ?? []).map((part) => Number.parseInt(part, 16));
  const [r = Number.NaN, g = 0, b = 0] = parts
    .map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

const contrast = (a: number, b: number): number => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);

test.each(Object.entries(everything))(
  "words of %s have that contrast with light and with dark paper",
  (_, svg) => {
    const night = new Map(
      [...svg.matchAll(/\.plot \[fill="(#\w+)"\]\{fill:(#\w+)\}/g)].map(([, day, dark]) => [day!, dark!]),
    );
    const words = readLines(svg);
    expect(words.length).toBeGreaterThan(5);
    for (const { text, fill } of words) {
      expect(contrast(luminance(fill), luminance("#ffffff")), text).toBeGreaterThanOrEqual(4.5);
      expect(
        contrast(luminance(night.get(fill)!), luminance(night.get("#ffffff")!)),
        text,
      ).toBeGreaterThanOrEqual(4.5);
    }
  },
);
