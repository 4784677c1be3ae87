// What a reader sees: the words, their order and positions, and whether they are legible.
import { DOMParser } from "linkedom";
import { expect, test } from "vitest";
import { type Bar, barChart, heatMap } from "./index.ts";

const bars: readonly Bar[] = [
  { label: "LoRA", mean: 0.41, deviation: 0.02, points: [0.38, 0.44] },
  { label: "MoS <4/2>", mean: 0.47, deviation: 0.01, points: [0.46, 0.48], emphasised: true },
];
const long = "MoS with one private pair and three shared ones";
const cells = [
  { x: "q", y: "0", value: 1.5 },
  { x: "v", y: "0", value: 2, text: "two" },
  { x: "q", y: "1" },
];
const everything = {
  "a bar chart": barChart({
    title: `Accuracy of ${long}, ${long} and ${long}`,
    subtitle: "mean and standard deviation over seeds; rings are the seeds",
    valueTitle: "exact match (%)",
    printMeans: true,
    decimals: 1,
    bars: [...bars, { label: `${long}, ${long}`, mean: 0.99, deviation: 0.3 }, { label: "base", mean: 0 }],
  }),
  "a chart of points": barChart({
    title: "Losses",
    mark: "point",
    valueTitle: "loss",
    printMeans: true,
    decimals: 4,
    bars: [0.4441, 0.4448].map((mean, i) => ({ label: `row ${i}`, mean, deviation: 1e-4, points: [mean] })),
  }),
  "a heat map": heatMap({
    title: "Norms",
    subtitle: "of each layer",
    xTitle: "linear type",
    yTitle: "layer",
    valueTitle: "norm",
    cells: ["q_proj", "a_linear_layer_of_a_long_name", "down_proj"].flatMap((x, i) =>
      Array.from({ length: 30 }, (_, y) => ({ x, y: String(y), value: (i * 30 + y) / 30 })),
    ),
  }),
};

/** What is asked of linkedom's elements, whose types need a browser's. */
interface SvgElement {
  readonly tagName: string;
  readonly textContent: string | null;
  readonly parentElement: SvgElement | null;
  readonly firstElementChild: SvgElement | null;
  readonly children: Iterable<SvgElement>;
  getAttribute(name: string): string | null;
  querySelector(selector: string): SvgElement | null;
  querySelectorAll(selector: string): Iterable<SvgElement>;
}

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}
type Shape = Box & { readonly tag: string; readonly text: string; readonly fill: string };

const inherited = (element: SvgElement | null, name: string): string =>
  element === null ? "" : (element.getAttribute(name) ?? inherited(element.parentElement, name));

/** Where an element's own origin lies in the picture, and whether it is turned. */
function originOf(element: SvgElement | null): { x: number; y: number; turned: boolean } {
  if (element?.parentElement == null) return { x: 0, y: 0, turned: false };
  const outer = originOf(element.parentElement);
  const transform = element.getAttribute("transform") ?? "";
  const [, x = "0", y = "0"] = /translate\(([^,]+),([^)]+)\)/.exec(transform) ?? [];
  const nested = element.tagName.toLowerCase() === "svg" ? element : undefined;
  return {
    x: outer.x + Number(x) + Number(nested?.getAttribute("x") ?? 0),
    y: outer.y + Number(y) + Number(nested?.getAttribute("y") ?? 0),
    turned: outer.turned || transform.includes("rotate"),
  };
}

/** The box of a line of text, of letters as wide as DejaVu Sans has them on average. */
function lineBox(line: SvgElement): Box {
  const size = Number.parseFloat(inherited(line, "font-size").replace(/^10$/, "12"));
  const before = [...(line.parentElement?.children ?? [])].indexOf(line);
  const em = (name: string) => Number.parseFloat(line.getAttribute(name) ?? "0") * size;
  const first = line.tagName === "tspan" ? line.parentElement?.firstElementChild : line;
  const down =
    line === first ? em("y") : Number.parseFloat(first?.getAttribute("y") ?? "0") * size + before * em("dy");
  const { x, y, turned } = originOf(line);
  const width = 0.6 * size * (line.textContent ?? "").length;
  const share = { start: 0, middle: 0.5, end: 1 }[inherited(line, "text-anchor")] ?? 0;
  return turned
    ? { x: x - size / 2, y: y - share * width, width: size, height: width }
    : { x: x - share * width, y: y + down - 0.75 * size, width, height: size };
}

function shapesOf(svg: string): {
  readonly width: number;
  readonly height: number;
  readonly shapes: readonly Shape[];
} {
  const root: SvgElement = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  const number = (element: SvgElement, name: string) => Number(element.getAttribute(name));
  const shapes = [...root.querySelectorAll("text, tspan, rect")].flatMap((element): Shape[] => {
    if (element.querySelector("tspan") !== null) return [];
    const { x, y } = originOf(element);
    const box =
      element.tagName === "rect"
        ? {
            ...{ x: x + number(element, "x"), y: y + number(element, "y") },
            ...{ width: number(element, "width"), height: number(element, "height") },
          }
        : lineBox(element);
    return [
      { ...box, tag: element.tagName, text: element.textContent ?? "", fill: inherited(element, "fill") },
    ];
  });
  return { width: number(root, "width"), height: number(root, "height"), shapes };
}

const linesOf = (svg: string) => shapesOf(svg).shapes.filter(({ tag }) => tag !== "rect");
const wordsOf = (svg: string) => linesOf(svg).map(({ text }) => text);
const find = (svg: string, text: string) => linesOf(svg).find((line) => line.text === text)!;
const meet = (a: Box, b: Box) =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

test.each(Object.entries(everything))(
  "%s stands alone, and none of its words collide or are cut",
  (_, svg) => {
    expect(svg).toMatch(/^<svg[^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    const { width, height, shapes } = shapesOf(svg);
    expect(shapes[0]).toMatchObject({ x: 0, y: 0, width, height, fill: "white" });
    const lines = linesOf(svg);
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

test("a bar chart shows its labels from top to bottom, escaped", () => {
  const svg = barChart({
    title: "Accuracy",
    subtitle: "two seeds",
    bars,
    valueTitle: "share",
    printMeans: true,
  });
  const order = ["Accuracy", "two seeds", "LoRA", "MoS <4/2>", "0.00", "share"].map(
    (text) => find(svg, text).y,
  );
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  expect(svg).toContain("MoS &lt;4/2&gt;");
  expect(svg).toMatch(/font-weight="bold"[^>]*><text[^>]*>MoS/);
  // each mean beside its label, a ring for each seed
  for (const [label, mean] of [
    ["LoRA", "0.41"],
    ["MoS <4/2>", "0.47"],
  ] as const)
    expect(find(svg, mean).y).toBeCloseTo(find(svg, label).y, -1);
  expect(find(svg, "0.41").x).toBeLessThan(find(svg, "0.47").x);
  expect(svg.match(/<circle/g)).toHaveLength(4);
});

test("the same options give the same SVG", () => {
  const draw = () => [barChart({ bars }), heatMap({ cells, title: "Norms" })];
  expect(draw()).toEqual(draw());
});

test("an axis of points may leave out zero, an axis of bars may not", () => {
  expect(wordsOf(barChart({ bars, mark: "point", fromZero: true }))).toContain("0.00");
  expect(wordsOf(barChart({ bars, mark: "point" }))).not.toContain("0.00");
  expect(() => barChart({ bars, fromZero: false })).toThrowError(
    expect.objectContaining({ code: "bad_option", message: expect.stringContaining('use mark "point"') }),
  );
});

test("long labels and titles wrap", () => {
  const title = `${long}, ${long}, ${long}`;
  const words = wordsOf(barChart({ bars: [{ label: long, mean: 1 }], title }));
  expect(words).not.toContain(long);
  expect(words.join(" ")).toContain(title);
  expect(words.join(" ")).toContain(
    `${long} ` /* before the axis or after */
      .trim(),
  );
});

test("an axis of losses begins near the smallest, with round ticks", () => {
  const words = wordsOf(everything["a chart of points"]);
  expect(words).toEqual(expect.arrayContaining(["0.4440", "0.4441", "0.4448"]));
});

test("bars extend from zero to their means, to the left for negative ones", () => {
  const svg = barChart({
    bars: [
      { label: "a", mean: 3 },
      { label: "b", mean: -2 },
    ],
  });
  const [, above, below] = shapesOf(svg).shapes.filter(({ tag }) => tag === "rect");
  expect(above!.x).toBeCloseTo(below!.x + below!.width);
  expect(above!.width / below!.width).toBeCloseTo(1.5);
});

test.each([
  ["no bars", [], "without bars"],
  ["not a number", [{ label: "a", mean: Number.NaN }], 'bar "a" holds NaN'],
  ["a negative deviation", [{ label: "a", mean: 1, deviation: -1 }], "negative deviation, -1"],
  [
    "a bar twice",
    [
      { label: "a", mean: 1 },
      { label: "a", mean: 2 },
    ],
    'bar "a" occurs twice',
  ],
] as const)("refuses %s", (_, some, message) => {
  expect(() => barChart({ bars: some })).toThrowError(
    expect.objectContaining({ code: "bad_option", message: expect.stringContaining(message) }),
  );
});

test("a heat map writes values or given texts in its cells, and leaves missing cells empty", () => {
  const svg = heatMap({ cells, xTitle: "type", yTitle: "layer", valueTitle: "norm" });
  expect(wordsOf(svg)).toEqual(expect.arrayContaining(["type", "layer", "norm", "q", "v"]));
  const middle = (text: string) => find(svg, text).x + find(svg, text).width / 2;
  expect(middle("1.5")).toBeCloseTo(middle("q"), 0);
  expect(middle("two")).toBeCloseTo(middle("v"), 0);
  expect(find(svg, "1.5").y).toBeCloseTo(find(svg, "0").y, 0);
  expect(find(svg, "1").y).toBeGreaterThan(find(svg, "0").y);
  expect(svg.match(/stroke-dasharray="3,3"/g)).toHaveLength(1);
});

/** WCAG 2's relative luminance. */
function luminance(colour: string): number {
  const named = { black: "rgb(0, 0, 0)", white: "rgb(255, 255, 255)" }[colour] ?? colour;
  const [r = 0, g = 0, b = 0] = [...named.matchAll(/\d+/g)]
    .map(([part]) => Number(part) / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

test("the numbers of a heat map have WCAG's contrast of 4.5 with their cells, whose colours darken", () => {
  const values = Array.from({ length: 50 }, (_, i) => ({ x: "q", y: `layer ${i}`, value: i }));
  const { shapes } = shapesOf(heatMap({ cells: values }));
  // the scale comes after the cells
  const colours = shapes
    .filter(({ tag }) => tag === "rect")
    .slice(1, 51)
    .map(({ fill }) => luminance(fill));
  const inks = shapes
    .filter(({ text }) => /^\d+$/.test(text))
    .slice(0, 50)
    .map(({ fill }) => luminance(fill));
  expect(colours).toEqual(colours.toSorted((a, b) => b - a));
  for (const [i, colour] of colours.entries()) {
    const [dark, light] = [colour, inks[i]!].toSorted((a, b) => a - b);
    expect((light! + 0.05) / (dark! + 0.05), `cell ${i}`).toBeGreaterThanOrEqual(4.5);
  }
});

test.each([
  ["no cells", [], "without cells"],
  ["infinity", [{ x: "q", y: "0", value: Number.POSITIVE_INFINITY }], 'cell "q", "0" holds Infinity'],
  [
    "a cell twice",
    [
      { x: "q", y: "0" },
      { x: "q", y: "0" },
    ],
    "occurs twice",
  ],
] as const)("a heat map refuses %s", (_, some, message) => {
  expect(() => heatMap({ cells: some })).toThrowError(
    expect.objectContaining({ code: "bad_option", message: expect.stringContaining(message) }),
  );
});

test("a heat map of equal values, or of none, still draws", () => {
  expect(wordsOf(heatMap({ cells: [{ x: "q", y: "0", value: 3 }] }))).toEqual(["3", "q", "0"]);
  expect(wordsOf(heatMap({ cells: [{ x: "q", y: "0" }] }))).toEqual(["q", "0"]);
});
