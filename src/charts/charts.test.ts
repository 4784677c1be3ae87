import { expect, test } from "vitest";
import { type Bar, barChart, heatMap } from "./index.ts";

const bars: readonly Bar[] = [
  { label: "LoRA", mean: 0.41, deviation: 0.02, points: [0.39, 0.43] },
  { label: "MoS <4/2>", mean: 0.47, deviation: 0.01, points: [0.46, 0.48], emphasised: true },
];
const cells = [
  { x: "q", y: "0", value: 1.5 },
  { x: "v", y: "0", value: 2, text: "two" },
  { x: "q", y: "1" },
];

/** The words of a picture. */
const words = (svg: string) => [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, word]) => word);

test("a bar chart is SVG that says what it was given, and escapes it", () => {
  const svg = barChart({
    title: "Accuracy",
    subtitle: "three seeds",
    bars,
    valueTitle: "share",
    printMeans: true,
  });
  expect(svg).toMatch(/^<svg[^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  expect(words(svg)).toEqual(
    expect.arrayContaining([
      "Accuracy",
      "three seeds",
      "LoRA",
      "MoS &lt;4/2&gt;",
      "share",
      "0.41",
      "0.47",
      "0.0",
    ]),
  );
});

test("the same options give the same text", () => {
  const draw = () => [barChart({ bars }), heatMap({ cells, title: "Norms" })];
  expect(draw()).toEqual(draw());
});

test("points may leave zero out; bars may not", () => {
  expect(words(barChart({ bars, mark: "point", fromZero: true, decimals: 2 }))).toContain("0.00");
  expect(words(barChart({ bars, mark: "point", decimals: 2 }))).not.toContain("0.00");
  expect(() => barChart({ bars, fromZero: false })).toThrowError(
    expect.objectContaining({
      code: "bad_option",
      message: expect.stringContaining('use mark "point"'),
    }),
  );
});

test("long labels and titles run over several lines", () => {
  const long = "MoS with one private pair and three shared ones";
  const title = `${long}, ${long}, ${long}`;
  const said = words(barChart({ bars: [{ label: long, mean: 1 }], title }));
  expect(said).not.toContain(long);
  expect(said.join(" ")).toContain(title);
  expect(said.join(" ")).toContain(`${long}`);
});

test("an axis of losses begins near the smallest, with round ticks", () => {
  const losses = [0.4441, 0.4448].map((mean, i) => ({ label: String(i), mean }));
  const said = words(barChart({ bars: losses, mark: "point", printMeans: true, decimals: 4 }));
  expect(said).toEqual(expect.arrayContaining(["0.4440", "0.4448", "0.4441"]));
});

test.each([
  ["no bars", [], "without bars"],
  ["not a number", [{ label: "a", mean: Number.NaN }], 'bar "a" holds a number that is not finite'],
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

test("a heat map writes values and own words, and leaves missing cells empty", () => {
  const svg = heatMap({ cells, xTitle: "type", yTitle: "layer", valueTitle: "norm" });
  const said = words(svg);
  expect(said).toEqual(expect.arrayContaining(["type", "layer", "norm", "1.5", "two", "q", "v"]));
  expect(svg.match(/stroke-dasharray="3,3"/g)).toHaveLength(1);
});

test.each([
  ["no cells", [], "without cells"],
  ["infinity", [{ x: "q", y: "0", value: Number.POSITIVE_INFINITY }], 'cell "q", "0" is Infinity'],
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
  expect(words(heatMap({ cells: [{ x: "q", y: "0", value: 3 }] }))).toContain("3");
  expect(heatMap({ cells: [{ x: "q", y: "0" }] })).toContain("<svg");
});
