// What each key has used, by hour or day.
import { useMemo } from "preact/hooks";
import { api, usePoll } from "#api";
import { formatCount, formatDuration, stored } from "#core";
import { type Column, Empty, fieldColumns, Problem, Select, Table, Waiting } from "#ui";
import { Counts } from "./live.tsx";
import { axisEnd, type Grouping, type Measure, sumUsage, type UsageSum } from "./usage-sums.ts";

const PERIODS = [
  { value: "day", title: "24 hours, by hour", bucket_width: "1h", limit: 24 },
  { value: "hours", title: "7 days, by hour", bucket_width: "1h", limit: 168 },
  { value: "week", title: "7 days, by day", bucket_width: "1d", limit: 7 },
  { value: "month", title: "31 days, by day", bucket_width: "1d", limit: 31 },
] as const;

const GROUPINGS: readonly { readonly value: Grouping; readonly title: string }[] = [
  { value: "key", title: "By key" },
  { value: "model", title: "By model" },
  { value: "both", title: "By key and model" },
];

const MEASURES: readonly { readonly value: Measure; readonly title: string }[] = [
  { value: "tokens", title: "Tokens" },
  { value: "requests", title: "Requests" },
  { value: "trained", title: "Trained tokens" },
];

const oneOf =
  <T extends string>(options: readonly { readonly value: T }[]) =>
  (value: unknown): value is T =>
    options.some((option) => option.value === value);

/** Sets a signal to one of its options. */
const choose =
  <T extends string>(to: { value: T }, options: readonly { readonly value: T }[]) =>
  (value: string): void => {
    if (oneOf(options)(value)) to.value = value;
  };

const period = stored<(typeof PERIODS)[number]["value"]>("usage.period", "week", oneOf(PERIODS));
const grouping = stored<Grouping>("usage.grouping", "key", oneOf(GROUPINGS));
const measure = stored<Measure>("usage.measure", "tokens", oneOf(MEASURES));

/** Colours of groups; what comes after them shares the last. */
const COLOURS = 8;
const colourOf = (at: number): string => `var(--series-${Math.min(at + 1, COLOURS)})`;

type Bar = ReturnType<typeof sumUsage>["bars"][number];

/** Days are UTC's, as quotas are; hours are shown in the reader's zone. */
const momentOf = ({ start, end }: Bar): string => {
  const at = new Date(start * 1000);
  if (end - start >= 86_400)
    return at.toLocaleDateString(undefined, { dateStyle: "medium", timeZone: "UTC" });
  return at.toLocaleString(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
};

const sumOf = (parts: readonly number[]): number => parts.reduce((sum, part) => sum + part, 0);

/** Bars of the groups one above the other. The table below has the same in numbers. */
function Bars({ bars, what }: { readonly bars: readonly Bar[]; readonly what: string }) {
  const end = axisEnd(Math.max(0, ...bars.map(({ parts }) => sumOf(parts))));
  const [first, last] = [bars[0], bars.at(-1)];
  return (
    <figure class="usage-bars" aria-label={`${what} over time`}>
      <div class="usage-axis" aria-hidden="true">
        <span>{formatCount(end)}</span>
        <span>0</span>
      </div>
      <div class="usage-columns">
        {bars.map((bar) => {
          const { start, parts } = bar;
          return (
            <div key={start} class="usage-column" title={`${momentOf(bar)}: ${formatCount(sumOf(parts))}`}>
              {parts.map(
                (part, at) =>
                  part > 0 && (
                    <span key={at} style={{ height: `${(part / end) * 100}%`, background: colourOf(at) }} />
                  ),
              )}
            </div>
          );
        })}
      </div>
      <figcaption class="row spread usage-range muted small">
        <span>{first && momentOf(first)}</span>
        <span>{last && momentOf(last)}</span>
      </figcaption>
    </figure>
  );
}

const column = fieldColumns<UsageSum>();
const COUNT = { align: "end", show: formatCount } as const;
const SECONDS = {
  align: "end",
  show: (seconds: number) => (seconds === 0 ? "–" : formatDuration(seconds)),
} as const;

const columnsFor = (groups: readonly UsageSum[], by: Grouping): readonly Column<UsageSum>[] => {
  const places = new Map(groups.map(({ group }, at) => [group, at]));
  const markOf = ({ group }: UsageSum) => (
    <span class="usage-mark" style={{ background: colourOf(places.get(group) ?? 0) }} aria-hidden="true" />
  );
  const named = (key: "key" | "model", title: string, hasMark: boolean): Column<UsageSum> => ({
    key,
    title,
    width: "minmax(140px, 2fr)",
    value: (sum) => sum[key] ?? "",
    render: (sum) => (
      <>
        {hasMark && markOf(sum)}
        {sum[key]}
      </>
    ),
  });
  return [
    ...(by === "model" ? [] : [named("key", "Key", true)]),
    ...(by === "key" ? [] : [named("model", "Model", by === "model")]),
    column("requests", "Requests", COUNT),
    column("input", "Prompts", COUNT),
    column("cached", "Cached", COUNT),
    column("output", "Answers", COUNT),
    column("servingSeconds", "Serving", SECONDS),
    column("trained", "Trained", COUNT),
    column("trainingSeconds", "Training", SECONDS),
  ];
};

export function Usage() {
  const chosen = PERIODS.find(({ value }) => value === period.value) ?? PERIODS[2];
  const { bucket_width, limit } = chosen;
  const page = usePoll(
    (signal) => api.get("/v1/usage", { query: { bucket_width, limit, group_by: "model" }, signal }),
    { every: 10_000 },
    [chosen.value],
  );
  const [data, by, what] = [page.data.value, grouping.value, measure.value];
  const shown = useMemo(() => data && sumUsage(data, by, what), [data, by, what]);
  const title = MEASURES.find(({ value }) => value === what)?.title ?? "";
  return (
    <section class="card stack" aria-label="Usage">
      <div class="row spread section-head">
        <h2>Usage</h2>
        <div class="row">
          <Select label="Period" options={PERIODS} value={period.value} onInput={choose(period, PERIODS)} />
          <Select label="Grouping" options={GROUPINGS} value={by} onInput={choose(grouping, GROUPINGS)} />
          <Select label="Bars" options={MEASURES} value={what} onInput={choose(measure, MEASURES)} />
        </div>
      </div>
      {page.error.value !== undefined && <Problem error={page.error.value} retry={page.refresh} />}
      {shown === undefined && page.error.value === undefined && <Waiting />}
      {shown !== undefined && (
        <>
          <Bars bars={shown.bars} what={title} />
          <Table
            label="Usage"
            columns={columnsFor(shown.groups, by)}
            rows={shown.groups}
            keyOf={({ group }) => group}
            storageKey="usage"
            toolbar={<UsageTotal total={shown.total} />}
            empty={
              <Empty title="No usage in this period">
                Requests and training are counted when they finish.
              </Empty>
            }
          />
        </>
      )}
    </section>
  );
}

const UsageTotal = ({ total: { requests, input, output, trained } }: { readonly total: UsageSum }) => (
  <Counts
    counts={[
      ["requests", formatCount(requests)],
      ["tokens served", formatCount(input + output)],
      ["tokens trained", formatCount(trained)],
    ]}
  />
);
