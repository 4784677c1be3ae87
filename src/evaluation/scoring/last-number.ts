import { NO_ANSWER } from "./bbh-answer.ts";
import { DIGIT, strip } from "./python-text.ts";

const GROUPED = new RegExp(`(${DIGIT}),(${DIGIT})`, "gu");
/** A sign counts only before decimals, as in the original. */
const NUMBER = new RegExp(`[-+]?${DIGIT}*\\.${DIGIT}+|${DIGIT}+`, "gu");

/** Takes commas out of numbers in one pass: `1,234,567` is `1234567`, but `1,2,3` is `12,3`. */
const withoutGrouping = (text: string): string => text.replace(GROUPED, "$1$2");

/** open-instruct's answer to GSM8K: the last number, or all of the text where it holds none. */
export function lastNumber(text: string): string {
  const plain = withoutGrouping(text);
  return plain.match(NUMBER)?.at(-1) ?? plain;
}

/** open-instruct's right answer out of a worked one of GSM8K: what stands behind its first `####`. A bare one stays. */
export function goldNumber(answer: string): string {
  const [, found] = answer.split("####");
  return found === undefined ? answer : withoutGrouping(strip(found));
}

/** lm-evaluation-harness's: what stands behind the last `####`. */
export function harnessGold(answer: string): string {
  const [, ...found] = answer.split("####");
  const last = found.at(-1);
  return last === undefined ? answer : strip(last);
}

/**
 * lm-evaluation-harness's strict-match: the number behind "The answer is ", which some character has to follow; of
 * one that ends the text the last digit is lost, as in the original.
 */
export const strictNumber = (text: string): string =>
  /The answer is (-?[0-9.,]+)[^\n]/.exec(text)?.[1] ?? NO_ANSWER;

/** lm-evaluation-harness's flexible-extract: the last that looks like a number, with what punctuation it has. */
export const flexibleNumber = (text: string): string =>
  text.match(/-?[$0-9.,]{2,}|-?[0-9]+/g)?.at(-1) ?? NO_ANSWER;

/** What lm-evaluation-harness leaves out of both sides: commas, dollars, all before the last `#### `, a final period. */
export function plainNumber(text: string): string {
  const bare = text.replace(/[,$]/g, "");
  const mark = bare.lastIndexOf("#### ");
  const answer = mark < 0 ? bare : bare.slice(mark + 5);
  return answer.replace(/\.(?=\n?$)/, "").toLowerCase();
}
