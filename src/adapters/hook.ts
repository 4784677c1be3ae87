import { lowRankLinear, type Value } from "#graph";
import { type LinearHook, plainLinear, type Site, withBias } from "#nn";
import type { Factors } from "./method.ts";

/** Where the factors come from, and how they are applied. */
export interface AdapterHookOptions {
  readonly factors: (site: Site) => Factors | undefined;
  /** Add scale · B A to W once per step rather than to every row. A site with a dropout mask keeps its branch. */
  readonly merge: boolean;
  /** 0 or 1 / (1 − probability) for each input of the site's branch. */
  readonly dropoutMask?: (site: Site) => Value;
}

/** Linear layers with an adapter where it has factors, and as they are elsewhere. */
export const adapterHook =
  ({ factors, merge, dropoutMask }: AdapterHookOptions): LinearHook =>
  (x, site, weights) => {
    const found = factors(site);
    if (found === undefined) return plainLinear(x, site, weights);
    const mask = dropoutMask?.(site);
    return withBias(
      lowRankLinear(x, weights.weight, {
        ...found,
        merge: merge && mask === undefined,
        ...(mask === undefined ? {} : { dropoutMask: mask }),
      }),
      weights.bias,
    );
  };
