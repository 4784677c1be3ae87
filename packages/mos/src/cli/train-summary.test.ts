import type { PreviewedLine } from "mixture-of-shards-core/training";
import { expect, test, vi } from "vitest";
import { linesText } from "./train-summary.ts";

const shown = [
  { id: 1, text: "<s>", isTrained: false },
  { id: 2, text: "Hi\n", isTrained: false },
  { id: 3, text: "\u001bHo", isTrained: true },
  { id: 4, text: " ho", isTrained: true },
];
const line = {
  line: 4,
  unit: "line",
  part: "train",
  shown,
  turns: [],
  tokens: 4,
  targetTokens: 2,
  truncated: false,
  truncatedTargets: 0,
  dropped: false,
} as const;

const plain = (lines: readonly PreviewedLine[], columns: number): string => linesText(lines, columns);

test("tokens that are trained stand behind a plus, and control characters steer no terminal", () => {
  const [title, ...rows] = plain([line], 80).split("\n");
  expect(title).toBe("line 4: 4 tokens, 2 trained");
  expect(rows.slice(0, 3)).toEqual(["  <s>│Hi\\n", "+ �Ho│ ho", ""]);
});

test("rows fit, and say what becomes of a line", () => {
  expect(plain([line], 8).split("\n").slice(5, 9)).toEqual(["  <s>", "  Hi\\n", "+ �Ho", "+  ho"]);
  const validation = { ...line, part: "validation", truncated: true, truncatedTargets: 1 } as const;
  expect(plain([validation], 80)).toMatch(
    /^line 4, validation: 4 tokens, 2 trained, truncated here: 1 target token lost/,
  );
  const dropped = { ...line, targetTokens: 0, dropped: true };
  expect(plain([dropped], 80)).toMatch(/^line 4: 4 tokens, 0 trained, dropped: no target tokens/);
});

test("rows that are trained stand out where colour is shown", () => {
  vi.stubEnv("NO_COLOR", undefined);
  vi.stubEnv("FORCE_COLOR", "1");
  const rows = plain([line], 80).split("\n");
  vi.unstubAllEnvs();
  expect(rows.slice(1, 3)).toEqual(["  <s>│Hi\\n", "\u001b[32m+ �Ho│ ho\u001b[39m"]);
});

test("at 60 columns nothing is wider", () => {
  const long = { ...line, part: "validation", truncated: true, truncatedTargets: 1234 } as const;
  const many = Array.from({ length: 200 }, (_, id) => ({ id, text: ` word${id}`, isTrained: id % 50 > 25 }));
  const text = plain([{ ...long, shown: many }], 60);
  expect(Math.max(...text.split("\n").map((row) => row.length))).toBeLessThanOrEqual(60);
  expect(text).toContain("+  word26│ word27");
});

test("the place of an example says its file where there are several", () => {
  expect(plain([{ ...line, unit: "row", file: "b.parquet" }], 80)).toMatch(/^b\.parquet: row 4: 4 tokens/);
  expect(plain([{ ...line, file: "b.jsonl" }], 80)).toMatch(/^b\.jsonl:4: 4 tokens/);
});

test("of a preference, a line says which answer it has", () => {
  expect(plain([{ ...line, answer: "chosen" }], 80)).toMatch(/^line 4, chosen answer: 4 tokens, 2 trained\n/);
  const lost = { ...line, answer: "rejected", part: "validation", dropped: true } as const;
  expect(plain([lost], 120)).toMatch(
    /^line 4, rejected answer, validation: 4 tokens, 2 trained, dropped: the other answer has no target tokens\n/,
  );
});
