// L layers · e equivalent rank · r rank · l shards per vector · p private rank. The rows of the paper's two tables, of its
// methods at one budget, and the grid of its figure 1, as data. What the paper has is decided by PAPER_ROWS; here its rows
// are fitted to a model.
import {
  type Adapter,
  type AdapterConfig,
  type AdapterConfigInput,
  budget,
  findProblem,
  MosError,
  methods,
  PAPER_ROWS,
  parseAdapterConfig,
  shardCounts,
} from "mixture-of-shards";
import { pick } from "mixture-of-shards/cli";
import type { ChatFormat } from "#evaluation";

/** Experiments of the paper that can be reproduced. */
export const EXPERIMENTS = ["table1", "table2", "budget", "figure1"] as const;
export type ExperimentName = (typeof EXPERIMENTS)[number];

/** Keys of the rows that all others are tested against. */
export const REFERENCES: Readonly<Record<ExperimentName, readonly string[]>> = {
  table1: ["subset-selection"],
  table2: ["mos-2", "mos-8"],
  budget: ["mos-2", "mos-8"],
  figure1: [],
};

/** An experiment on one model. */
export interface Experiment {
  readonly name: ExperimentName;
  readonly title: string;
  readonly rows: readonly Row[];
  /** As REFERENCES has them. */
  readonly references: readonly string[];
}

type Mos = Extract<AdapterConfigInput, { readonly method: "mos" }>;

const MAX_VERA_RANK = 65_536;
const MAX_RANK = 4096;
const SHARDS = 4;
const PRIVATE_RANK = 1;
const BUDGET = 2;
/** Rank of MoS at that budget. */
const SMALL_RANK = 8;
const FIGURE = { rank: 8, equivalentRank: 4 } as const;

const BASE: Row = { key: "base", label: "Base model", rank: "–", adapter: null, trainable: 0, notes: [] };

const scaled = ({ alpha, dropout }: RowContext) => ({ alpha, dropout });

/**
 * A row of the paper with the training's alpha and dropout. Where the paper has two ranks, MoS gets the larger one, which
 * its ablations are compared at, and PRoLoRA the smaller.
 */
function ofPaper(
  key: string,
  context: RowContext,
  rank: "first" | "last" = "first",
): Pick<RequestedRow, "key" | "label" | "adapter"> {
  const row = PAPER_ROWS.find((known) => known.key === key);
  const own = row?.settings(context.shapes).at(rank === "first" ? 0 : -1);
  if (row === undefined || own === undefined)
    throw new MosError("not_found", `the paper's tables have no row ${key}`);
  // a method without alpha, such as VeRA, is not given one
  const adapter = { ...own, ...pick(methods[own.method].settings, scaled(context)) };
  return { key, label: row.method, adapter };
}

const paperRow = (key: string, context: RowContext): Row => fitRow(ofPaper(key, context), context);

const lora = (rank: number, context: RowContext): Row => paperRow(`lora-${rank}`, context);

function mosRow(asked: Omit<RequestedRow, "adapter">, own: Partial<Mos>, context: RowContext): Row {
  const shards = own.shardsPerVector ?? nearestShards(SHARDS, context.shapes);
  const notes =
    shards === SHARDS || own.shardsPerVector !== undefined
      ? []
      : [`${shards} shards per vector, which divide every width, in place of ${SHARDS}`];
  const adapter: Mos = {
    method: "mos",
    privateRank: PRIVATE_RANK,
    ...own,
    shardsPerVector: shards,
    ...scaled(context),
  };
  return fitRow({ ...asked, adapter, notes }, context);
}

/** A row of MoS in the paper; an ablation of another row names that row. */
function paperMos(key: string, context: RowContext, ablates?: string): Row {
  const { label, adapter } = ofPaper(key, context, "last");
  const own = adapter as Mos; // as the row of that key has it
  return mosRow({ key, label, ...(ablates === undefined ? {} : { ablates }) }, own, context);
}

/** Rows of the first table: the ways to share. */
function sharing(context: RowContext): readonly Row[] {
  const pairs = BUDGET * context.shapes.layers;
  return [
    paperRow("pure-sharing", context),
    paperRow("random-scaling", context),
    fitRow({ ...ofPaper("subset-selection", context), rank: (rank) => `${rank} of ${pairs}` }, context),
  ];
}

/** VeRA at the paper's rank, and at the numbers of the other rows. */
function veraRows(context: RowContext): readonly Row[] {
  const { dropout } = context;
  const limit = lora(BUDGET, context).trainable;
  const equal = largestRank((rank) => countTrainable({ method: "vera", rank }, context), {
    limit,
    most: MAX_VERA_RANK,
  });
  return [
    paperRow("vera-256", context),
    fitRow(
      {
        key: "vera-equal",
        label: "VeRA (equal)",
        adapter: { method: "vera", rank: equal, dropout },
        notes: [
          "asked for by the paper's reviewers; the largest rank with at most the numbers of LoRA of rank 2",
        ],
      },
      context,
    ),
  ];
}

/** Its rank in the paper is that of this budget on LLaMA2-7B. */
function tiedRow(context: RowContext): Row {
  const limit = lora(BUDGET, context).trainable;
  const trainable = (rank: number): number => countTrainable({ method: "tied-lora", rank }, context);
  const rank = largestRank(trainable, { limit, most: MAX_RANK });
  const { key, label } = ofPaper("tied-lora", context);
  return fitRow({ key, label, adapter: { method: "tied-lora", rank, ...scaled(context) } }, context);
}

/** MoS at both budgets, and what is taken from the larger one. */
const mosRows = (context: RowContext): readonly Row[] => [
  paperMos("mos-2", context),
  paperMos("mos-8", context),
  ...["mos-8-sp", "mos-8-vs", "mos-8-pd"].map((key) => paperMos(key, context, "mos-8")),
];

/** MoS at the budget of LoRA r = 2: what is taken from it, the same with LoRA's scaling at that budget, and with less rank. */
function smallMosRows(context: RowContext): readonly Row[] {
  const small = { equivalentRank: BUDGET, rank: SMALL_RANK } as const;
  const ablates = "mos-2";
  const mos = paperMos("mos-2", context);
  const { rank = SMALL_RANK } = mos.adapter ?? {};
  const ablation = (name: string, own: Partial<Mos>, of: RowContext = context): Row =>
    mosRow({ key: `mos-2-${name}`, label: `MoS-${name}`, ablates }, { ...small, rank, ...own }, of);
  return [
    mos,
    ablation("sp", { privateRank: 0 }),
    ablation("vs", { shardsPerVector: 1 }),
    ablation("pd", { pairDissociation: false }),
    // alpha / r is then what LoRA of the same budget has
    ablation("scaled", {}, { ...context, alpha: (context.alpha * rank) / BUDGET }),
    ablation("half-rank", { rank: Math.ceil(rank / 2) }),
  ];
}

/** The axes of figure 1. */
export interface FigureAxes {
  readonly privateRanks: readonly number[];
  readonly shards: readonly number[];
}

export const FIGURE_AXES: FigureAxes = { privateRanks: [0, 1, 2, 3], shards: [1, 2, 4, 8, 16] };

/** Every point of the grid, those that do not fit the model too. */
function figureRows({ privateRanks, shards }: FigureAxes, context: RowContext): readonly Row[] {
  return privateRanks.flatMap((privateRank) =>
    shards.map((shardsPerVector): Row => {
      const place = { privateRank, shards: shardsPerVector };
      const key = `mos-p${privateRank}-l${shardsPerVector}`;
      const label = `MoS p=${privateRank} l=${shardsPerVector}`;
      return {
        ...mosRow({ key, label, isExact: true }, { ...FIGURE, privateRank, shardsPerVector }, context),
        place,
      };
    }),
  );
}

/**
 * The rows of an experiment for a model's geometry. Where a rank or a number of shards does not fit, the nearest that
 * does is taken and noted; points of figure 1 that do not fit have no adapter.
 *
 * @example
 * buildExperiment("table2", { shapes, alpha: 16, dropout: 0.1 }).rows.map(({ key }) => key);
 */
export function buildExperiment(
  name: ExperimentName,
  context: RowContext,
  axes: FigureAxes = FIGURE_AXES,
): Experiment {
  switch (name) {
    case "table1":
      return {
        name,
        title: "Table 1: ways to share at the budget of LoRA r = 2",
        rows: [BASE, lora(BUDGET, context), ...sharing(context)],
        references: REFERENCES[name],
      };
    case "table2":
      return {
        name,
        title: "Table 2: methods",
        rows: [
          BASE,
          ...[2, 8, 16, 64].map((rank) => lora(rank, context)),
          ...sharing(context),
          ...veraRows(context),
          tiedRow(context),
          paperRow("prolora", context),
          ...mosRows(context),
        ],
        references: REFERENCES[name],
      };
    case "budget":
      return {
        name,
        title: "Methods and ablations at the budget of LoRA r = 2",
        rows: [
          BASE,
          ...[2, 8, 16].map((rank) => lora(rank, context)),
          ...sharing(context),
          ...veraRows(context).filter(({ key }) => key === "vera-equal"),
          tiedRow(context),
          paperRow("prolora", context),
          ...smallMosRows(context),
          ...mosRows(context).filter(({ key }) => key === "mos-8"),
        ],
        references: REFERENCES[name],
      };
    case "figure1":
      return {
        name,
        title: `Figure 1: MoS of rank ${FIGURE.rank} and equivalent rank ${FIGURE.equivalentRank}`,
        rows: figureRows(axes, context),
        references: REFERENCES[name],
      };
  }
}

const PLAIN_BASE: Row = { ...BASE, key: "base-no-chat", label: "Base model (no chat)", chatFormat: "none" };

/** The same with the base a second time, asked benchmarks without a chat format. */
export const withPlainBase = ({ rows, ...experiment }: Experiment): Experiment => ({
  ...experiment,
  rows: rows.flatMap((row) => (row === BASE ? [row, PLAIN_BASE] : [row])),
});

const matches = ({ key, label, rank }: Row, wanted: string): boolean =>
  [key, label, `${label} ${rank}`, `${label} r=${rank}`].some(
    (name) => name.toLowerCase() === wanted.trim().toLowerCase(),
  );

/**
 * The rows that labels or keys name; all without any. A label that several rows have names them all.
 *
 * @throws MosError `bad_option` for a name that no row has.
 */
export function selectRows(rows: readonly Row[], only: readonly string[] = []): readonly Row[] {
  const unknown = only.find((wanted) => !rows.some((row) => matches(row, wanted)));
  if (unknown !== undefined)
    throw new MosError(
      "bad_option",
      `only: there is no row "${unknown}"; there are ${rows.map(({ key }) => key).join(", ")}`,
    );
  return only.length === 0 ? rows : rows.filter((row) => only.some((wanted) => matches(row, wanted)));
}

// --- rows on a model: where a rank or a number of shards does not fit, the nearest that does is taken and noted

/** Context of building rows. */
export interface RowContext {
  readonly shapes: Adapter["shapes"];
  /** Alpha of every method that has one. */
  readonly alpha: number;
  readonly dropout: number;
  /** Linear layers that every method adapts; what each adapts by default without. */
  readonly targets?: AdapterConfig["targets"] | undefined;
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
export const nearestShards = (wanted: number, { widths }: Adapter["shapes"]): number =>
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
