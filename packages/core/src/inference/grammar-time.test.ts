import { expect, test } from "vitest";
import { GrammarTime } from "./core-grammars.ts";

/**
 * A time of 12 milliseconds for each step, and rows that use up their shares, in pieces of so many milliseconds. Returns a function that
 * tells a share.
 */
function shares(perStep = 12, piece = 0.25) {
  let now = 0;
  const time = new GrammarTime(perStep, () => now);
  const use = (most: number): number =>
    time.share((isOver) => {
      const start = now;
      while (!isOver() && now - start < most) now += piece;
      return now - start;
    });
  return { time, use };
}

test("rows have equal shares of a step's time, and more where others did not need theirs", () => {
  const { time, use } = shares();
  time.begin(3);
  expect(use(99)).toBeCloseTo(4, 0);
  expect(use(1)).toBe(1);
  expect(use(99)).toBeCloseTo(7, 0);
});

test("rows that wait share what the others have left", () => {
  const { time, use } = shares();
  time.begin(4);
  expect(use(1) + use(1)).toBe(2);
  time.shareRest({ waiting: 2, running: 4 });
  expect(use(99)).toBeCloseTo(5, 0);
  expect(use(99)).toBeCloseTo(5, 0);
});

test("a step takes no longer than its time, however many rows have grammars", () => {
  const { time, use } = shares(12, 0.01);
  time.begin(40);
  let total = 0;
  for (let row = 0; row < 39; row++) total += use(99);
  time.shareRest({ waiting: 39, running: 40 });
  for (let row = 0; row < 39; row++) total += use(99);
  expect(total).toBeGreaterThanOrEqual(12);
  // each row does a piece
  expect(total).toBeLessThan(12 + 1);
});

test("a step takes longer while nothing else runs", () => {
  const { time, use } = shares();
  time.begin(2);
  time.shareRest({ waiting: 2, running: 2 });
  expect(use(99) + use(99)).toBeCloseTo(36, 0);
});

test("shares may have no time, or no end", () => {
  const none = shares(0);
  none.time.begin(1);
  expect(none.use(99)).toBeLessThan(0.5);
  const all = shares(Infinity);
  all.time.begin(3);
  for (let row = 0; row < 3; row++) expect(all.use(99)).toBe(99);
});
