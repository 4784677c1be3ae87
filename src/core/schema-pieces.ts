// Pieces of schemas for settings that are not declared as such yet.
import { z } from "zod";
import { expected } from "./settings.ts";

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

/** A boolean. */
export const yesOrNo = () => z.boolean(expected("true or false"));

/** One of these texts. */
export const oneOf = <const T extends readonly string[]>(names: T) =>
  z.enum(names, expected(`one of ${names.join(", ")}`));
