// Settings of a base's formats and computation, shared by training, inference and evaluation.
import { choice } from "#core";
import type { BaseDtype, BaseFormats } from "./base-dtype.ts";

/** Type in which the products of the linear layers are computed. */
export type ComputeDtype = BaseFormats["computeDtype"];

/** All of them, the default first. */
export const BASE_DTYPES: readonly BaseDtype[] = ["stored", "float32", "int8", "int4", "nf4"];
/** All of them, the default first. */
export const COMPUTE_DTYPES: readonly ComputeDtype[] = ["float32", "int8"];

/** Format of a base's weights. */
export const baseDtype = choice(BASE_DTYPES, {
  default: "stored",
  help: "data type of the base weights in memory; stored keeps the file's",
});

/** Type in which products with frozen weights are computed. */
export const computeDtype = choice(COMPUTE_DTYPES, {
  default: "float32",
  help: "data type of matrix products with the base weights; int8 is faster but rounds",
});
