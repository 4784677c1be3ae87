import fc from "fast-check";
import { expect, test } from "vitest";
import { parseSettings, randomStream } from "#common";
import { type CaseSet, decide, gateSettings, type PairedCase, signTest } from "./gate.ts";

const RULE = parseSettings(gateSettings, {});

const cases = (
  set: CaseSet,
  {
    both = 0,
    gained = 0,
    lost = 0,
    neither = 0,
  }: Partial<Record<"both" | "gained" | "lost" | "neither", number>>,
): PairedCase[] => [
  ...Array.from({ length: both }, () => ({ set, before: true, after: true })),
  ...Array.from({ length: gained }, () => ({ set, before: false, after: true })),
  ...Array.from({ length: lost }, () => ({ set, before: true, after: false })),
  ...Array.from({ length: neither }, () => ({ set, before: false, after: false })),
];

/** Binomial coefficient by Pascal's triangle. */
function choose(n: number, k: number): number {
  let row = [1];
  for (let i = 0; i < n; i++) row = [1, ...row.slice(1).map((x, j) => x + (row[j] ?? 0)), 1];
  return row[k] ?? 0;
}

test("the sign test is the tail of a binomial distribution", () => {
  expect(signTest(0, 0)).toBe(1);
  expect(signTest(6, 0)).toBeCloseTo(1 / 64, 12);
  expect(signTest(8, 2)).toBeCloseTo(56 / 1024, 12);
  expect(signTest(0, 9)).toBe(1);
  for (const n of [1, 7, 30]) {
    let tail = 0;
    for (let k = n; k >= 0; k--) {
      tail += choose(n, k) / 2 ** n;
      expect(signTest(k, n - k)).toBeCloseTo(tail, 9);
    }
  }
  expect(signTest(2600, 2400)).toBeGreaterThan(0.002); // no overflow on the way
  expect(signTest(2600, 2400)).toBeLessThan(0.003);
});

test("a candidate that is no better passes at most as often as the level says, for any number of changed cases", () => {
  for (const level of [0.01, 0.025, 0.05, 0.2])
    for (let n = 0; n <= 60; n++) {
      let passes = 0;
      for (let wins = 0; wins <= n; wins++)
        if (signTest(wins, n - wins) <= level) passes += choose(n, wins) / 2 ** n;
      expect(passes).toBeLessThanOrEqual(level + 1e-12);
    }
});

test("the reasons, each with its numbers", () => {
  expect(decide(cases("lessons", { gained: 5 }), RULE)).toMatchObject({
    live: false,
    reason: "too_few_cases",
    text: "5 cases of lessons; at least 6 decide",
  });
  const better = cases("lessons", { gained: 6, both: 2, neither: 3 });
  expect(decide(better, RULE)).toEqual({
    live: true,
    reason: "better",
    text: "lessons: 2 of 11 right before, 8 after; sign test p = 0.016",
    p: expect.closeTo(1 / 64, 12),
    sets: {
      lessons: { of: 11, before: 2, after: 8, gained: 6, lost: 0 },
      checks: { of: 0, before: 0, after: 0, gained: 0, lost: 0 },
      older: { of: 0, before: 0, after: 0, gained: 0, lost: 0 },
    },
  });
  expect(decide(cases("lessons", { gained: 7, lost: 1 }), RULE).reason).toBe("not_better");
  expect(decide([...better, ...cases("checks", { both: 40, gained: 9, lost: 1 })], RULE)).toMatchObject({
    live: false,
    reason: "check_lost",
    text: "1 of 41 checks that were right are wrong now",
  });
  // a tenth may go; more only if as many come
  expect(decide([...better, ...cases("older", { both: 19, lost: 2 })], RULE).live).toBe(true);
  expect(decide([...better, ...cases("older", { both: 18, lost: 3 })], RULE).reason).toBe("older_lost");
  expect(decide([...better, ...cases("older", { both: 18, lost: 3, gained: 1 })], RULE).live).toBe(true);
  // within the margin, but more than chance
  expect(decide([...better, ...cases("older", { both: 92, lost: 8 })], RULE).reason).toBe("older_lost");
});

test("a version without deleted lessons must do no worse, with however few cases; what the base lost is no matter of answers", () => {
  const kept = cases("lessons", { both: 2 });
  expect(decide(kept, RULE, { deleted: 1 })).toMatchObject({ live: true, reason: "without_deleted" });
  expect(decide(cases("lessons", { both: 2, lost: 1 }), RULE, { deleted: 1 }).reason).toBe("older_lost");
  expect(decide([...kept, ...cases("checks", { lost: 1 })], RULE, { deleted: 1 }).reason).toBe("check_lost");
  const warning = "much is lost";
  expect(decide(cases("lessons", { gained: 9 }), RULE, { warning })).toMatchObject({
    live: false,
    reason: "forgotten",
    text: warning,
  });
});

const anySet = fc.record({
  both: fc.nat(20),
  gained: fc.nat(20),
  lost: fc.nat(20),
  neither: fc.nat(20),
});

test("no candidate goes live that gains no lesson, loses a check, or loses more older lessons than it may", () => {
  fc.assert(
    fc.property(anySet, anySet, anySet, (lessons, checks, older) => {
      const all = [...cases("lessons", lessons), ...cases("checks", checks), ...cases("older", older)];
      const { live, sets } = decide(all, RULE);
      expect(sets.lessons.gained).toBe(lessons.gained);
      if (!live) return;
      expect(sets.lessons.of).toBeGreaterThanOrEqual(RULE.gateCases);
      expect(lessons.gained).toBeGreaterThanOrEqual(lessons.lost + 6);
      expect(checks.lost).toBe(0);
      expect(older.lost - older.gained).toBeLessThanOrEqual(RULE.gateMargin * sets.older.of);
    }),
  );
});

test("a worse answer never opens the gate", () => {
  fc.assert(
    fc.property(anySet, anySet, fc.constantFrom("lessons", "checks", "older"), (lessons, older, set) => {
      const all = [...cases("lessons", lessons), ...cases("checks", { both: 3 }), ...cases("older", older)];
      const at = all.findIndex((one) => one.set === set && one.after);
      fc.pre(at >= 0);
      const worse = all.map((one, i) => (i === at ? { ...one, after: false } : one));
      expect(decide(worse, RULE).live && !decide(all, RULE).live).toBe(false);
    }),
  );
});

/** Candidates that answer each case right by chance. */
function simulate(
  seed: number,
  chances: Readonly<Record<CaseSet, readonly [of: number, before: number, after: number]>>,
) {
  const random = randomStream(seed, "candidates");
  const right = (chance: number): boolean => random.uniform() < chance;
  return Array.from({ length: 100 }, () =>
    decide(
      Object.entries(chances).flatMap(([set, [of, before, after]]) =>
        Array.from({ length: of }, () => ({
          set: set as CaseSet,
          before: right(before),
          after: right(after),
        })),
      ),
      RULE,
    ),
  ).filter(({ live }) => live).length;
}

test("of 100 candidates that are worse none goes live, of 100 equal ones 5 at most, of 100 taught ones nearly all", () => {
  for (let seed = 0; seed < 20; seed++) {
    const at = (before: number, after: number) =>
      simulate(seed, { lessons: [25, before, after], checks: [0, 1, 1], older: [40, 0.9, 0.9] });
    expect(at(0.5, 0.15), "lessons lost").toBe(0);
    expect(at(0.3, 0.3), "equal").toBeLessThanOrEqual(5);
    expect(at(0.5, 0.5), "equal").toBeLessThanOrEqual(5);
    // it learns what it is taught, and forgets the rest
    const forgets = { lessons: [25, 0.2, 0.9], checks: [5, 1, 1], older: [40, 0.9, 0.3] } as const;
    expect(simulate(seed, forgets), "older lost").toBe(0);
    expect(simulate(seed, { ...forgets, checks: [8, 1, 0.1], older: [0, 1, 1] }), "checks lost").toBe(0);
    const taught = { lessons: [25, 0.2, 0.85], checks: [5, 1, 1], older: [40, 0.95, 0.95] } as const;
    expect(simulate(seed, taught), "taught").toBeGreaterThan(90);
  }
});
