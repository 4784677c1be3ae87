import type { Ajv } from "ajv";
import { decimalOf, isMultiple } from "../src/json-schema/decimal.ts";

/** Has ajv compare decimals: its own `multipleOf` divides doubles, by which 0.07 is no multiple of 0.01. */
export function withExactMultiples<Judge extends Pick<Ajv, "removeKeyword" | "addKeyword">>(
  ajv: Judge,
): Judge {
  ajv.removeKeyword("multipleOf");
  ajv.addKeyword({
    keyword: "multipleOf",
    type: "number",
    validate: (step: number, value: number) => isMultiple(decimalOf(value), decimalOf(step)),
  });
  return ajv;
}
