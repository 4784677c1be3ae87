import fc from "fast-check";
import { expect, test } from "vitest";
import { Sparkline, sparklinePath } from "./sparkline.tsx";

test("a curve stays within its drawing, from the first value to the last", () => {
  const values = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), {
    minLength: 2,
    maxLength: 48,
  });
  fc.assert(
    fc.property(values, (all) => {
      const points = (sparklinePath(all) ?? "").slice(1).split("L");
      expect(points.length).toBe(all.length);
      for (const point of points) {
        const [x = -1, y = -1] = point.split(" ").map(Number);
        expect(x >= 1 && x <= 95 && y >= 2 && y <= 22).toBe(true);
      }
    }),
  );
});

test("what is not a number is left out, and one value is no curve", () => {
  expect(sparklinePath([1, Number.NaN, 3])).toBe("M1.0 22.0L95.0 2.0");
  expect(sparklinePath([1])).toBeUndefined();
});

test("where there is no curve its place stays empty", () => {
  const drawn = (values: readonly number[]) => Sparkline({ values, label: "loss" }).type;
  expect([drawn([1]), drawn([1, 2])]).toEqual(["span", "svg"]);
});
