import { type AdapterConfigInput, METHOD_NAMES, methods } from "#adapters";
import { MosError } from "#core";
import { type AdapterOptions, DEFAULT_METHOD } from "./command-options.ts";
import { given } from "./option-values.ts";

/** The flag that was given for a setting: `privateRank` came from `--private-rank`. */
export const flagOf = (name: string): string =>
  name === "pairDissociation"
    ? "--no-pair-dissociation"
    : `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** The settings of an adapter that were given, of whatever method. */
function givenSettings(options: AdapterOptions) {
  const { rank, alpha, dropout, targets, equivalentRank, shardsPerVector, privateRank } = options;
  const { unsharedRank, chunks, scaleMean, scaleDeviation } = options;
  return given({
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
    pairDissociation: options.pairDissociation ? undefined : false,
  });
}

/**
 * The adapter that the options describe. What was not given is left to the method's own defaults.
 *
 * @throws MosError `bad_option` for a setting that the method does not have.
 */
export function adapterInput(options: AdapterOptions): AdapterConfigInput {
  const settings = givenSettings(options);
  const method = METHOD_NAMES.find((name) => name === options.method);
  if (method === undefined)
    throw new MosError(
      "bad_option",
      `--method ${options.method} is not known; it can be ${METHOD_NAMES.join(", ")}`,
    );
  const known = Object.keys(methods[method].example);
  const foreign = Object.keys(settings).find((name) => !known.includes(name));
  if (foreign !== undefined)
    throw new MosError(
      "bad_option",
      `${flagOf(foreign)} does not go with --method ${method}; leave it out, or take another method`,
    );
  // each setting was checked to be one of this method, which the union's type cannot see
  return { method, ...settings } as AdapterConfigInput;
}

/** Throws `bad_option` where an adapter was described beside --table, which has settings of its own. */
export function refuseSettings(options: AdapterOptions): void {
  const [first] = Object.keys(givenSettings(options));
  const flag =
    first !== undefined ? flagOf(first) : options.method === DEFAULT_METHOD ? undefined : "--method";
  if (flag !== undefined)
    throw new MosError(
      "bad_option",
      `${flag} does not go with --table, which shows the paper's settings; leave one of them out`,
    );
}
