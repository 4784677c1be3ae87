import { describe, expect, test } from "vitest";
import { MAX_ROWS, type Metrics, merged, NO_METRICS, ownCurves, withDetail } from "./metrics.ts";

/** Steps from one to another, with an evaluation after every tenth. */
function measured(from: number, to: number): Metrics {
  const step = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  const evaluated = step.filter((at) => at % 10 === 0);
  const values = step.map((at) => 1 / at);
  return {
    object: "run.metrics",
    training: { step, loss: values, learning_rate: values, gradient_norm: values, tokens_per_second: values },
    validation: { step: evaluated, loss: evaluated.map((at) => 2 / at) },
    last_step: to,
  };
}

const withoutEvaluation = (metrics: Metrics): Metrics => ({ ...metrics, validation: { step: [], loss: [] } });

describe("merged", () => {
  test("adds what follows, and no step twice", () => {
    const first = merged(NO_METRICS, measured(1, 25));
    expect(merged(first!, measured(25, 40))).toEqual(measured(1, 40));
  });

  test("takes the evaluation of the last step that it knows", () => {
    const known = withoutEvaluation(measured(1, 10));
    expect(merged(known, measured(10, 10))?.validation.step).toEqual([10]);
  });

  test("keeps the same object where nothing is new", () => {
    const known = measured(1, 30);
    expect(merged(known, measured(30, 30))).toBe(known);
  });

  test("asks for everything again where the run went back", () => {
    expect(merged(measured(1, 30), measured(20, 20))).toBeUndefined();
  });

  test("has null in columns from before their first measurement", () => {
    const first = measured(1, 2);
    const next = measured(2, 4);
    const training = { ...next.training, "rewards/margins": [0.5, 0.6, 0.7] };
    const all = merged(first, { ...next, training })!;
    expect(all.training["rewards/margins"]).toEqual([null, null, 0.6, 0.7]);
    expect(merged(all, measured(4, 5))?.training["rewards/margins"]).toEqual([null, null, 0.6, 0.7, null]);
  });

  test("asks for everything again where it has become too much", () => {
    const known = merged(NO_METRICS, measured(1, MAX_ROWS))!;
    expect(merged(known, measured(MAX_ROWS, MAX_ROWS + 1))).toBeUndefined();
  });
});

test("a part that is looked at closely has its own rows, between those of the outline", () => {
  const every = (columns: Metrics["training"]): Metrics["training"] =>
    Object.fromEntries(
      Object.entries(columns).map(([name, column]) => [name, column.filter((_, i) => i % 10 === 0)]),
    ) as Metrics["training"];
  const all = measured(1, 101);
  const outline = { ...all, training: every(all.training) };
  const { training, validation } = withDetail(outline, measured(20, 40), { min: 20, max: 40 });
  const steps = [1, 11, ...measured(20, 40).training.step, 41, 51, 61, 71, 81, 91, 101];
  expect(training.step).toEqual(steps);
  expect(training.loss).toEqual(steps.map((step) => 1 / step));
  expect(validation).toEqual(all.validation);
});

test("an objective's own columns are curves by their names, of training and held out", () => {
  const { training, validation, ...rest } = measured(1, 10);
  const [margins, accuracies] = [training.loss, validation.loss];
  const metrics = {
    ...rest,
    training: { ...training, reward: margins, "rewards/margins": margins },
    validation: { ...validation, "eval_rewards/margins": accuracies, eval_kl: accuracies },
  };
  expect(ownCurves(metrics)).toEqual([
    { name: "kl", training: undefined, validation: accuracies },
    { name: "reward", training: margins, validation: undefined },
    { name: "rewards/margins", training: margins, validation: accuracies },
  ]);
  expect(ownCurves(NO_METRICS)).toEqual([]);
});
