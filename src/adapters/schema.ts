import { z } from "zod";
import { belowOne, expected, oneOf, positiveNumber, wholeNumber } from "#core";
import { LINEAR_NAMES, type LinearName } from "#nn";

/** "a, b or c". */
export const anyOf = (names: readonly string[]): string =>
  [names.slice(0, -1).join(", "), names.at(-1)].filter((part) => part !== "").join(" or ");

/** Linear types of those that a method can adapt, in the model's order; all of them by default. */
export function targetsOf(names: readonly LinearName[]) {
  const list = expected(`a list of one or more of ${names.join(", ")}`);
  return z
    .array(oneOf(names), list)
    .min(1, list)
    .default([...names])
    .transform((given): readonly LinearName[] => names.filter((name) => given.includes(name)));
}

/** alpha of scale = alpha / r, for the methods that have one. */
export const alphaField = { alpha: positiveNumber(1e6).default(16) };

/** The rank of a pool that all layers share: as many pairs as e · L. */
export const poolRank = { rank: wholeNumber(1, 65_536).default(64) };

/** e: the budget, as many trainable numbers as LoRA of this rank. */
export const equivalentRankField = { equivalentRank: wholeNumber(1, 4096).default(2) };

/** Fields that every method has, with their defaults. */
export const commonFields = {
  rank: wholeNumber(1, 4096).default(8),
  dropout: belowOne("a probability").default(0),
  targets: targetsOf(LINEAR_NAMES),
  seed: wholeNumber(0, Number.MAX_SAFE_INTEGER).default(0),
};
