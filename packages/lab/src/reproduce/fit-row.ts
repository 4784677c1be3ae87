// Rows of a table on a given model: where a rank or a number of shards does not fit, the nearest that does is taken and
// noted.
import {
  type AdapterConfig,
  type AdapterConfigInput,
  budget,
  findProblem,
  type LayerShapes,
  methods,
  parseAdapterConfig,
  shardCounts,
} from "mixture-of-shards";
import type { LinearName } from "mixture-of-shards/graph";
import type { ChatFormat } from "#evaluation";

/** Context of building rows. */
export interface RowContext {
  readonly shapes: LayerShapes;
  /** Alpha of every method that has one. */
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
  /** Differences of the row from the paper's, with reasons. */
  readonly notes: readonly string[];
  /** Key of the row that this is an ablation of: it is tested against that one only. */
  readonly ablates?: string;
  /** In figure 1. */
  readonly place?: { readonly privateRank: number; readonly shards: number };
  /** Chat format of the benchmarks' questions, if it differs from the other rows'. */
  readonly chatFormat?: ChatFormat;
}

const completeConfig = (adapter: AdapterConfigInput, { targets }: RowContext, key: string): AdapterConfig =>
  parseAdapterConfig(targets === undefined ? adapter : { ...adapter, targets }, key);

/** A target of all rows that this method cannot adapt. */
function foreignTarget({ method }: AdapterConfigInput, { targets = [] }: RowContext): string | undefined {
  const known = methods[method].settings["targets"]?.choices ?? [];
  return targets.find((name) => !known.includes(name));
}

/** Trained numbers; infinitely many where the method cannot adapt the targets. */
export const countTrainable = (adapter: AdapterConfigInput, context: RowContext): number =>
  foreignTarget(adapter, context) === undefined
    ? budget(completeConfig(adapter, context, adapter.method), context.shapes).trainable
    : Number.POSITIVE_INFINITY;

/** A row as the paper has it. */
export interface RequestedRow {
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
  { key, label, adapter, notes = [], ablates, isExact = false, rank: shown = String }: RequestedRow,
  context: RowContext,
): Row {
  const { shapes } = context;
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
  const requested = completeConfig(adapter, context, key);
  let config = requested;
  while (!isExact && config.rank > 1 && findProblem(config, shapes) !== undefined)
    config = parseAdapterConfig({ ...requested, rank: config.rank - 1 }, key);
  if (findProblem(config, shapes) !== undefined)
    return unfit(shown(requested.rank), findProblem(requested, shapes) ?? "");
  const lower =
    config.rank < requested.rank
      ? [`rank ${config.rank}, the most that fits, in place of ${requested.rank}`]
      : [];
  return {
    key,
    label,
    rank: shown(config.rank),
    adapter: config,
    trainable: budget(config, shapes).trainable,
    notes: [...notes, ...lower],
    ...more,
  };
}

/** The number of shards nearest to `wanted` that cuts every width; the smaller of two. */
export const nearestShards = (wanted: number, { widths }: LayerShapes): number =>
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
