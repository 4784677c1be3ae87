import type { Marked, Summary } from "../types.ts";

const add = <K, V>(lists: Map<K, V[]>, key: K, value: V): void => {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
};

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

const meansOf = (lists: ReadonlyMap<string, readonly number[]>): Readonly<Record<string, number>> =>
  Object.fromEntries([...lists].map(([metric, values]) => [metric, mean(values)]));

/** The mean of each metric over all answers to these questions. */
export function summaryOf(marks: readonly Marked[]): Summary {
  const byMetric = new Map<string, number[]>();
  for (const { verdicts } of marks)
    for (const { scores } of verdicts)
      for (const [metric, score] of Object.entries(scores)) add(byMetric, metric, score);
  return { scores: meansOf(byMetric), questions: marks.length };
}

/** The mean of each metric over groups, each of which counts as much as any other. */
export function meanOfGroups(groups: Iterable<Summary>): Readonly<Record<string, number>> {
  const byMetric = new Map<string, number[]>();
  for (const { scores } of groups)
    for (const [metric, score] of Object.entries(scores)) add(byMetric, metric, score);
  return meansOf(byMetric);
}

/** Marks by the group that `groupOf` tells, in the order of the groups' names. */
export function groupMarks(
  marks: readonly Marked[],
  groupOf: (mark: Marked) => string = ({ group }) => group,
): ReadonlyMap<string, readonly Marked[]> {
  const groups = new Map<string, Marked[]>();
  for (const mark of marks) add(groups, groupOf(mark), mark);
  return new Map([...groups].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** A summary of each group. */
export const summariesOf = (marks: readonly Marked[]): ReadonlyMap<string, Summary> =>
  new Map([...groupMarks(marks)].map(([name, group]) => [name, summaryOf(group)]));
