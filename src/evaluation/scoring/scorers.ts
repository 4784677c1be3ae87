import type { Rules, Scorer, TaskName } from "../types.ts";
import { restOfLine, statedAnswer } from "./bbh-answer.ts";
import { chosenLetter } from "./choice.ts";
import { exactMatch, foldAnswer } from "./exact-match.ts";
import {
  flexibleNumber,
  goldNumber,
  harnessGold,
  lastNumber,
  plainNumber,
  strictNumber,
} from "./last-number.ts";
import { strip } from "./python-text.ts";
import { squadScores } from "./squad.ts";

/** Tasks that are marked by text alone; HumanEval's answers have to be run. */
export type TextTask = Exclude<TaskName, "humaneval">;

const choice: Scorer = (prediction, references) => {
  const extracted = chosenLetter(prediction);
  return {
    extracted,
    scores: {
      acc: extracted !== "" && references.some((reference) => strip(reference) === extracted) ? 1 : 0,
    },
  };
};

const statedBbh: Scorer = (prediction, references) => {
  const extracted = statedAnswer(prediction);
  return { extracted, scores: { exact_match: exactMatch(extracted, references, foldAnswer) } };
};

const harnessBbh: Scorer = (prediction, references) => {
  const extracted = restOfLine(prediction);
  return { extracted, scores: { exact_match: exactMatch(extracted, references) } };
};

const lastGsm8k: Scorer = (prediction, references) => {
  const extracted = lastNumber(prediction);
  return {
    extracted,
    scores: { exact_match: exactMatch(extracted, references.map(goldNumber), foldAnswer) },
  };
};

const harnessGsm8k: Scorer = (prediction, references) => {
  const extracted = strictNumber(prediction);
  const golds = references.map(harnessGold);
  return {
    extracted,
    scores: {
      "strict-match": exactMatch(extracted, golds, plainNumber),
      "flexible-extract": exactMatch(flexibleNumber(prediction), golds, plainNumber),
    },
  };
};

const squad: Scorer = (prediction, references) => {
  const { f1, exactMatch: exact } = squadScores(prediction, references);
  return { extracted: strip(prediction), scores: { f1, exact_match: exact } };
};

/**
 * How each task marks an answer, by rules. lm-evaluation-harness has no TyDi QA GoldP, and compares the same letters in
 * MMLU.
 *
 * @example
 * scorers.gsm8k["open-instruct"]("So the answer is 1,234.", ["1234"]).scores; // { exact_match: 1 }
 */
export const scorers: Readonly<Record<TextTask, Readonly<Record<Rules, Scorer>>>> = {
  mmlu: { "open-instruct": choice, "lm-eval": choice },
  bbh: { "open-instruct": statedBbh, "lm-eval": harnessBbh },
  gsm8k: { "open-instruct": lastGsm8k, "lm-eval": harnessGsm8k },
  tydiqa: { "open-instruct": squad, "lm-eval": squad },
};
