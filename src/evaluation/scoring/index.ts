export { type HumanEvalAnswer, humanEvalProgram, markProgram } from "./human-eval.ts";
export { goldNumber, harnessGold } from "./last-number.ts";
export { estimatePassAtK, type PassCount, passAtK } from "./pass-at-k.ts";
export { scorers, type TextTask } from "./scorers.ts";
