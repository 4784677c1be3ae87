import { add, linear, type Value } from "#graph";

/** The linear layers of a decoder block, by the last part of their checkpoint names. */
export const LINEAR_NAMES = [
  "q_proj",
  "k_proj",
  "v_proj",
  "o_proj",
  "gate_proj",
  "up_proj",
  "down_proj",
] as const;
export type LinearName = (typeof LINEAR_NAMES)[number];

/** One linear layer of one decoder layer: the place where an adapter enters. */
export interface Site {
  readonly layer: number;
  readonly linear: LinearName;
}

/** Weights of a linear layer: W [out, in] and, where the model has one, a bias [out]. */
export interface LinearWeights {
  readonly weight: Value;
  readonly bias: Value | undefined;
}

/** Computes one linear layer on x [N, in]. A model calls it for every site; adapters come in by replacing it. */
export type LinearHook = (x: Value, site: Site, weights: LinearWeights) => Value;

/** The linear layer as the checkpoint has it: x Wᵀ + b. */
export const plainLinear: LinearHook = (x, _site, { weight, bias }) => withBias(linear(x, weight), bias);

export const withBias = (y: Value, bias: Value | undefined): Value => (bias === undefined ? y : add(y, bias));
