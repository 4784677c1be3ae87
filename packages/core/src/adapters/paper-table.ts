// The rows of the MoS paper's tables 1 and 2: their settings, what they cost on a model, and what serving them costs
// beside LoRA of equal quality. Averages are the paper's, over six benchmark scores on LLaMA2-7B.

import { attempt, MosError } from "#common";
import { type ModelConfig, toLayerShapes } from "#models";
import { type AdapterConfigInput, parseAdapterConfig } from "./adapter-settings.ts";
import { type Budget, budget } from "./budget.ts";
import type { LayerShapes } from "./method.ts";

/** Types of number that the memory is shown in. */
export const PRECISIONS = ["float32", "bfloat16", "int8"] as const;
/** One of `PRECISIONS`. */
export type Precision = (typeof PRECISIONS)[number];

/** Counts of adapters to show the memory for. */
export const FLEETS = [1, 1_000, 10_000] as const;

/** Bytes of the adapters of each of `FLEETS`. */
export type FleetBytes = Readonly<Record<Precision, readonly number[]>>;

/** A row of the paper's tables. */
export interface PaperRow {
  /** Names the row: `lora-8`, `mos-8-sp`. */
  readonly key: string;
  readonly method: string;
  /** The rank that the table shows, where it is not that of the settings. */
  readonly rank?: (shapes: LayerShapes) => number;
  /** The paper's average score. */
  readonly average: number;
  /** For a model of these shapes, the first rank first; where there are two, they cost the same. */
  readonly settings: (shapes: LayerShapes) => readonly AdapterConfigInput[];
}

/** A row of the paper's tables on a model. */
export interface PaperTableRow {
  readonly method: string;
  /** The rank of the settings that are counted; two with a slash between them cost the same. */
  readonly rank: string;
  /** Undefined where the settings do not fit the model; `problem` says why. */
  readonly parameters: number | undefined;
  readonly problem?: string;
  /** The paper's average score on LLaMA2-7B. */
  readonly average: number;
  readonly bytes: FleetBytes | undefined;
  /** The LoRA of the table whose average is nearest. */
  readonly lora: { readonly rank: number; readonly parameters: number; readonly bytes: FleetBytes };
}

/** Pairs that all layers share at the budget of LoRA r = 2: 64 in the paper, whose model has 32 layers. */
const sharedPairs = ({ layers }: LayerShapes): number => 2 * layers;

const same =
  (...settings: readonly AdapterConfigInput[]) =>
  () =>
    settings;

const lora = (rank: number, average: number): PaperRow & { readonly loraRank: number } => ({
  key: `lora-${rank}`,
  method: "LoRA",
  average,
  settings: same({ method: "lora", rank }),
  loraRank: rank,
});

type Mos = Extract<AdapterConfigInput, { readonly method: "mos" }>;

/** At ranks of twice and four times the budget, as in the paper. */
function mos(name: Pick<PaperRow, "key" | "method" | "average">, settings: Partial<Mos>): PaperRow {
  const { equivalentRank = 8 } = settings;
  const ranks = [2 * equivalentRank, 4 * equivalentRank];
  return {
    ...name,
    settings: same(...ranks.map((rank) => ({ method: "mos" as const, ...settings, equivalentRank, rank }))),
  };
}

const LORA_ROWS = [lora(2, 34.98), lora(8, 36.89), lora(16, 36.97), lora(64, 37.53)] as const;

/**
 * The rows of both tables, defined here and nowhere else. The paper gives PRoLoRA 5.00M parameters at both ranks: u = 0 with m = 2
 * or 4 has exactly those of LoRA r = 2, and chunks that divide every width. u = 1 with m = 3 or 7 rounds to 5.00M as well
 * (4,998,016 and 4,999,520), but its chunks do not divide the widths.
 */
export const PAPER_ROWS: readonly PaperRow[] = [
  ...LORA_ROWS,
  {
    key: "pure-sharing",
    method: "Pure Sharing",
    average: 34.33,
    settings: (shapes) => [{ method: "pure-sharing", rank: sharedPairs(shapes) }],
  },
  {
    key: "random-scaling",
    method: "+ Random Scaling",
    average: 34.77,
    settings: (shapes) => [{ method: "random-scaling", rank: sharedPairs(shapes) }],
  },
  {
    key: "subset-selection",
    method: "+ Subset Selection",
    rank: sharedPairs,
    average: 36.12,
    settings: same({ method: "subset-selection", rank: 8, equivalentRank: 2 }),
  },
  {
    key: "vera-256",
    method: "VeRA",
    average: 34.0,
    settings: same({ method: "vera", rank: 256 }),
  },
  {
    key: "tied-lora",
    method: "Tied LoRA",
    average: 35.26,
    settings: same({ method: "tied-lora", rank: 280 }),
  },
  {
    key: "prolora",
    method: "PRoLoRA",
    average: 36.03,
    settings: same(
      { method: "prolora", rank: 4, unsharedRank: 0, chunks: 2 },
      { method: "prolora", rank: 8, unsharedRank: 0, chunks: 4 },
    ),
  },
  mos({ key: "mos-2", method: "MoS", average: 36.39 }, { equivalentRank: 2 }),
  mos({ key: "mos-8", method: "MoS", average: 37.63 }, { equivalentRank: 8 }),
  mos({ key: "mos-8-sp", method: "MoS-sp", average: 36.54 }, { privateRank: 0 }),
  mos({ key: "mos-8-vs", method: "MoS-vs", average: 37.22 }, { shardsPerVector: 1 }),
  mos({ key: "mos-8-pd", method: "MoS-pd", average: 36.54 }, { pairDissociation: false }),
];

const NUMBER_BYTES: Readonly<Record<Precision, number>> = { float32: 4, bfloat16: 2, int8: 1 };

/** Seeded parameters are kept once for all adapters. */
function fleetBytes({ bytes, seeded }: Pick<Budget, "bytes" | "seeded">): FleetBytes {
  const of = (precision: Precision): readonly number[] =>
    FLEETS.map((count) => count * bytes[precision] + NUMBER_BYTES[precision] * seeded);
  return { float32: of("float32"), bfloat16: of("bfloat16"), int8: of("int8") };
}

const formatRank = ({ rank, settings }: PaperRow, shapes: LayerShapes): string =>
  rank === undefined
    ? settings(shapes)
        .map((input) => input.rank)
        .join("/")
    : String(rank(shapes));

/** The largest cost of a row's settings. */
function rowBudget(row: PaperRow, shapes: LayerShapes): Budget | MosError {
  return attempt(() => {
    const budgets = row.settings(shapes).map((input) => budget(parseAdapterConfig(input), shapes));
    return budgets.reduce((a, b) => (b.bytes.float32 > a.bytes.float32 ? b : a));
  });
}

/**
 * The paper's tables on a model: trainable parameters, and the memory of 1, 1,000 and 10,000 adapters beside that of the
 * LoRA whose average in the paper is nearest.
 *
 * @example
 * paperTable(presetConfig("llama2-7b")).map(({ method, rank, parameters }) => [method, rank, parameters]);
 */
export function paperTable(model: ModelConfig): readonly PaperTableRow[] {
  const shapes = toLayerShapes(model);
  const nearest = (average: number) =>
    LORA_ROWS.reduce((a, b) => (Math.abs(b.average - average) < Math.abs(a.average - average) ? b : a));
  return PAPER_ROWS.map((row) => {
    const cost = rowBudget(row, shapes);
    const { loraRank } = nearest(row.average);
    const beside = budget(parseAdapterConfig({ method: "lora", rank: loraRank }), shapes);
    const { method, average } = row;
    return {
      method,
      rank: formatRank(row, shapes),
      average,
      parameters: cost instanceof MosError ? undefined : cost.trainable,
      bytes: cost instanceof MosError ? undefined : fleetBytes(cost),
      ...(cost instanceof MosError ? { problem: cost.message } : {}),
      lora: { rank: loraRank, parameters: beside.trainable, bytes: fleetBytes(beside) },
    };
  });
}
