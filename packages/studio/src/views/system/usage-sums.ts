// Usage by key, model or both, added up from the API's hours or days.
import type { JsonOf } from "#api";

export type UsagePage = JsonOf<"/v1/usage">;
type Result = UsagePage["data"][number]["results"][number];

/** What one row of usage stands for. */
export type Grouping = "key" | "model" | "both";

/** What the bars show. */
export type Measure = "tokens" | "requests" | "trained";

/** Usage of a group in some time. */
export interface UsageSum {
  readonly group: string;
  /** Undefined where the group has several. */
  readonly key: string | undefined;
  readonly model: string | undefined;
  readonly requests: number;
  readonly input: number;
  readonly cached: number;
  readonly output: number;
  readonly servingSeconds: number;
  readonly trained: number;
  readonly trainingSeconds: number;
}

const NOTHING = {
  requests: 0,
  input: 0,
  cached: 0,
  output: 0,
  servingSeconds: 0,
  trained: 0,
  trainingSeconds: 0,
};

const groupOf = (
  { api_key_id: key, model }: Result,
  by: Grouping,
): readonly [key: string | undefined, model: string | undefined] => {
  if (by === "key") return [key, undefined];
  return by === "model" ? [undefined, model ?? "–"] : [key, model ?? "–"];
};

const added = (sum: UsageSum, one: Result): UsageSum => ({
  ...sum,
  requests: sum.requests + one.num_model_requests,
  input: sum.input + one.input_tokens,
  cached: sum.cached + one.input_cached_tokens,
  output: sum.output + one.output_tokens,
  servingSeconds: sum.servingSeconds + one.serving_seconds,
  trained: sum.trained + one.trained_tokens,
  trainingSeconds: sum.trainingSeconds + one.training_seconds,
});

function sums(results: readonly Result[], by: Grouping): readonly UsageSum[] {
  const groups = new Map<string, UsageSum>();
  for (const one of results) {
    const [key, model] = groupOf(one, by);
    const group = JSON.stringify([key, model]);
    groups.set(group, added(groups.get(group) ?? { group, key, model, ...NOTHING }, one));
  }
  return [...groups.values()];
}

const MEASURES: Readonly<Record<Measure, (sum: UsageSum) => number>> = {
  tokens: ({ input, output }) => input + output,
  requests: ({ requests }) => requests,
  trained: ({ trained }) => trained,
};

/** Groups, those with the most first, and for each hour or day what each of them had. */
export function sumUsage({ data }: UsagePage, by: Grouping, measure: Measure) {
  const value = MEASURES[measure];
  const all = data.flatMap(({ results }) => results);
  const groups = sums(all, by).toSorted(
    (a, b) => value(b) - value(a) || b.requests - a.requests || a.group.localeCompare(b.group),
  );
  const bars = data.map(({ start_time: start, end_time: end, results }) => {
    const values = new Map(sums(results, by).map((sum) => [sum.group, value(sum)]));
    return { start, end, parts: groups.map(({ group }) => values.get(group) ?? 0) };
  });
  const total = all.reduce<UsageSum>(added, { group: "", key: undefined, model: undefined, ...NOTHING });
  return { groups, bars, total };
}

/** The end of an axis for values up to this: 1, 2 or 5 times a power of ten. */
export function axisEnd(most: number): number {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return power * ([1, 2, 5].find((step) => most <= step * power) ?? 10);
}
