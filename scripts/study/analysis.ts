// n seeds · d differences of pairs that share a seed, ours − theirs. What the cells of the study say: each row at the rate
// that its own search chose, and each hypothesis of the plan (in the archive) by its tests.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { pathExists, readJson } from "#files";
import { markdownTable } from "../../packages/lab/src/evaluation/results.ts";
import { findBest, findRateSteps, type TriedRate } from "../../packages/lab/src/reproduce/rate-search.ts";
import {
  halfWidth,
  holm,
  pairedTest,
  type Summary,
  summarize,
} from "../../packages/lab/src/reproduce/statistics.ts";

/** In place of a number that there is none of. */
export const NONE = "–";
export const fixed = (value: number | undefined, decimals: number): string =>
  value === undefined ? NONE : value.toFixed(decimals).replace("-", "−");

const score = z.looseObject({
  scores: z.record(z.string(), z.number()),
  groups: z.record(z.string(), z.object({ scores: z.record(z.string(), z.number()) })).optional(),
});
const cellFile = z.looseObject({
  commit: z.string(),
  command: z.string(),
  key: z.string(),
  purpose: z.enum(["tune", "measure"]),
  learningRate: z.number(),
  seed: z.int(),
  adapter: z.unknown(),
  result: z.looseObject({
    failure: z.looseObject({ code: z.string() }).optional(),
    trainable: z.int().optional(),
    validationLoss: z.number().optional(),
    answers: z.object({ correct: z.int(), total: z.int() }).optional(),
    benchmarks: z.array(score).optional(),
  }),
});
export type Cell = Readonly<z.output<typeof cellFile>>;

/** All finished cells of a task. Throws MosError `bad_data`, `storage`. */
export async function readCells(folder: string): Promise<readonly Cell[]> {
  if (!(await pathExists(folder))) return [];
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".json")).sort();
  return Promise.all(names.map((name) => readJson(join(folder, name), cellFile, { code: "bad_data" })));
}

/** A row of a task, as far as it is known. */
export interface StudyRow {
  readonly key: string;
  readonly trainable: number;
  /** Of the search: the rate with the lowest tuning loss, and by how much one step of the grid changes that loss. */
  readonly rate: number;
  readonly tried: readonly TriedRate[];
  readonly step: number | undefined;
  /** Measured at that rate, by seed; those that diverged are not among them. */
  readonly cells: ReadonlyMap<number, Cell>;
  readonly failures: number;
}

/** What is measured of a cell; undefined where it was not. */
export type Measure = (cell: Cell) => number | undefined;
export const lossMeasure: Measure = ({ result }) => result.validationLoss;
export const recallMeasure: Measure = ({ result: { answers } }) => answers && answers.correct / answers.total;
export const f1Measure: Measure = ({ result }) => result.benchmarks?.[0]?.scores["f1"];

/**
 * The rows of a task that have been measured. A row without a search of its own is taken at the rate of another (`rateSource`),
 * or at the one that it was measured at.
 */
export function toRows(cells: readonly Cell[], rateSource?: string): readonly StudyRow[] {
  const keys = [...new Set(cells.map(({ key }) => key))];
  const searches = new Map(keys.map((key) => [key, triedRates(cells, key)]));
  return keys.flatMap((key) => {
    const tried = searches.get(key) ?? [];
    const own = cells.filter((cell) => cell.key === key && cell.purpose === "measure");
    const searched = findBest(tried.length > 0 ? tried : (searches.get(rateSource ?? "") ?? []));
    const chosen = searched?.learningRate ?? own[0]?.learningRate;
    const measured = own.filter((cell) => key === "base" || cell.learningRate === chosen);
    const [first] = measured;
    if (first === undefined) return [];
    const finished = measured.filter((cell) => lossMeasure(cell) !== undefined);
    return {
      key,
      trainable: finished[0]?.result.trainable ?? 0,
      rate: first.learningRate,
      tried,
      step: findRateSteps(tried)?.change,
      cells: new Map(finished.map((cell) => [cell.seed, cell])),
      failures: measured.length - finished.length,
    };
  });
}

const triedRates = (cells: readonly Cell[], key: string): readonly TriedRate[] =>
  cells
    .filter((cell) => cell.key === key && cell.purpose === "tune")
    .map((cell) => ({
      learningRate: cell.learningRate,
      loss: lossMeasure(cell) ?? Number.POSITIVE_INFINITY,
    }));

/** Mean, deviation and the half width of the 95 % interval over a row's seeds; undefined where nothing was measured. */
export function measureSpread(
  row: StudyRow,
  measure: Measure,
): (Summary & { readonly half: number | undefined }) | undefined {
  const summary = summarize([...row.cells.values()].flatMap((cell) => measure(cell) ?? []));
  return summary && { ...summary, half: halfWidth(summary) };
}

/** One comparison of the plan. */
export interface Hypothesis {
  readonly name: string;
  readonly says: string;
  readonly ours: string;
  readonly theirs: string;
  /** The sign of ours − theirs, where the hypothesis holds. */
  readonly sign: -1 | 1;
  /** `equal`: within a share of theirs; `gain`: refuted where the interval excludes a gain of that share. */
  readonly margin?: { readonly kind: "equal" | "gain"; readonly share: number };
}

const ablation = (part: string, says: string): Hypothesis => ({
  name: `H5 −${part}`,
  says,
  ours: `mos-2-${part}`,
  theirs: "mos-2",
  sign: 1,
});

/** Those of the loss, in the order of the plan: the family of tests on one task. */
export const HYPOTHESES: readonly Hypothesis[] = [
  { name: "H1", says: "MoS e = 2 is better than LoRA r = 2", ours: "mos-2", theirs: "lora-2", sign: -1 },
  { name: "H2", says: "MoS e = 8 is better than LoRA r = 8", ours: "mos-8", theirs: "lora-8", sign: -1 },
  {
    name: "H3",
    says: "pure sharing is worse than LoRA r = 2",
    ours: "pure-sharing",
    theirs: "lora-2",
    sign: 1,
  },
  {
    name: "H4",
    says: "subset selection is better than pure sharing",
    ours: "subset-selection",
    theirs: "pure-sharing",
    sign: -1,
  },
  ablation("sp", "MoS is worse without private ranks"),
  ablation("vs", "MoS is worse without shards"),
  ablation("pd", "MoS is worse without pair dissociation"),
  {
    name: "H6",
    says: "MoS e = 2 equals LoRA r = 16 within 1 %",
    ours: "mos-2",
    theirs: "lora-16",
    sign: -1,
    margin: { kind: "equal", share: 0.01 },
  },
  {
    name: "H7",
    says: "MoS e = 2 is better with LoRA's scaling",
    ours: "mos-2-scaled",
    theirs: "mos-2",
    sign: -1,
    margin: { kind: "gain", share: 0.005 },
  },
];

/** H8: the share of facts kept, at the same budget. */
export const RECALL: readonly Hypothesis[] = ["2", "8"].map((budget) => ({
  name: `H8 e = ${budget}`,
  says: `MoS e = ${budget} keeps more facts than LoRA r = ${budget}`,
  ours: `mos-${budget}`,
  theirs: `lora-${budget}`,
  sign: 1,
}));

export type Verdict = "supported" | "refuted" | "open" | "not run";

export interface Finding {
  readonly hypothesis: Hypothesis;
  readonly task: string;
  readonly pairs: number;
  /** Mean of d, half of its 95 % interval, and the mean that it is a share of. */
  readonly difference?: number;
  readonly half?: number;
  readonly theirMean?: number;
  /** Corrected by Holm among the tests of the family that could be made. */
  readonly p?: number;
  /** The larger change of the tuning loss by one step of the rates, of the two rows. */
  readonly step?: number;
  /** The smallest difference that so many pairs show with power 0.8. */
  readonly visible?: number;
  readonly verdict: Verdict;
}

/** The findings of one family: these hypotheses on one task, or on several where `rows` has them. */
export function listFindings(
  hypotheses: readonly Hypothesis[],
  tasks: ReadonlyMap<string, readonly StudyRow[]>,
  measure: Measure,
): readonly Finding[] {
  const compared = [...tasks].flatMap(([task, rows]) =>
    hypotheses.map((hypothesis) => ({ hypothesis, task, ...compare(hypothesis, rows, measure) })),
  );
  const tested = compared.flatMap(({ p }) => p ?? []);
  const corrected = holm(tested);
  let next = 0;
  return compared.map((one): Finding => {
    if (one.p === undefined) return { ...one, verdict: "not run" };
    const finding = { ...one, p: corrected[next++] ?? 1 };
    return { ...finding, verdict: judge(finding, measure === lossMeasure) };
  });
}

type Comparison = Omit<Finding, "hypothesis" | "task" | "verdict">;

function compare({ ours, theirs }: Hypothesis, rows: readonly StudyRow[], measure: Measure): Comparison {
  const [mine, other] = [ours, theirs].map((key) => rows.find((row) => row.key === key));
  const pairs = [...(mine?.cells ?? [])].flatMap(([seed, cell]) => {
    const partner = other?.cells.get(seed);
    const [a, b] = [measure(cell), partner && measure(partner)];
    return a === undefined || b === undefined ? [] : [[a, b] as const];
  });
  const test = pairedTest(pairs);
  const differences = summarize(pairs.map(([a, b]) => a - b));
  if (test === undefined || differences?.deviation === undefined) return { pairs: pairs.length };
  const half = halfWidth(differences);
  const theirMean = summarize(pairs.map(([, b]) => b))?.mean;
  const steps = [mine?.step, other?.step].filter((step) => step !== undefined);
  return {
    pairs: pairs.length,
    difference: test.difference,
    p: test.p,
    ...(half === undefined ? {} : { half }),
    ...(theirMean === undefined ? {} : { theirMean }),
    ...(steps.length === 0 ? {} : { step: Math.max(...steps) }),
    visible: (2.8 * differences.deviation) / Math.sqrt(pairs.length),
  };
}

type Unjudged = Omit<Finding, "verdict">;

/** By the plan: p below 0.05 after correction, and more than one step of the rates changes the tuning loss. */
function judge(finding: Unjudged, isLoss: boolean): Verdict {
  const { hypothesis, difference = 0, p = 1, step = 0 } = finding;
  const { sign, margin } = hypothesis;
  if (margin?.kind === "equal") return equality(finding, margin.share);
  const isSignificant = p < 0.05 && (!isLoss || Math.abs(difference) > step);
  if (isSignificant && Math.sign(difference) === sign) return "supported";
  if (margin !== undefined) return excludesGain(finding, margin.share) ? "refuted" : "open";
  return isSignificant ? "refuted" : "open";
}

function equality({ difference = 0, half = 0, theirMean = 0 }: Unjudged, share: number): Verdict {
  const allowed = share * theirMean;
  if (Math.abs(difference) + half < allowed) return "supported";
  return Math.abs(difference) - half > allowed ? "refuted" : "open";
}

const excludesGain = ({ difference = 0, half = 0, theirMean = 0 }: Unjudged, share: number): boolean =>
  difference - half > -share * theirMean;

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
  markdownTable(
    [
      ["", "", "task", "pairs", "difference", "95 % interval", "of theirs", "p", "one step", "visible", ""],
      ...findings.map((finding) => findingCells(finding, decimals)),
    ],
    { left: [0, 1, 2, 10] },
  );

/** Verdict unless it is open, effect in per cent of theirs with its interval, and p, in a cell for each task. */
export function overview(findings: readonly Finding[], tasks: readonly string[]): string {
  const names = [...new Set(findings.map(({ hypothesis }) => hypothesis))];
  const findingCell = (finding: Finding | undefined): string => {
    const { difference, half = 0, theirMean, p = 1 } = finding ?? {};
    if (finding === undefined || difference === undefined || theirMean === undefined) return "not run";
    const [mean, low, high] = [difference, difference - half, difference + half].map((x) =>
      fixed((100 * x) / theirMean, 1),
    );
    const verdict = verdictText(finding);
    return `${verdict === "open" ? "" : `${verdict}; `}${mean} % (${low} to ${high}), ${p < 0.001 ? "p < 0.001" : `p = ${fixed(p, 3)}`}`;
  };
  const rows = [
    ["", "", ...tasks],
    ...names.map((hypothesis) => [
      hypothesis.name,
      hypothesis.says,
      ...tasks.map((task) =>
        findingCell(findings.find((one) => one.hypothesis === hypothesis && one.task === task)),
      ),
    ]),
  ];
  return markdownTable(rows, { left: [...(rows[0] ?? []).keys()] });
}
