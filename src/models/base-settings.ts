// How a base is kept and computed: the same settings in training, inference and evaluation.
import { choice } from "#core";
import type { BaseDtype, BaseForms } from "./base-dtype.ts";

/** What the products of the linear layers are computed in. */
export type Compute = BaseForms["compute"];

/** All of them, the default first. */
export const BASE_DTYPES: readonly BaseDtype[] = ["stored", "float32", "int8", "int4", "nf4"];
/** All of them, the default first. */
export const COMPUTES: readonly Compute[] = ["float32", "int8"];

/** How the weights of a base are kept. */
export const baseDtype = choice(BASE_DTYPES, {
  default: "stored",
  help: "how the base's weights are kept in memory; stored is as the file has them",
});

/** What the frozen products are computed in. */
export const compute = choice(COMPUTES, {
  default: "float32",
  help: "what the base's products are computed in; int8 is faster and rounds, everything else stays float32",
});
