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
import { pick, settingInfo } from "mixture-of-shards-core/common";
import { listPools } from "mixture-of-shards-core/models";
import type { ChatFormat } from "#evaluation";

/** Experiments of the paper that can be reproduced. */
export const EXPERIMENTS = ["table1", "table2", "budget", "capacity", "figure1"] as const;
export type ExperimentName = (typeof EXPERIMENTS)[number];

/** Keys of the rows that all others are tested against. */
export const REFERENCES: Readonly<Record<ExperimentName, readonly string[]>> = {
  table1: ["subset-selection"],
  table2: ["mos-2", "mos-8"],
  budget: ["mos-2", "mos-8"],
  capacity: ["mos-1", "mos-2"],
  figure1: [],
};

type Mos = Extract<AdapterConfigInput, { readonly method: "mos" }>;

const MAX_VERA_RANK = 65_536;
const MAX_RANK = 4096;
const SHARDS = 4;
const PRIVATE_RANK = 1;
const BUDGET = 2;
/** Rank of MoS at that budget. */
const SMALL_RANK = 8;
const FIGURE = { rank: 8, equivalentRank: 4 } as const;

const BASE: Row = {
  key: "base",
  label: "Base model",
  rank: "–",
  adapter: null,
  trainable: 0,
  bytes: 0,
  notes: [],
};

const scaled = ({ alpha, dropout }: RowContext) => ({ alpha, dropout });

/**
 * A row of the paper with the training's alpha and dropout. Where the paper has two ranks, MoS gets the larger one, which
 * its ablations are compared at, and PRoLoRA the smaller.
 */
function paperSettings(
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

const paperRow = (key: string, context: RowContext): Row => fitRow(paperSettings(key, context), context);

const lora = (rank: number, context: RowContext): Row => paperRow(`lora-${rank}`, context);

function mosRow(asked: Omit<RequestedRow, "adapter">, own: Partial<Mos>, context: RowContext): Row {
  const shards = own.shardsPerVector ?? nearestShards(SHARDS, context.shapes);
  const notes =
    shards === SHARDS || own.shardsPerVector !== undefined
      ? []
      : [`${shards} shards per vector, which divide every width, instead of ${SHARDS}`];
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
  const { label, adapter } = paperSettings(key, context, "last");
  const own = adapter as Mos; // as the row of that key has it
  return mosRow({ key, label, ablates }, own, context);
}

/** Rows of the first table: the ways to share. */
function sharing(context: RowContext): readonly Row[] {
  const pairs = BUDGET * context.shapes.layers;
  return [
    paperRow("pure-sharing", context),
    paperRow("random-scaling", context),
    fitRow({ ...paperSettings("subset-selection", context), rank: (rank) => `${rank} of ${pairs}` }, context),
  ];
}

/** The largest rank of a method with at most the trainable parameters of LoRA at the small budget. */
const rankAtBudget = (method: "vera" | "tied-lora", most: number, context: RowContext): number =>
  largestRank((rank) => countTrainable({ method, rank }, context), {
    limit: lora(BUDGET, context).trainable,
    most,
  });

function equalVera(context: RowContext): Row {
  const rank = rankAtBudget("vera", MAX_VERA_RANK, context);
  const notes = [
    "asked for by the paper's reviewers; the largest rank with at most the trainable parameters of LoRA of rank 2",
  ];
  const adapter = { method: "vera", rank, dropout: context.dropout } as const;
  return fitRow({ key: "vera-equal", label: "VeRA (equal)", adapter, notes }, context);
}

/** Its rank in the paper is that of this budget on LLaMA2-7B. */
function tiedRow(context: RowContext): Row {
  const rank = rankAtBudget("tied-lora", MAX_RANK, context);
  const { key, label } = paperSettings("tied-lora", context);
  return fitRow({ key, label, adapter: { method: "tied-lora", rank, ...scaled(context) } }, context);
}

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

/** MoS, LoRA-XS and Uni-LoRA at the budget of a small LoRA. */
function equalRows(budgetRank: 1 | 2, context: RowContext): readonly Row[] {
  const limit = countTrainable({ method: "lora", rank: budgetRank }, context);
  const widths = listPools(context.shapes).flatMap((pool) => [pool.in, pool.out]);
  const xsRank = largestRank((rank) => countTrainable({ method: "lora-xs", rank }, context), {
    limit,
    most: Math.min(...widths),
  });
  const xs = { method: "lora-xs", rank: xsRank, ...scaled(context) } as const;
  const { dropout } = context;
  const uni = { method: "uni-lora", rank: 16, vectorLength: limit, dropout } as const;
  return [
    budgetRank === 2
      ? paperMos("mos-2", context)
      : mosRow({ key: "mos-1", label: "MoS" }, { equivalentRank: 1, rank: 4, privateRank: 0 }, context),
    fitRow({ key: `lora-xs-${budgetRank}`, label: "LoRA-XS", adapter: xs }, context),
    fitRow({ key: `uni-lora-${budgetRank}`, label: "Uni-LoRA", adapter: uni }, context),
  ];
}

/** Methods at the budgets of LoRA r = 1 and 2, and what is larger or shares otherwise. */
function capacityRows(context: RowContext): readonly Row[] {
  const small = { method: "lora", rank: 1, ...scaled(context) } as const;
  const shape = (name: string, own: Partial<Mos>): Row =>
    mosRow(
      { key: `mos-2-${name}`, label: `MoS-${name}`, ablates: "mos-2" },
      { equivalentRank: BUDGET, rank: SMALL_RANK, ...own },
      context,
    );
  return [
    BASE,
    fitRow({ key: "lora-1", label: "LoRA", adapter: small }, context),
    ...equalRows(1, context),
    lora(BUDGET, context),
    ...equalRows(BUDGET, context),
    shape("r16", { rank: 16 }),
    shape("l16", { shardsPerVector: 16 }),
    paperRow("pure-sharing", context),
    paperRow("vera-256", context),
    lora(8, context),
  ];
}

/** The axes of figure 1. */
type FigureAxes = Readonly<Record<"privateRanks" | "shards", readonly number[]>>;

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

const TITLES: Readonly<Record<ExperimentName, string>> = {
  table1: "Table 1: ways to share at the budget of LoRA r = 2",
  table2: "Table 2: methods",
  budget: "Methods and ablations at the budget of LoRA r = 2",
  capacity: "Small adapters at the budgets of LoRA r = 1 and 2",
  figure1: `Figure 1: MoS of rank ${FIGURE.rank} and equivalent rank ${FIGURE.equivalentRank}`,
};

function listRows(name: ExperimentName, context: RowContext, axes: FigureAxes): readonly Row[] {
  const loras = (...ranks: readonly number[]) => [BASE, ...ranks.map((rank) => lora(rank, context))];
  switch (name) {
    case "table1":
      return [...loras(BUDGET), ...sharing(context)];
    case "table2":
      return [
        ...loras(2, 8, 16, 64),
        ...sharing(context),
        paperRow("vera-256", context),
        equalVera(context),
        tiedRow(context),
        paperRow("prolora", context),
        paperMos("mos-2", context),
        paperMos("mos-8", context),
        ...["mos-8-sp", "mos-8-vs", "mos-8-pd"].map((key) => paperMos(key, context, "mos-8")),
      ];
    case "budget":
      return [
        ...loras(2, 8, 16),
        ...sharing(context),
        equalVera(context),
        tiedRow(context),
        paperRow("prolora", context),
        ...smallMosRows(context),
        paperMos("mos-8", context),
      ];
    case "capacity":
      return capacityRows(context);
    case "figure1":
      return figureRows(axes, context);
  }
}

/**
 * The rows of an experiment for a model's geometry. Where a rank or a number of shards does not fit, the nearest that
 * does is taken and noted; points of figure 1 that do not fit have no adapter.
 *
 * @example
 * buildExperiment("table2", { shapes, alpha: 16, dropout: 0.1 }).rows.map(({ key }) => key);
 */
export const buildExperiment = (
  name: ExperimentName,
  context: RowContext,
  axes: FigureAxes = FIGURE_AXES,
) => ({
  name,
  title: TITLES[name],
  rows: listRows(name, context, axes),
  references: REFERENCES[name],
});

const PLAIN_BASE: Row = { ...BASE, key: "base-no-chat", label: "Base model (no chat)", chatFormat: "none" };

/** The same with the base a second time, asked benchmarks without a chat format. */
export const withPlainBase = ({ rows, ...experiment }: ReturnType<typeof buildExperiment>) => ({
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
      `only: there is no row "${unknown}"; the rows are ${rows.map(({ key }) => key).join(", ")}`,
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
  /** Of the adapter in bfloat16, with the tables that are saved. */
  readonly bytes: number;
  /** Differences of the row from the paper's, with reasons. */
  readonly notes: readonly string[];
  /** Key of the row that this is an ablation of: it is tested against that one only. */
  readonly ablates?: string | undefined;
  /** In figure 1. */
  readonly place?: { readonly privateRank: number; readonly shards: number };
  /** Chat format of the benchmarks' questions, if it differs from the other rows'. */
  readonly chatFormat?: ChatFormat;
}

const completeConfig = (adapter: AdapterConfigInput, { targets }: RowContext, key: string): AdapterConfig =>
  parseAdapterConfig(targets === undefined ? adapter : { ...adapter, targets }, key);

/** A target of all rows that this method cannot adapt. */
function foreignTarget({ method }: AdapterConfigInput, { targets = [] }: RowContext): string | undefined {
  const known = settingInfo(methods[method].settings["targets"]).choices ?? [];
  return targets.find((name) => !known.includes(name));
}

/** Trained numbers; infinitely many where the method cannot adapt the targets. */
export const countTrainable = (adapter: AdapterConfigInput, context: RowContext): number =>
  foreignTarget(adapter, context) === undefined
    ? budget(completeConfig(adapter, context, adapter.method), context.shapes).trainable
    : Number.POSITIVE_INFINITY;

/** A row as the paper has it. */
interface RequestedRow extends Pick<Row, "key" | "label" | "ablates"> {
  readonly adapter: AdapterConfigInput;
  readonly notes?: readonly string[];
  /** With another rank it would be another point. */
  readonly isExact?: boolean;
  /** Replaces the rank in the table. */
  readonly rank?: (rank: number) => string;
}

/** A row with the largest rank that fits the model, up to the requested one; without an adapter if none fits. */
export function fitRow(
  { key, label, adapter, notes = [], ablates, isExact = false, rank: shown = String }: RequestedRow,
  context: RowContext,
): Row {
  const { shapes } = context;
  const named = { key, label, ablates };
  const unfit = (rank: string, note: string): Row => ({
    ...named,
    rank,
    adapter: undefined,
    trainable: 0,
    bytes: 0,
    notes: [note],
  });
  const foreign = foreignTarget(adapter, context);
  if (foreign !== undefined) return unfit("–", `${adapter.method} does not adapt ${foreign}`);
  const requested = completeConfig(adapter, context, key);
  let config = requested;
  while (!isExact && config.rank > 1 && findProblem(config, shapes) !== undefined)
    config = parseAdapterConfig({ ...requested, rank: config.rank - 1 }, key);
  if (findProblem(config, shapes) !== undefined)
    return unfit(shown(requested.rank), findProblem(requested, shapes) ?? "");
  const { trainable, bytes } = budget(config, shapes);
  const lower = `rank ${config.rank}, the most that fits, instead of ${requested.rank}`;
  return {
    ...named,
    rank: shown(config.rank),
    adapter: config,
    trainable,
    bytes: bytes.bfloat16,
    notes: config.rank < requested.rank ? [...notes, lower] : notes,
  };
}

/** The number of shards nearest to `wanted` that cuts every width; the smaller of two. */
export const nearestShards = (wanted: number, shapes: Adapter["shapes"]): number =>
  shardCounts(listPools(shapes)).reduce((best, count) =>
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
