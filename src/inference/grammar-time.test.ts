import { expect, test } from "vitest";
import { GrammarTime } from "./grammar-time.ts";

/** A time of 12 milliseconds for each step, and rows that use up their shares. Returns a function that tells a share. */
function shares(perStep = 12) {
  let now = 0;
  const time = new GrammarTime(perStep, () => now);
  const use = (most: number): number =>
    time.share((isOver) => {
      const start = now;
      while (!isOver() && now - start < most) now += 0.25;
      return now - start;
    });
  return { time, use };
}

test("rows that wait have equal shares of a step's time, and more where others did not need theirs", () => {
  const { time, use } = shares();
  time.begin({ waiting: 3, running: 4 });
  expect(use(99)).toBeCloseTo(4, 0);
  expect(use(1)).toBe(1);
  expect(use(99)).toBeCloseTo(7, 0);
});

test("a step takes no longer than its time, but that each row has some", () => {
  const { time, use } = shares();
  time.begin({ waiting: 1, running: 9 });
  let total = 0;
  for (let row = 0; row < 9; row++) total += use(99);
  expect(total).toBeGreaterThan(12 + 8);
  expect(total).toBeLessThan(12 + 8 + 9 * 0.5);
});

test("a step takes longer while nothing else runs", () => {
  const { time, use } = shares();
  time.begin({ waiting: 2, running: 2 });
  expect(use(99) + use(99)).toBeCloseTo(36, 0);
});

test("shares may have no time, or no end", () => {
  const none = shares(0);
  none.time.begin({ waiting: 1, running: 2 });
  expect(none.use(99)).toBeLessThan(0.5);
  const all = shares(Infinity);
  all.time.begin({ waiting: 3, running: 4 });
  for (let row = 0; row < 3; row++) expect(all.use(99)).toBe(99);
});
