import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Drafter, DraftRate, DraftRates, findDraft, StepTimes } from "./drafts.ts";
import type { Sequence } from "./sequence.ts";

/** The length of the match that ends before position `next`, at most 16. */
function matchAt(tokens: readonly number[], next: number): number {
  let length = 0;
  while (length < 16 && length < next && tokens[next - 1 - length] === tokens[tokens.length - 1 - length])
    length++;
  return length;
}

/** All positions are tried, and the copy is made token by token. */
function bruteForce(tokens: readonly number[], count: number): readonly number[] {
  const positions = Array.from({ length: Math.max(0, tokens.length - 1) }, (_, i) => i + 1);
  const longest = Math.max(0, ...positions.map((next) => matchAt(tokens, next)));
  if (longest < 2) return [];
  const next = positions.findLast((at) => matchAt(tokens, at) === longest) as number;
  const all = [...tokens];
  for (let i = 0; i < count; i++) all.push(all[next + i] as number);
  return all.slice(tokens.length);
}

describe("prompt lookup", () => {
  test("finds what a search of all positions finds", () => {
    // few tokens recur often
    const tokens = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 60 });
    const repeated = fc
      .tuple(
        fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 25 }),
        fc.integer({ min: 2, max: 4 }),
      )
      .map(([part, times]) => Array.from({ length: times }, () => part).flat());
    fc.assert(
      fc.property(fc.oneof(tokens, repeated), fc.integer({ min: 0, max: 12 }), (all, count) => {
        expect(findDraft(all, count)).toEqual(count === 0 ? [] : bruteForce(all, count));
      }),
    );
  });

  test.each([
    ["the tokens after an earlier occurrence", [1, 2, 3, 4, 5, 9, 2, 3], [4, 5, 9]],
    ["the longest match before a later one", [7, 1, 2, 5, 5, 8, 1, 2, 6, 6, 7, 1, 2], [5, 5, 8]],
    ["the later of two", [1, 2, 5, 5, 1, 2, 6, 6, 1, 2], [6, 6, 1]],
    ["what recurs at once goes on", [8, 4, 6, 4, 6, 4, 6], [4, 6, 4]],
    ["nothing after one token that recurs", [1, 2, 3, 1], []],
    ["nothing in one token", [1], []],
  ])("%s", (_, tokens, draft) => {
    expect(findDraft(tokens, 3)).toEqual(draft);
  });
});

/** Steps of one token take 10 ms, and each further token as many more. */
function timesWith(further: number): StepTimes {
  const times = new StepTimes();
  for (let i = 0; i < 200; i++) {
    times.note(1, 10);
    times.note(5, 10 + 4 * further);
  }
  return times;
}

describe("the number of drafted tokens", () => {
  const choose = (rate: DraftRate, times: StepTimes): number =>
    rate.choose(7, (tokens) => times.cost(tokens));

  test("is none where a draft costs more than it saves", () => {
    const wrong = new DraftRate();
    for (let i = 0; i < 10; i++) wrong.note({ accepted: 0, rejected: true });
    expect(choose(wrong, timesWith(3))).toBe(0);
    const right = new DraftRate();
    for (let i = 0; i < 10; i++) right.note({ accepted: 7, rejected: false });
    expect(choose(right, timesWith(11))).toBe(0);
  });

  test("grows with the share of tokens that are chosen, and shrinks again", () => {
    const rate = new DraftRate();
    const times = timesWith(3);
    const grown = Array.from({ length: 20 }, () => {
      rate.note({ accepted: 2, rejected: false });
      return choose(rate, times);
    });
    expect(grown).toEqual(grown.toSorted((a, b) => a - b));
    expect(grown.at(-1)).toBe(7);
    for (let i = 0; i < 8; i++) rate.note({ accepted: 0, rejected: true });
    expect(choose(rate, times)).toBe(0);
  });

  test("is never more than what was found", () => {
    const rate = new DraftRate();
    for (let i = 0; i < 20; i++) rate.note({ accepted: 7, rejected: false });
    expect(rate.choose(3, () => 1.1)).toBe(3);
    expect(rate.choose(0, () => 1.1)).toBe(0);
  });
});

describe("the cost of a step", () => {
  test("is measured", () => {
    expect(timesWith(3).cost(4)).toBeCloseTo(1.9, 1);
  });

  test("is forgotten slowly, so that drafts are tried again", () => {
    const times = timesWith(20);
    expect(times.cost(2)).toBeGreaterThan(2.5);
    for (let i = 0; i < 2000; i++) times.note(1, 10);
    expect(times.cost(2)).toBeLessThan(1.4);
  });

  test("is not thrown off by one slow step", () => {
    const times = timesWith(3);
    times.note(1, 5000);
    times.note(5, 5000);
    expect(times.cost(4)).toBeGreaterThan(1.6);
    expect(times.cost(4)).toBeLessThan(2.2);
  });
});

test("near drafts learn nothing from steps before them, and no draft passes the place where they begin", () => {
  const drafter = new Drafter({ tokens: 7, sameUpTo: 40, isPadded: false }, "int8");
  const draftRates = new DraftRates();
  const sequenceOf = (length: number) =>
    ({
      ...{ tokens: Array.from({ length }, (_, i) => i % 9), generated: 0, draftRates },
      request: { maxTokens: 100 },
    }) as unknown as Sequence;
  const lengths = [30, 36, 40, 41].map((length) => drafter.draft(sequenceOf(length)).tokens.length);
  expect(lengths).toEqual([7, 4, 0, 7]);
  const choose = (length: number): number =>
    drafter.choose(sequenceOf(length), drafter.draft(sequenceOf(length)), { isPadded: false });
  const before = choose(41);
  expect([before > 0, choose(30) > 0]).toEqual([true, true]);
  for (let i = 0; i < 30; i++)
    drafter.note({ draft: drafter.draft(sequenceOf(30)), verified: 1, chosen: [-1], milliseconds: 1 });
  expect([choose(41), choose(30)]).toEqual([before, 0]);
});
