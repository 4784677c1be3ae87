import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { drawPools } from "../scripts/pictures/pools.ts";
import { terminalSvg } from "../scripts/pictures/terminal.ts";

const draw = (text: string, columns = 40): string => terminalSvg({ text, columns, label: "a test" });
/** Column and text of every run, line by line. */
const runsOf = (svg: string): readonly string[] =>
  [...svg.matchAll(/<text x="(\d+)" y="(\d+)"[^>]*>([^<]*)</g)].map(
    ([, x, y, text]) => `${(Number(y) - 59) / 18}:${(Number(x) - 20) / 8} ${text}`,
  );

test("the picture of pools is what the script draws (npm run pictures -- pools)", () => {
  expect(readFileSync("docs/pictures/pools.svg", "utf8")).toBe(drawPools());
});

test("the picture of quickstart has its questions, and is small", () => {
  const picture = readFileSync("docs/pictures/quickstart.svg", "utf8");
  const questions: readonly string[] = JSON.parse(readFileSync("assets/quickstart/questions.json", "utf8"));
  for (const question of questions) expect(picture).toContain(`>${question}<`);
  expect(picture).toContain("We open at ten.");
  expect(picture.length).toBeLessThan(40_000);
});

test("text stands in its columns, and breaks where a terminal breaks it", () => {
  expect(runsOf(draw("before   after\n\n  <ok>"))).toEqual(["0:0 before", "0:9 after", "2:2 &#60;ok&#62;"]);
  expect(runsOf(draw("abcdef", 4))).toEqual(["0:0 abcd", "1:0 ef"]);
});

test("colours and bold are kept until they end", () => {
  const svg = draw("\u001b[1;32mgood\u001b[0m plain");
  expect(svg).toMatch(/fill="#7ee787" font-weight="bold">good</);
  expect(svg).toContain('textLength="40">plain<');
});

test("Braille is drawn as dots", () => {
  const svg = draw("⣀x");
  expect(svg).toContain('d="M22 61.75h0M26 61.75h0"');
  expect(runsOf(svg)).toEqual(["0:1 x"]);
});
