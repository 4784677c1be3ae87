// Rows of a table on a given model: where a rank or a number of shards does not fit, the nearest that does is taken and
// noted.
import {
  type AdapterConfig,
  type AdapterConfigInput,
  type AdapterGeometry,
  budget,
  methods,
  parseAdapterConfig,
  problemOf,
  shardCounts,
} from "mixture-of-shards";
import type { LinearName } from "mixture-of-shards/graph";
import type { ChatFormat } from "#evaluation";

/** What rows are built for. */
export interface RowContext {
  readonly geometry: AdapterGeometry;
  /** Of every method that has one. */
  readonly alpha: number;
  readonly dropout: number;
  /** Linear layers that every method adapts; what each adapts by default without. */
  readonly targets?: readonly LinearName[] | undefined;
}

/** A row as it will be run on a model. */
export interface Row {
  /** Stable, in kebab case: names the folder of the row's cells. */
  readonly key: string;
  /** As in the paper. */
  readonly label: string;
  /** As in the table: "8", "8 of 60" selected pairs, "–". */
  readonly rank: string;
  /** Null for the base model as it is; undefined where the row does not fit the model. */
  readonly adapter: AdapterConfig | null | undefined;
  /** Trained numbers. */
  readonly trainable: number;
  /** Where the row is not what the paper has, and why. */
  readonly notes: readonly string[];
  /** Key of the row that this is an ablation of: it is tested against that one only. */
  readonly ablates?: string;
  /** In figure 1. */
  readonly place?: { readonly privateRank: number; readonly shards: number };
  /** Of the questions of benchmarks, where it is not that of the other rows. */
  readonly chatFormat?: ChatFormat;
}

const configOf = (adapter: AdapterConfigInput, { targets }: RowContext, key: string): AdapterConfig =>
  parseAdapterConfig(targets === undefined ? adapter : { ...adapter, targets }, key);

/** A target of all rows that this method cannot adapt. */
function foreignTarget({ method }: AdapterConfigInput, { targets = [] }: RowContext): string | undefined {
  const known = methods[method].settings["targets"]?.choices ?? [];
  return targets.find((name) => !known.includes(name));
}

/** Trained numbers; infinitely many where the method cannot adapt the targets. */
export const trainableOf = (adapter: AdapterConfigInput, context: RowContext): number =>
  foreignTarget(adapter, context) === undefined
    ? budget(configOf(adapter, context, adapter.method), context.geometry).trainable
    : Number.POSITIVE_INFINITY;

/** A row as the paper has it. */
export interface AskedRow {
  readonly key: string;
  readonly label: string;
  readonly adapter: AdapterConfigInput;
  readonly notes?: readonly string[];
  readonly ablates?: string;
  /** With another rank it would be another point. */
  readonly isExact?: boolean;
  /** Replaces the rank in the table. */
  readonly rank?: (rank: number) => string;
}

/** A row with the largest rank up to the one asked for that fits the model; without an adapter where none does. */
export function fitRow(
  { key, label, adapter, notes = [], ablates, isExact = false, rank: shown = String }: AskedRow,
  context: RowContext,
): Row {
  const { geometry } = context;
  const more = ablates === undefined ? {} : { ablates };
  const unfit = (rank: string, note: string): Row => ({
    key,
    label,
    rank,
    adapter: undefined,
    trainable: 0,
    notes: [note],
    ...more,
  });
  const foreign = foreignTarget(adapter, context);
  if (foreign !== undefined) return unfit("–", `${adapter.method} does not adapt ${foreign}`);
  const asked = configOf(adapter, context, key);
  let config = asked;
  while (!isExact && config.rank > 1 && problemOf(config, geometry) !== undefined)
    config = parseAdapterConfig({ ...asked, rank: config.rank - 1 }, key);
  if (problemOf(config, geometry) !== undefined)
    return unfit(shown(asked.rank), problemOf(asked, geometry) ?? "");
  const lower =
    config.rank < asked.rank ? [`rank ${config.rank}, the most that fits, in place of ${asked.rank}`] : [];
  return {
    key,
    label,
    rank: shown(config.rank),
    adapter: config,
    trainable: budget(config, geometry).trainable,
    notes: [...notes, ...lower],
    ...more,
  };
}

/** The number of shards nearest to `wanted` that cuts every width; the smaller of two. */
export const nearestShards = (wanted: number, { widths }: AdapterGeometry): number =>
  shardCounts(Object.values(widths)).reduce((best, count) =>
    Math.abs(count - wanted) < Math.abs(best - wanted) ? count : best,
  );

/**
 * The largest rank whose trainable parameters are at most `limit`; 1 if none is. The count must grow with the rank.
 */
export function largestRank(
  trainable: (rank: number) => number,
  { limit, most }: { readonly limit: number; readonly most: number },
): number {
  let [low, high] = [1, most];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (trainable(middle) <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}
