import fc from "fast-check";
import { expect, test } from "vitest";
import { axisEnd, type Grouping, type Measure, sumUsage, type UsagePage } from "./usage-sums.ts";

const count = fc.integer({ min: 0, max: 1000 });
const result = fc.record({
  object: fc.constant("usage.result" as const),
  api_key_id: fc.constantFrom("acme", "globex"),
  model: fc.constantFrom("base", "a:b", null),
  num_model_requests: count,
  input_tokens: count,
  input_cached_tokens: count,
  output_tokens: count,
  serving_seconds: count,
  trained_tokens: count,
  training_seconds: count,
});
const page = fc.array(fc.array(result, { maxLength: 5 }), { maxLength: 6 }).map(
  (buckets): UsagePage => ({
    object: "page",
    data: buckets.map((results, i) => ({
      object: "bucket",
      start_time: i * 3600,
      end_time: (i + 1) * 3600,
      results,
    })),
    has_more: false,
    next_page: null,
  }),
);

test("however usage is grouped, nothing is lost, and bars are its groups by time", () => {
  const groupings = fc.constantFrom<Grouping>("key", "model", "both");
  const measures = fc.constantFrom<Measure>("tokens", "requests", "trained");
  fc.assert(
    fc.property(page, groupings, measures, (given, by, measure) => {
      const { groups, bars, total } = sumUsage(given, by, measure);
      const all = given.data.flatMap(({ results }) => results);
      const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
      expect(total.requests).toBe(sum(all.map((one) => one.num_model_requests)));
      for (const field of ["requests", "input", "output", "trained", "servingSeconds"] as const)
        expect(sum(groups.map((group) => group[field]))).toBe(total[field]);
      const measured = {
        tokens: total.input + total.output,
        requests: total.requests,
        trained: total.trained,
      };
      expect(sum(bars.flatMap(({ parts }) => parts))).toBe(measured[measure]);
      const byGroup = groups.map((_, i) => sum(bars.map(({ parts }) => parts[i] ?? 0)));
      expect(byGroup).toEqual(byGroup.toSorted((a, b) => b - a));
      expect(new Set(groups.map(({ group }) => group)).size).toBe(groups.length);
    }),
  );
});

test("an axis ends at the next round number", () => {
  expect([0, 1, 3, 5, 7, 10, 11, 4200].map(axisEnd)).toEqual([1, 1, 5, 5, 10, 10, 20, 5000]);
  fc.assert(
    fc.property(fc.double({ min: 1e-3, max: 1e12, noNaN: true }), (most) => {
      expect(axisEnd(most)).toBeGreaterThanOrEqual(most * 0.999999);
      expect(axisEnd(most)).toBeLessThanOrEqual(most * 2.5001);
    }),
  );
});
