// What a setting may be. The message of one that cannot be used shows it, and ends with what would do.
import { z } from "zod";
import { MosError } from "./error.ts";

/** A value as a person would write it. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  return JSON.stringify(value) ?? `a ${typeof value}`;
}

/** The message of a schema: what would do. */
export const expected = (what: string) => ({ error: `give ${what}` });

/** A whole number in this range, both ends in it. */
export const wholeNumber = (from: number, to?: number) => {
  const message = expected(
    to === undefined ? `a whole number, ${from} or more` : `a whole number from ${from} to ${to}`,
  );
  return z
    .int(message)
    .min(from, message)
    .max(to ?? Number.MAX_SAFE_INTEGER, message);
};

/** A number in this range, both ends in it. */
export const anyNumber = (from: number, to?: number) => {
  const message = expected(to === undefined ? `a number, ${from} or more` : `a number from ${from} to ${to}`);
  return z
    .number(message)
    .min(from, message)
    .max(to ?? Number.MAX_VALUE, message);
};

/** A number above 0 and at most this. */
export const positiveNumber = (most: number) => {
  const message = expected(`a number above 0 and up to ${most}`);
  return z.number(message).positive(message).max(most, message);
};

/** A number from 0 to below 1. */
export const belowOne = (what = "a number") => {
  const message = expected(`${what} from 0 to below 1`);
  return z.number(message).min(0, message).lt(1, message);
};

export const yesOrNo = () => z.boolean(expected("true or false"));

export const oneOf = <const T extends readonly string[]>(names: T) =>
  z.enum(names, expected(`one of ${names.join(", ")}`));

/**
 * Checks settings by a schema of the pieces above, and fills in its defaults.
 *
 * @throws MosError `bad_option` with the name of the setting, what was given, and what would do.
 */
export function parseSettings<S extends z.ZodObject>(
  schema: S,
  given: Readonly<Record<string, unknown>>,
): z.output<S> {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue?.code === "unrecognized_keys")
    throw new MosError(
      "bad_option",
      `${issue.keys.join(", ")}: there is no such setting; there are ${Object.keys(schema.shape).join(", ")}`,
    );
  const name = String(issue?.path[0] ?? "settings");
  const value = Object.entries(given).find(([key]) => key === name)?.[1];
  throw new MosError("bad_option", `${name}: ${show(value)} is not usable; ${issue?.message}`);
}
