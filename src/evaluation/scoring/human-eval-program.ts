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
