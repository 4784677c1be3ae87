// Findings as tables: one with everything that decided them, and one of a line for each hypothesis.
import type { Finding } from "./analysis.ts";
import { fixed, NONE, table } from "./markdown.ts";

/** An open verdict says whether it is the step alone that leaves it open. */
function verdictText({ verdict, p = 1, hypothesis: { margin } }: Finding): string {
  if (verdict !== "open") return verdict === "not run" ? verdict : `**${verdict}**`;
  return p < 0.05 && margin === undefined ? "open: less than a step" : "open";
}

function findingCells(finding: Finding, decimals: number): readonly string[] {
  const { hypothesis, task, pairs, difference, half, theirMean, p, step, visible } = finding;
  const share =
    difference === undefined || theirMean === undefined ? undefined : (100 * difference) / theirMean;
  return [
    hypothesis.name,
    hypothesis.says,
    task,
    String(pairs),
    fixed(difference, decimals),
    half === undefined || difference === undefined
      ? NONE
      : `${fixed(difference - half, decimals)} to ${fixed(difference + half, decimals)}`,
    share === undefined ? NONE : `${fixed(share, 1)} %`,
    p === undefined ? NONE : p < 0.001 ? "< 0.001" : fixed(p, 3),
    fixed(step, decimals),
    fixed(visible, decimals),
    verdictText(finding),
  ];
}

/** A line for each finding. */
export const findingsTable = (findings: readonly Finding[], decimals: number): string =>
  table(
    ...([
      ["", "", "task", "pairs", "difference", "95 % interval", "of theirs", "p", "one step", "visible", ""],
      findings.map((finding) => findingCells(finding, decimals)),
    ] as const),
  );

/** Verdict, effect in per cent of theirs with its interval, and p, in a cell for each task. */
export function overview(findings: readonly Finding[], tasks: readonly string[]): string {
  const names = [...new Set(findings.map(({ hypothesis }) => hypothesis))];
  const findingCell = (finding: Finding | undefined): string => {
    const { difference, half = 0, theirMean, p = 1 } = finding ?? {};
    if (finding === undefined || difference === undefined || theirMean === undefined) return "not run";
    const [mean, low, high] = [difference, difference - half, difference + half].map((x) =>
      fixed((100 * x) / theirMean, 1),
    );
    return `${verdictText(finding)}; ${mean} % (${low} to ${high}), ${p < 0.001 ? "p < 0.001" : `p = ${fixed(p, 3)}`}`;
  };
  return table(
    ["", "", ...tasks],
    names.map((hypothesis) => [
      hypothesis.name,
      hypothesis.says,
      ...tasks.map((task) =>
        findingCell(findings.find((one) => one.hypothesis === hypothesis && one.task === task)),
      ),
    ]),
  );
}
