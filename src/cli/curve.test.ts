import fc from "fast-check";
import { expect, test } from "vitest";
import { drawCurve } from "./curve.ts";

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
