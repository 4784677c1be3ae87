import { z } from "zod";
import { LINEAR_NAMES, type LinearName } from "#nn";

/** A value as a person would write it. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  return JSON.stringify(value) ?? `a ${typeof value}`;
}

/** The message of a setting that cannot be used: what was given, and what would do. */
const expected = (what: string) => ({
  error: ({ input }: { readonly input?: unknown }) => `${show(input)} is not usable; give ${what}`,
});

export const wholeNumber = (from: number, to: number) => {
  const message = expected(`a whole number from ${from} to ${to}`);
  return z.int(message).min(from, message).max(to, message);
};

export const yesOrNo = () => z.boolean(expected("true or false"));

const alpha = expected("a number above 0 and up to 1000000");
const dropout = expected("a probability from 0 to below 1");
const targets = expected(`a list of one or more of ${LINEAR_NAMES.join(", ")}`);

/** Fields that every method has, with their defaults. */
export const commonFields = {
  rank: wholeNumber(1, 4096).default(8),
  alpha: z.number(alpha).positive(alpha).max(1e6, alpha).default(16),
  dropout: z.number(dropout).min(0, dropout).lt(1, dropout).default(0),
  targets: z
    .array(z.enum(LINEAR_NAMES, expected(`one of ${LINEAR_NAMES.join(", ")}`)), targets)
    .min(1, targets)
    .default([...LINEAR_NAMES])
    .transform((names): readonly LinearName[] => LINEAR_NAMES.filter((name) => names.includes(name))),
  seed: wholeNumber(0, Number.MAX_SAFE_INTEGER).default(0),
};
