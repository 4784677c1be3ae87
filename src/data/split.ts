import { MosError, randomStream } from "#core";

/** Size of the validation split: a share of the examples, or a number of them. */
export type HoldOutOptions = { readonly seed: number } & (
  | { readonly fraction: number }
  | { readonly count: number }
);

/** Both parts of a data set. */
export interface Split<T> {
  readonly train: readonly T[];
  readonly validation: readonly T[];
}

/**
 * Holds out a random part of the examples, chosen by the seed; both parts keep the order of the whole. A fraction is
 * rounded to the nearest number of examples, at least one; 0 holds out none.
 *
 * @throws MosError `bad_option` for a fraction outside [0, 1) or a count that is not a whole number; `bad_data` when
 * nothing would be left to train on.
 */
export function splitValidation<T>(examples: readonly T[], options: HoldOutOptions): Split<T> {
  const count = validationCount(examples.length, options);
  if (count === 0) return { train: examples, validation: [] };
  if (count >= examples.length)
    throw new MosError(
      "bad_data",
      `a validation split of ${count} of ${examples.length} examples leaves none to train on; lower --validation-split or add examples`,
    );
  const chosen = new Set(
    randomStream(options.seed, "held-out split").permutation(examples.length).subarray(0, count),
  );
  return {
    train: examples.filter((_, i) => !chosen.has(i)),
    validation: examples.filter((_, i) => chosen.has(i)),
  };
}

function validationCount(n: number, options: HoldOutOptions): number {
  if ("count" in options) {
    if (Number.isSafeInteger(options.count) && options.count >= 0) return options.count;
    throw new MosError(
      "bad_option",
      `cannot hold out ${options.count} examples; give a whole number from 0 up`,
    );
  }
  const { fraction } = options;
  if (!(fraction >= 0 && fraction < 1))
    throw new MosError(
      "bad_option",
      `cannot hold out a fraction of ${fraction}; give a number from 0 to below 1`,
    );
  return fraction === 0 ? 0 : Math.max(1, Math.round(n * fraction));
}
