import { z } from "zod";
import { LINEAR_NAMES, type LinearName } from "#nn";

/** A value as a person would write it. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  return JSON.stringify(value) ?? `a ${typeof value}`;
}

/** "a, b or c". */
export const anyOf = (names: readonly string[]): string =>
  [names.slice(0, -1).join(", "), names.at(-1)].filter((part) => part !== "").join(" or ");

/** The message of a setting that cannot be used: what was given, and what would do. */
const expected = (what: string) => ({
  error: ({ input }: { readonly input?: unknown }) => `${show(input)} is not usable; give ${what}`,
});

/** A setting that is a whole number in this range, both ends in it. */
export const wholeNumber = (from: number, to: number) => {
  const message = expected(`a whole number from ${from} to ${to}`);
  return z.int(message).min(from, message).max(to, message);
};

/** A setting that is a number in this range, both ends in it. */
export const anyNumber = (from: number, to: number) => {
  const message = expected(`a number from ${from} to ${to}`);
  return z.number(message).min(from, message).max(to, message);
};

/** A setting that is on or off. */
export const yesOrNo = () => z.boolean(expected("true or false"));

const alpha = expected("a number above 0 and up to 1000000");
const dropout = expected("a probability from 0 to below 1");

/** Linear types of those that a method can adapt, in the model's order; all of them by default. */
export function targetsOf(names: readonly LinearName[]) {
  const list = expected(`a list of one or more of ${names.join(", ")}`);
  return z
    .array(z.enum(names, expected(`one of ${names.join(", ")}`)), list)
    .min(1, list)
    .default([...names])
    .transform((given): readonly LinearName[] => names.filter((name) => given.includes(name)));
}

/** alpha of scale = alpha / r, for the methods that have one. */
export const alphaField = { alpha: z.number(alpha).positive(alpha).max(1e6, alpha).default(16) };

/** The rank of a pool that all layers share: as many pairs as e · L. */
export const poolRank = { rank: wholeNumber(1, 65_536).default(64) };

/** e: the budget, as many trainable numbers as LoRA of this rank. */
export const equivalentRankField = { equivalentRank: wholeNumber(1, 4096).default(2) };

/** Fields that every method has, with their defaults. */
export const commonFields = {
  rank: wholeNumber(1, 4096).default(8),
  dropout: z.number(dropout).min(0, dropout).lt(1, dropout).default(0),
  targets: targetsOf(LINEAR_NAMES),
  seed: wholeNumber(0, Number.MAX_SAFE_INTEGER).default(0),
};
