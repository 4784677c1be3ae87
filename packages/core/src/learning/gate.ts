// Whether a candidate may replace the current version. Both answer the same cases, so the test is paired: cases that both get
// right, or both wrong, say nothing.
import { z } from "zod";
import { type SettingValues, setting } from "#common";

/** Settings of the gate. */
export const gateSettings = {
  gateLevel: setting(z.number().gt(0).max(0.5), {
    default: 0.025,
    help: "level of the one-sided sign test by which a candidate must be better on the lessons",
  }),
  gateCases: setting(z.int().min(1).max(10_000), {
    default: 6,
    help: "fewest cases of lessons that decide; with fewer, a candidate is held",
  }),
  gateMargin: setting(z.number().min(0).max(1), {
    default: 0.1,
    placeholder: "share",
    help: "share of earlier lessons that a candidate may lose, those that it gains deducted",
  }),
};
/** Their values. */
export type GateRule = SettingValues<typeof gateSettings>;

/** What a case is of: what is to be learnt, what must stay right, or what was learnt before. */
export type CaseSet = "lessons" | "checks" | "older";

/** A case that both versions have answered, and who was right. */
export interface PairedCase {
  readonly set: CaseSet;
  /** The current version, or the base where there is none. */
  readonly before: boolean;
  /** The candidate. */
  readonly after: boolean;
}

/** A set of cases in numbers. */
export interface SetResult {
  readonly of: number;
  /** Right by the current version. */
  readonly before: number;
  /** Right by the candidate. */
  readonly after: number;
  /** Wrong before and right after. */
  readonly gained: number;
  /** Right before and wrong after. */
  readonly lost: number;
}

/** Why a candidate goes live or does not. */
export type GateReason =
  | ("better" | "without_deleted")
  | ("too_few_cases" | "check_lost" | "older_lost" | "forgotten" | "not_better");

/** What becomes of a candidate. */
export interface GateDecision {
  readonly live: boolean;
  readonly reason: GateReason;
  /** The reason in words, with its numbers. */
  readonly text: string;
  /** How likely a candidate that is no better gains as many lessons, of those that changed. */
  readonly p: number;
  readonly sets: Readonly<Record<CaseSet, SetResult>>;
}

/** Probability of at least `wins` heads in `wins + losses` tosses of a fair coin: the exact one-sided sign (McNemar) test. */
export function signTest(wins: number, losses: number): number {
  const n = wins + losses;
  let [logChoose, sum] = [0, 0]; // of n over k, from k = n down
  for (let k = n; k >= wins; k--) {
    sum += Math.exp(logChoose - n * Math.LN2);
    logChoose += Math.log(k / (n - k + 1));
  }
  return Math.min(1, sum);
}

function countSet(cases: readonly PairedCase[], set: CaseSet): SetResult {
  const own = cases.filter((one) => one.set === set);
  const count = (test: (one: PairedCase) => boolean): number => own.filter(test).length;
  return {
    of: own.length,
    before: count(({ before }) => before),
    after: count(({ after }) => after),
    gained: count(({ before, after }) => !before && after),
    lost: count(({ before, after }) => before && !after),
  };
}

/** What is known of a candidate besides its answers. */
export interface GateContext {
  /** Lessons that the current version was taught and that were deleted since: a candidate without them need not be better. */
  readonly deleted?: number;
  /** What training found to be lost of what the base knew. */
  readonly warning?: string | undefined;
}

/**
 * Decides about a candidate. It goes live if it is better on the lessons by a sign test at `gateLevel` over at least `gateCases`
 * cases, loses no check, and of earlier lessons no more than `gateMargin` and no more than the same test ascribes to chance. One
 * that replaces a version with deleted lessons must do no worse on all lessons alone.
 */
export function decide(
  cases: readonly PairedCase[],
  { gateLevel, gateCases, gateMargin }: GateRule,
  { deleted = 0, warning }: GateContext = {},
): GateDecision {
  const sets = {
    lessons: countSet(cases, "lessons"),
    checks: countSet(cases, "checks"),
    older: countSet(cases, "older"),
  };
  const { lessons, checks, older } = sets;
  const p = signTest(lessons.gained, lessons.lost);
  const end = (reason: GateReason, text: string): GateDecision => ({
    ...{ live: reason === "better" || reason === "without_deleted", reason, text, p, sets },
  });
  const isWorse = ({ of, lost, gained }: SetResult): boolean =>
    lost - gained > gateMargin * of || signTest(lost, gained) <= gateLevel;
  if (deleted === 0 && lessons.of < gateCases)
    return end("too_few_cases", `${lessons.of} cases of lessons; at least ${gateCases} decide`);
  if (checks.lost > 0)
    return end("check_lost", `${checks.lost} of ${checks.before} checks that were right are wrong now`);
  for (const set of deleted > 0 ? [older, lessons] : [older])
    if (isWorse(set))
      return end("older_lost", `of ${set.of} lessons, ${set.lost} were lost and ${set.gained} gained`);
  if (warning !== undefined) return end("forgotten", warning);
  if (deleted > 0) return end("without_deleted", `trained without ${deleted} deleted lessons, and no worse`);
  const { before, after, of } = lessons;
  const counts = `lessons: ${before} of ${of} right before, ${after} after; sign test p = ${Number(p.toPrecision(2))}`;
  return p <= gateLevel ? end("better", counts) : end("not_better", `${counts}, above ${gateLevel}`);
}
