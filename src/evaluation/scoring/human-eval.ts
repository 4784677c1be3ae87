import type { ProgramChecker } from "#sandbox";
import type { Verdict } from "../types.ts";

/** A problem of HumanEval with an answer. */
export interface HumanEvalAnswer {
  /** The head of the function. */
  readonly prompt: string;
  /** Its body, leading blanks included. */
  readonly completion: string;
  /** Python that defines `check`. */
  readonly test: string;
  /** The function's name. */
  readonly entryPoint: string;
}

/** The Python program that runs through where the answer passes its tests. */
export const humanEvalProgram = ({ prompt, completion, test, entryPoint }: HumanEvalAnswer): string =>
  `${prompt}${completion}\n${test}\ncheck(${entryPoint})`;

/**
 * Marks an answer by running it with its tests.
 *
 * @throws MosError `cancelled`, and what the checker throws.
 * @example
 * await using checker = await createProgramChecker();
 * const answer = { prompt: "def one():\n", completion: "    return 1", test: "def check(f): assert f() == 1", entryPoint: "one" };
 * (await markProgram(answer, checker)).scores; // { passed: 1 }
 */
export async function markProgram(
  answer: HumanEvalAnswer,
  checker: ProgramChecker,
  signal?: AbortSignal,
): Promise<Verdict> {
  const { passed, reason } = await checker.check(humanEvalProgram(answer), signal);
  return { extracted: answer.completion, scores: { passed: passed ? 1 : 0 }, reason };
}
