/** Answers that were drawn to one problem, and how many of them passed. */
export interface PassCount {
  readonly samples: number;
  readonly passed: number;
}

/**
 * The chance that one of `k` answers passes, drawn from `n` of which `c` passed: the unbiased estimate, 0 to 1. Where
 * fewer than `k` failed it is 1, also for a `k` above `n`, of which {@link estimatePassAtK} says nothing.
 *
 * @example
 * passAtK(20, 3, 1); // 0.15
 */
export function passAtK(n: number, c: number, k: number): number {
  if (n - c < k) return 1;
  let allFail = 1;
  for (let i = n - c + 1; i <= n; i++) allFail *= 1 - k / i;
  return 1 - allFail;
}

/** The mean over problems, or undefined where one has fewer than `k` answers, or there is none. */
export function estimatePassAtK(problems: readonly PassCount[], k: number): number | undefined {
  if (problems.length === 0 || problems.some(({ samples }) => samples < k)) return undefined;
  return (
    problems.reduce((sum, { samples, passed }) => sum + passAtK(samples, passed, k), 0) / problems.length
  );
}
