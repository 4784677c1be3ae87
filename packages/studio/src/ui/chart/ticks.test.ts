import { expect, test } from "vitest";
import { tickText } from "./ticks.ts";

test("numbers at an axis are short, large and small ones with an exponent", () => {
  const texts = [0, 0.5, 1234.5, 0.1 + 0.2, -3, 2e-4, 1.5e7, -1e-6].map(tickText);
  expect(texts).toEqual(["0", "0.5", "1,234.5", "0.3", "-3", "2e-4", "1.5e7", "-1e-6"]);
});
