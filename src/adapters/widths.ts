import { MosError } from "#core";
import type { LinearName } from "#nn";
import type { AdapterGeometry, Widths } from "./method.ts";

/** Widths of a target. Throws `bad_config` for a linear type that the model does not have. */
export function widthsOf({ widths }: AdapterGeometry, name: LinearName): Widths {
  const found = widths[name];
  if (found === undefined)
    throw new MosError(
      "bad_config",
      `targets: this model has no ${name}; it has ${Object.keys(widths).join(", ")}`,
    );
  return found;
}

/** Throws `bad_config` for a target that the model does not have. */
export function checkTargets(
  { targets }: { readonly targets: readonly LinearName[] },
  geometry: AdapterGeometry,
): void {
  for (const name of targets) widthsOf(geometry, name);
}

const greatestCommonDivisor = (a: number, b: number): number =>
  b === 0 ? a : greatestCommonDivisor(b, a % b);

/** The numbers of shards that cut every one of the widths into equal parts, from 1 up. */
export function shardCounts(widths: readonly Widths[]): readonly number[] {
  const common = widths.flatMap((width) => [width.in, width.out]).reduce(greatestCommonDivisor);
  return Array.from({ length: common }, (_, i) => i + 1).filter((count) => common % count === 0);
}

/** The factor on B A of a method that has an alpha. */
export const scaleOf = ({ alpha, rank }: { readonly alpha: number; readonly rank: number }): number =>
  alpha / rank;
