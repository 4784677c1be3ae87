import { type AdapterConfigInput, METHOD_NAMES, methods } from "#adapters";
import { MosError } from "#core";
import type { AdapterOptions } from "./command-options.ts";
import { given } from "./option-values.ts";

/** `privateRank` as an option: `--private-rank`. */
export const flagOf = (name: string): string =>
  `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/**
 * The adapter that the options describe. What was not given is left to the method's own defaults.
 *
 * @throws MosError `bad_option` for a setting that the method does not have.
 */
export function adapterInput(options: AdapterOptions): AdapterConfigInput {
  const { rank, alpha, dropout, targets, equivalentRank, shardsPerVector, privateRank } = options;
  const { unsharedRank, chunks, scaleMean, scaleDeviation } = options;
  const pairDissociation = options.pairDissociation ? undefined : false;
  const settings = given({
    rank,
    alpha,
    dropout,
    targets,
    equivalentRank,
    shardsPerVector,
    privateRank,
    unsharedRank,
    chunks,
    scaleMean,
    scaleDeviation,
    pairDissociation,
  });
  const method = METHOD_NAMES.find((name) => name === options.method);
  if (method === undefined)
    throw new MosError(
      "bad_option",
      `--method ${options.method} is not known; it can be ${METHOD_NAMES.join(", ")}`,
    );
  const known = Object.keys(methods[method].example);
  const foreign = Object.keys(settings).find((name) => !known.includes(name));
  if (foreign !== undefined) {
    const flag = foreign === "pairDissociation" ? "--no-pair-dissociation" : flagOf(foreign);
    throw new MosError(
      "bad_option",
      `${flag} does not go with --method ${method}; leave it out, or take another method`,
    );
  }
  // each setting was checked to be one of this method, which the union's type cannot see
  return { method, ...settings } as AdapterConfigInput;
}
