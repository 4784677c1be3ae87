import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { fitParts } from "./terminal.ts";
import { curveText, drawCurve, readHistory, trainProgress, validationText } from "./training-view.ts";

test("validation loss: before, after, and the best where it lies between", () => {
  expect(validationText([])).toBeUndefined();
  expect(validationText([{ step: 9, loss: 0 }])).toBe("0.000 (perplexity 1.00)");
  const before = { step: 0, loss: 1 };
  const after = { step: 20, loss: 0.5 };
  expect(validationText([before, after])).toBe("1.000 (perplexity 2.72) → 0.500 (perplexity 1.65)");
  const [first, last] = [before, after].map((point) => ({ ...point, metrics: {} }));
  expect(validationText([first!, last!])).toBe("1.000 → 0.500");
  expect(validationText([before, { step: 10, loss: 0.25 }, after])).toContain("best 0.250 at step 10");
});

test("reads the metrics of a run, which may have none", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-history-"));
  try {
    expect(await readHistory(folder)).toEqual({ steps: [], validation: [] });
    const lines = [{ type: "evaluation", step: 0, loss: 3, accuracy: 0, seconds: 1 }, step(1, 2)];
    await writeFile(join(folder, "metrics.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const { steps, validation } = await readHistory(folder);
    expect(steps).toMatchObject([{ step: 1, loss: 2 }]);
    expect(validation).toMatchObject([{ step: 0, loss: 3 }]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

const step = (number: number, loss: number) => ({
  type: "step" as const,
  step: number,
  epoch: 0,
  loss,
  accuracy: 0.5,
  learningRate: 5e-4,
  gradientNorm: 1,
  tokens: 100,
  targetTokens: 50,
  examples: 4,
  seconds: 0.5,
});

test("shows what is known so far", () => {
  const progress = trainProgress(1000);
  expect(progress.parts(1e9).join("  ")).toBe("");
  progress.evaluation({ loss: 2.5 });
  expect(progress.parts(1e9).join("  ")).toBe("validation 2.500");
  progress.step(step(1, 3));
  expect(progress.parts(1e9).join("  ")).toBe(
    "1/1,000  loss 3.000  200 tok/s  8 min 20 s left  validation 2.500  lr 5.0e-4  1.00 GB",
  );
});

test("step, loss and rate are to be seen on a narrow terminal, and more where there is room", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 99_999 }), fc.integer({ min: 40, max: 200 }), (number, columns) => {
      const progress = trainProgress(100_000);
      progress.evaluation({ loss: 2.5 });
      progress.step({ ...step(number, 11.5), seconds: 333 });
      const line = fitParts(progress.parts(12.3e9), columns);
      expect(line.length).toBeLessThanOrEqual(columns);
      expect(line).toMatch(/^[\d,]+\/100,000 {2}loss 11\.500 {2}0\.30 tok\/s/);
      if (columns >= 100) expect(line).toContain("12.3 GB");
    }),
  );
});

test("the shown loss follows slowly and without bias to the start", () => {
  const progress = trainProgress(100);
  for (let i = 1; i <= 50; i++) progress.step(step(i, 2));
  expect(progress.parts(0).join("  ")).toContain("loss 2.000");
  progress.step(step(51, 12));
  expect(Number(/loss ([\d.]+)/.exec(progress.parts(0).join("  "))?.[1])).toBeCloseTo(3, 1);
});

const falling = Array.from({ length: 40 }, (_, step) => ({ step: step + 1, loss: 4 - step / 13 }));

test("draws a straight fall from corner to corner", () => {
  expect(drawCurve(falling, { width: 27, height: 4, ascii: true })).toBe(
    [
      "4.000 |***",
      "      |   *******",
      "      |          ******",
      "1.000 |                ****",
      "       step 1            40",
    ].join("\n"),
  );
});

test("braille has eight dots a cell", () => {
  const points = [0, 1, 2, 3].map((step) => ({ step, loss: 3 - step }));
  expect(drawCurve(points, { width: 15, height: 2 })).toBe(
    ["3.000 │⠉⠒⠤⣀", "0.000 │    ⠉⠒⠤⣀", "       step 0 3"].join("\n"),
  );
});

test("what cannot be drawn is left out", () => {
  expect(drawCurve([])).toBe("");
  expect(drawCurve([{ step: 1, loss: Number.NaN }])).toBe("");
  const withHole = falling.with(7, { step: 8, loss: Number.POSITIVE_INFINITY });
  expect(drawCurve(withHole, { ascii: true })).toContain("4.000 |*");
});

test("a flat curve and a single point are lines in the middle", () => {
  const flat = drawCurve([{ step: 5, loss: 2 }], { width: 20, height: 3, ascii: true }).split("\n");
  expect(flat[1]).toBe("      |*************");
});

test("any points give the size that was asked for, and at least one mark in every column", () => {
  const point = fc.record({
    step: fc.integer({ min: 0, max: 1e6 }),
    loss: fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  });
  fc.assert(
    fc.property(
      fc.array(point, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 2, max: 12 }),
      (points, height) => {
        const lines = drawCurve(points, { width: 50, height, ascii: true }).split("\n");
        expect(lines).toHaveLength(height + 1);
        const rows = lines.slice(0, -1);
        const start = rows[0]!.indexOf("|") + 1;
        for (let column = start; column < 50; column++) {
          expect(
            rows.some((row) => row[column] === "*"),
            `column ${column}`,
          ).toBe(true);
        }
        for (const row of rows) expect(row.length).toBeLessThanOrEqual(50);
      },
    ),
    { numRuns: 50 },
  );
});

test("the curve of a run that grades answers is their reward", () => {
  const graded = [0.1, 0.4, 0.9].map((reward, at) => ({ ...step(at + 1, -reward), metrics: { reward } }));
  const curve = curveText({ steps: graded, validation: [] }, 40);
  expect(curve.split("\n")[0]).toContain("reward");
  expect(curve).toContain("0.900");
  const plain = [1, 2, 3].map((at) => step(at, 1 / at));
  expect(curveText({ steps: plain, validation: [] }, 40)).toContain("training loss");
});
