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

test("a bar chart is SVG that says what it was given, and escapes it", async () => {
  const svg = await barChart({
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

test("the same options give the same text, whatever was drawn before", async () => {
  const draw = async () => [
    await barChart({ bars, horizontal: true }),
    await heatMap({ cells, title: "Norms" }),
    await heatMap({ cells, scheme: "diverging", middle: 1 }),
  ];
  expect(await draw()).toEqual(await draw());
});

test("points may leave zero out; bars may not", async () => {
  const zeroed = await barChart({ bars, mark: "point", fromZero: true, valueFormat: ".2f" });
  expect(words(zeroed)).toContain("0.00");
  expect(words(await barChart({ bars, mark: "point", valueFormat: ".2f" }))).not.toContain("0.00");
  await expect(barChart({ bars, fromZero: false })).rejects.toMatchObject({
    code: "bad_option",
    message: expect.stringContaining('use mark "point"'),
  });
});

test("groups have a legend, and long labels run over several lines", async () => {
  const long = "MoS with one private pair and three shared ones";
  const groups = ["1x", "4x"].map((group) => ({ label: long, group, mean: 1 }));
  const said = words(await barChart({ bars: groups, groupTitle: "budget", horizontal: true }));
  expect(said).toEqual(expect.arrayContaining(["budget", "1x", "4x"]));
  expect(said).not.toContain(long);
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
    'bar "a" is there twice',
  ],
] as const)("refuses %s", async (_, some, message) => {
  await expect(barChart({ bars: some })).rejects.toMatchObject({
    code: "bad_option",
    message: expect.stringContaining(message),
  });
});

test("a heat map writes values and own words, and leaves missing cells empty", async () => {
  const svg = await heatMap({ cells, xTitle: "type", yTitle: "layer", valueTitle: "norm" });
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
    "is there twice",
  ],
] as const)("a heat map refuses %s", async (_, some, message) => {
  await expect(heatMap({ cells: some })).rejects.toMatchObject({
    code: "bad_option",
    message: expect.stringContaining(message),
  });
});

test("a heat map of equal values, or of none, still draws", async () => {
  expect(words(await heatMap({ cells: [{ x: "q", y: "0", value: 3 }] }))).toContain("3");
  expect(await heatMap({ cells: [{ x: "q", y: "0" }] })).toContain("<svg");
});
