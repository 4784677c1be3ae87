import { expect, test } from "vitest";
import { linesText } from "./preview-text.ts";

const shown = [
  { id: 1, text: "<s>", isTrained: false },
  { id: 2, text: "Hi\n", isTrained: false },
  { id: 3, text: "\u001bHo", isTrained: true },
  { id: 4, text: " ho", isTrained: true },
];
const line = {
  line: 4,
  part: "train",
  shown,
  tokens: 4,
  targetTokens: 2,
  truncated: false,
  truncatedTargets: 0,
  dropped: false,
} as const;

test("tokens that are trained stand behind a plus, and control characters steer no terminal", () => {
  const [title, ...rows] = linesText([line], 80).split("\n");
  expect(title).toBe("line 4: 4 tokens, 2 trained");
  expect(rows.slice(0, 3)).toEqual(["  <s>│Hi\\n", "+ �Ho│ ho", ""]);
});

test("rows fit, and say what becomes of a line", () => {
  expect(linesText([line], 8).split("\n").slice(1, 5)).toEqual(["  <s>", "  Hi\\n", "+ �Ho", "+  ho"]);
  const heldOut = { ...line, part: "heldOut", truncated: true, truncatedTargets: 1 } as const;
  expect(linesText([heldOut], 80)).toMatch(
    /^line 4, held out: 4 tokens, 2 trained, cut off here: 1 token not/,
  );
  const dropped = { ...line, targetTokens: 0, dropped: true };
  expect(linesText([dropped], 80)).toMatch(/^line 4: 4 tokens, 0 trained, left out: nothing to learn/);
});
