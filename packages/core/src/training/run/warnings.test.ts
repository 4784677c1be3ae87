import { expect, test } from "vitest";
import { watchForCollapse } from "./warnings.ts";

const facts = { lastStep: 9, keepsBest: true, vocabularySize: 1024, base: undefined, best: undefined };
const evaluation = { type: "evaluation", step: 0, accuracy: 0, best: false, seconds: 0 } as const;
const step = { type: "step", epoch: 0, accuracy: 0, learningRate: 1e-3, gradientNorm: 1 } as const;
const counts = { tokens: 9, targetTokens: 9, examples: 1, seconds: 0 } as const;

// ln 1024 = 6.93: a first batch may be easier than all examples, for which the base is worse than a guess
test.each([
  { base: 6.5, reasons: ["guessing"] },
  { base: 7.2, reasons: [] },
])("a loss like a guess's is a sign where the base had $base: $reasons", ({ base, reasons }) => {
  const watch = watchForCollapse(facts);
  const events = [
    { ...evaluation, loss: base },
    { ...step, ...counts, step: 1, loss: 5.9 },
    { ...step, ...counts, step: 3, loss: 8.3 },
  ].flatMap(watch);
  expect(events.map((event) => event.type === "warning" && event.reason)).toEqual(reasons);
});

test.each([
  {
    reward: 0.25,
    said: [/^the validation reward is 0.250 after training and 0.500 before: .* no evaluation was better/],
  },
  { reward: 0.5, said: [] },
  { reward: 0.75, said: [] },
])("a reward of $reward after 0.5 is no success where it is lower", ({ reward, said }) => {
  const watch = watchForCollapse({ ...facts, keepsBest: false });
  const events = [
    { ...evaluation, loss: 3, metrics: { eval_reward: 0.5 } },
    { ...evaluation, step: 9, loss: 2, metrics: { eval_reward: reward } },
  ].flatMap(watch);
  expect(events.map((event) => event.type === "warning" && event.message)).toEqual(
    said.map((text) => expect.stringMatching(text)),
  );
});

test("an update with nothing to learn is no sign: not its gradient, nor its loss", () => {
  const watch = watchForCollapse(facts);
  const anchored = { ...step, ...counts, targetTokens: 0, step: 1, loss: 0, gradientNorm: 0 };
  const events = [anchored, { ...step, ...counts, step: 2, loss: 7.5 }].flatMap(watch);
  expect(events).toEqual([]);
});
