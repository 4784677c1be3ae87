import { expect, test } from "vitest";
import { type Ending, fallAt, followLoss, lastStep } from "./ending.ts";

const settings = { steps: 40, epochs: 10, targetLoss: 0.1 };

/** What is known after updates of these mean losses, two targets each, beginning with the first. */
function follow(losses: readonly number[], change: Partial<typeof settings> = {}): Ending {
  let known: Ending = {};
  for (const [i, loss] of losses.entries())
    known = followLoss(
      known,
      { loss: 2 * loss, count: 2, metrics: {} },
      { ...settings, ...change, step: i + 1 },
    );
  return known;
}

const times = (count: number, loss: number): readonly number[] => new Array(count).fill(loss);

test("a run ends a quarter later when the mean loss of a pass is low enough", () => {
  const known = follow([...times(4, 1), ...[0.09, 0.19, 0.01, 0.03]]);
  expect(known).toEqual({ ending: { decided: 8, step: 10, loss: expect.closeTo(0.08) } });
  expect(lastStep(known, settings)).toBe(10);
  expect([8, 9, 10].map((step) => fallAt(step, known))).toEqual([1, 0.5, 0]);
});

test("passes are not mixed, and what was decided stays", () => {
  expect(follow([1, 0, 0, 0, 0, 0, 0])).toEqual({ pass: { updates: 3, loss: 0, count: 6 } });
  const decided = { decided: 4, step: 5, loss: 0 };
  expect(follow([0, 0, 0, 0, 9])).toEqual({ ending: decided });
});

test("no run ends where none is asked to, nor later than it is planned", () => {
  expect(follow(times(8, 0), { targetLoss: 0 })).toEqual({ ending: undefined });
  expect(follow([...times(32, 1), ...times(4, 0)])).toEqual({});
  expect(follow(times(8, 0), { epochs: 1 })).toEqual({ pass: { updates: 8, loss: 0, count: 16 } });
  expect(lastStep({}, settings)).toBe(40);
  expect(fallAt(3, {})).toBe(1);
});

test("what is to stay as it was counts neither for nor against it", () => {
  const update = { loss: 0.1 + 30, count: 2 + 3, metrics: { kept: { sum: 30, count: 3 } } };
  const known = followLoss({}, update, { ...settings, steps: 10, step: 1 });
  expect(known).toEqual({ ending: { decided: 1, step: 2, loss: expect.closeTo(0.05) } });
});
