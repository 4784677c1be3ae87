import fc from "fast-check";
import { omitUndefined } from "mixture-of-shards-core/common";
import { expect, test } from "vitest";
import { createSeries, createSummary, decimate, growingColumns, namedRows, shownColumns } from "./runs.ts";

const stepOf = (step: number, loss: number) =>
  ({
    ...({ type: "step", step, loss, accuracy: 0, learningRate: 1e-3, gradientNorm: 1 } as const),
    ...{ tokens: 100, seconds: 2 },
  }) as const;
const evaluationOf = (step: number, loss: number) =>
  ({ type: "evaluation", step, loss, accuracy: 0, seconds: 1 }) as const;

test("a summary has the last and the best values, and means of at most 48 stretches", () => {
  const summary = createSummary();
  summary.add(evaluationOf(0, 9));
  for (let step = 1; step <= 1000; step++) {
    summary.add(stepOf(step, 1000 - step));
    if (step % 250 === 0) summary.add(evaluationOf(step, step === 500 ? 1 : 3));
  }
  const { sparkline, ...values } = summary.value();
  expect(values).toEqual({
    ...{ step: 1000, loss: 0, validation_loss: 3 },
    ...{ best_validation_loss: 1, best_step: 500 },
  });
  expect(sparkline.length).toBeGreaterThan(24);
  expect(sparkline.length).toBeLessThanOrEqual(48);
  expect(sparkline).toEqual(sparkline.toSorted((a, b) => b - a));
  expect(sparkline[0]).toBeCloseTo(983.5);
});

test("a run that begins again has only its new values", () => {
  const [summary, series] = [createSummary(), createSeries()];
  for (const part of [summary, series]) {
    for (const one of [evaluationOf(0, 5), stepOf(1, 4), stepOf(2, 3), evaluationOf(2, 1)]) part.add(one);
    for (const one of [evaluationOf(0, 6), stepOf(1, 7)]) part.add(one);
  }
  expect(summary.value()).toEqual({
    ...{ step: 1, loss: 7, validation_loss: 6, best_validation_loss: 6, best_step: 0, sparkline: [7] },
  });
  expect(shownColumns(series.training.view(), { fromStep: 0, points: 10 }).slice(0, 2)).toEqual([[1], [7]]);
  expect(shownColumns(series.validation.view(), { fromStep: 0, points: 10 })).toEqual([[0], [6]]);
});

test("columns begin and end at a step, and what was not measured is null", () => {
  const series = createSeries();
  for (let step = 1; step <= 9; step++) series.add({ ...stepOf(step, step), gradientNorm: Number.NaN });
  const [steps, loss, , norm] = shownColumns(series.training.view(), { fromStep: 8, points: 10 });
  expect([steps, loss, norm]).toEqual([
    [8, 9],
    [8, 9],
    [null, null],
  ]);
  const stepsOf = (fromStep: number, toStep?: number) =>
    shownColumns(series.training.view(), { fromStep, ...omitUndefined({ toStep }), points: 10 })[0];
  expect([stepsOf(10), stepsOf(3, 5), stepsOf(5, 3)]).toEqual([[], [3, 4, 5], []]);
});

test("metrics are columns by the names of the data, from where they are first measured", () => {
  const series = createSeries();
  series.add(stepOf(1, 5));
  series.add({ ...stepOf(2, 4), metrics: { "rewards/margins": 1 } });
  series.add({ ...evaluationOf(2, 3), metrics: { "eval_rewards/margins": 2, step: 9 } });
  const part = { fromStep: 1, points: 10 };
  expect(namedRows(series.training, part)).toMatchObject({
    step: [1, 2],
    "rewards/margins": [null, 1],
  });
  expect(namedRows(series.validation, part)).toEqual({ step: [2], loss: [3], "eval_rewards/margins": [2] });
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`m${i}`, i]));
  series.add({ ...stepOf(3, 3), metrics: many });
  expect(Object.keys(namedRows(series.training, part))).toHaveLength(5 + 48);
});

test("fewer rows keep the first, the last and the extremes of every column, in order", () => {
  const rows = fc.array(fc.tuple(fc.double({ noNaN: true }), fc.double()), { minLength: 1, maxLength: 400 });
  fc.assert(
    fc.property(rows, fc.integer({ min: 10, max: 60 }), (values, points) => {
      const columns = [values.map((_, i) => i), ...[0, 1].map((j) => values.map((row) => row[j] ?? 0))];
      const kept = decimate({ columns, length: values.length }, points);
      expect(kept.length).toBeLessThanOrEqual(points);
      expect(kept).toEqual([...new Set(kept)].sort((a, b) => a - b));
      expect([kept[0], kept.at(-1)]).toEqual([0, values.length - 1]);
      for (const column of columns) {
        const all = [...column].filter((value) => !Number.isNaN(value));
        const shown = kept.map((row) => column[row] ?? 0).filter((value) => !Number.isNaN(value));
        expect(Math.max(...shown)).toBe(Math.max(...all));
        expect(Math.min(...shown)).toBe(Math.min(...all));
      }
    }),
  );
});

test("columns that grow beyond their bound keep their extremes", () => {
  const grown = growingColumns(2, 1024);
  for (let step = 1; step <= 10_000; step++) grown.add([step, step === 5001 ? 100 : Math.sin(step)]);
  const { columns, length } = grown.view();
  expect(length).toBeLessThanOrEqual(1024);
  expect(Math.max(...(columns[1] ?? []).slice(0, length))).toBe(100);
  expect(columns[0]?.[length - 1]).toBe(10_000);
});
