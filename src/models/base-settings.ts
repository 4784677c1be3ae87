// How a base is kept and computed: the same settings in training, inference and evaluation.
import { choice } from "#core";
import type { BaseDtype, BaseForms } from "./base-dtype.ts";

/** What the products of the linear layers are computed in. */
export type ComputeDtype = BaseForms["computeDtype"];

/** All of them, the default first. */
export const BASE_DTYPES: readonly BaseDtype[] = ["stored", "float32", "int8", "int4", "nf4"];
/** All of them, the default first. */
export const COMPUTE_DTYPES: readonly ComputeDtype[] = ["float32", "int8"];

/** How the weights of a base are kept. */
export const baseDtype = choice(BASE_DTYPES, {
  default: "stored",
  help: "data type of the base weights in memory; stored keeps the file's",
});

/** What the frozen products are computed in. */
export const computeDtype = choice(COMPUTE_DTYPES, {
  default: "float32",
  help: "data type of matrix products with the base weights; int8 is faster but rounds",
});
