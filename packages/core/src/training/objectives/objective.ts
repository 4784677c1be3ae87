// What a run minimises, as a value: a loss of the log-probabilities of target tokens, computed in the graph, and what is
// reported of it.

import {
  add,
  type DivergenceMeasure,
  type HostTensor,
  mul,
  neg,
  scalar,
  sub,
  sum,
  type Value,
} from "mixture-of-shards-graph";
import { omitUndefined } from "#common";
import type { Batch, DataKind, EncodedExample } from "#data";
import type { GraderInputs, GraderPlan } from "../rollouts/grader.ts";
import type { FinetuneSettings } from "../settings.ts";
import { column, fedColumn, labelColumn } from "./answers.ts";
import type { ObjectiveSettings } from "./settings.ts";

/** Sums of numbers that are reported, and what they are divided by, under the names that TRL has for them. */
export type Metrics = Readonly<Record<string, { readonly sum: number; readonly count: number }>>;

/** Contents of leaves, by name. */
export type Feeds = Readonly<Record<string, HostTensor>>;

/** What a run minimises. Sums are added over the micro-batches of an update and divided at its end. */
export interface Objective {
  /** True if it compares with the parameters before the first step; without `divergence`, by the column `reference`. */
  readonly usesReference: boolean;
  /** It learns a teacher's distributions, from which this is how far the student is, and its feeds have `teacher`. */
  readonly divergence?: DivergenceMeasure;
  /** True if its feeds need log-probabilities of sequences up to `maxLength`, however short those of the data are. */
  readonly joinsSequences?: boolean;
  /** Metrics that the view of a run shows. */
  readonly shown: readonly string[];
  /**
   * The summed loss of a batch, a scalar, by the log-probability of each target [labels, 1], or with `divergence` by that from
   * the teacher. What else it needs are leaves, of the dimensions "labels", "sequences", "pairs", or fixed ones.
   */
  loss(targets: Value): Value;
  /** Contents of these leaves. */
  feeds(batch: Batch, context: FeedContext): Feeds | Promise<Feeds>;
  /** What sums over an update are divided by: target tokens, their weights, pairs, or sequences. */
  count(batch: Batch): number;
  /** From the log-probability of each target, and from what was fed. */
  metrics(batch: Batch, logprobs: Float32Array, feeds: Feeds): Metrics;
  /** The mean loss of a model that guesses each token, where there is one. */
  guessingLoss?(vocabularySize: number): number;
  /** What is wrong with a run of which an evaluation says this; undefined where nothing is. */
  warn?(metrics: Readonly<Record<string, number>>): string | undefined;
}

/** Sizes of an update, or of an evaluation. */
export interface Totals {
  /** Target tokens. */
  readonly tokens: number;
  /** Those of the first sequence of each example: of pairs, those of chosen answers. */
  readonly firstTokens: number;
  readonly examples: number;
  readonly sequences: number;
}

/** What feeds may depend on besides their batch. */
export interface FeedContext {
  /** Sizes of the whole update that the batch belongs to. */
  readonly update: Totals;
  /** Tokens that no sequence may exceed: `maxLength`, or those of the longest sequence of the data. */
  readonly longest: number;
  /** The log-probability of each target, by a forward pass without gradient and dropout. */
  logprobs(batch: Batch, of: "policy" | "reference"): Promise<Float32Array>;
  /** What the head reads at each target [labels, hidden width], likewise. */
  hidden(batch: Batch, of: "policy" | "reference"): Promise<Float32Array>;
}

/** Row of the table of objectives. */
export interface ObjectiveKind {
  readonly help: string;
  /** Kind of the examples that it learns from. */
  readonly data: DataKind;
  /** The settings that it has, with its defaults; undefined where there is none. */
  readonly defaults: Partial<ObjectiveSettings>;
  /** Its usual learning rate, as a factor on that of plain training. */
  readonly learningRate: number;
  /** False: it has no dropout but what a new adapter is given, since that is noise in what it compares. */
  readonly usesDropout: boolean;
  /** What it learns from an encoded example, where that is not the example as it is. */
  readonly prepare?: (example: EncodedExample) => EncodedExample;
  /** What its sampled answers are worth, where it learns from such. Throws `bad_option` where that needs another setting. */
  readonly grader?: ((settings: FinetuneSettings, inputs: GraderInputs) => GraderPlan) | undefined;
  create(settings: FinetuneSettings): Objective;
}

/** Settings whose defaults are filled in. */
type Filled<D extends Partial<ObjectiveSettings>> = {
  readonly [K in keyof D & keyof ObjectiveSettings]: Exclude<ObjectiveSettings[K], undefined>;
};

/** A row whose functions are given its settings with the defaults filled in. */
export function objectiveKind<D extends Partial<ObjectiveSettings>>({
  create,
  grader,
  ...kind
}: Omit<ObjectiveKind, "defaults" | "create" | "grader"> & {
  readonly defaults: D;
  create(settings: FinetuneSettings & Filled<D>): Objective;
  grader?(settings: FinetuneSettings & Filled<D>, inputs: GraderInputs): GraderPlan;
}): ObjectiveKind {
  const fill = (settings: FinetuneSettings) =>
    ({ ...kind.defaults, ...omitUndefined(settings) }) as FinetuneSettings & Filled<D>;
  return {
    ...kind,
    create: (settings) => create(fill(settings)),
    grader: grader && ((settings, inputs) => grader(fill(settings), inputs)),
  };
}

/** Sums of both. */
export function addMetrics(a: Metrics, b: Metrics): Metrics {
  const found: Record<string, Metrics[string]> = { ...a };
  for (const [name, { sum, count }] of Object.entries(b)) {
    const before = found[name] ?? { sum: 0, count: 0 };
    found[name] = { sum: before.sum + sum, count: before.count + count };
  }
  return found;
}

/** Their means, under names that begin with `prefix`; undefined where there are none. */
export function averageMetrics(metrics: Metrics, prefix = ""): Readonly<Record<string, number>> | undefined {
  const known = Object.entries(metrics).filter(([, { count }]) => count > 0);
  if (known.length === 0) return undefined;
  return Object.fromEntries(known.map(([name, { sum, count }]) => [`${prefix}${name}`, sum / count]));
}

/** Sizes of these examples together. */
export function totalsOf(examples: Iterable<EncodedExample>): Totals {
  let [tokens, firstTokens, count, sequences] = [0, 0, 0, 0];
  for (const { labels, targetTokens, shared = 0, sequences: lengths = [labels.length] } of examples) {
    tokens += targetTokens;
    for (let i = 1; i < shared + (lengths[0] ?? 0); i++) if ((labels[i] as number) >= 0) firstTokens += 1;
    count += 1;
    sequences += lengths.length;
  }
  return { tokens, firstTokens, examples: count, sequences };
}

/** Sizes of a batch that is an update of its own, all examples of which have as many sequences. */
export function batchTotals({ examples, sequences, labelSequences }: Batch): Totals {
  const each = sequences / examples;
  const firstTokens = labelSequences.reduce((count, k) => count + Number(k % each === 0), 0);
  return { tokens: labelSequences.length, firstTokens, examples, sequences };
}

// Plain training

const weightsOf = ({ columns, labelIds }: Batch): Float32Array =>
  columns.weight ?? new Float32Array(labelIds.length).fill(1);

const total = (numbers: Float32Array): number => numbers.reduce((sum, x) => sum + x, 0);

/**
 * The cross-entropy of target tokens: each counts by its weight, 1 unless its message has another. A token that is anchored
 * counts by ½ (log p − log p_ref)² instead: it is to be as likely as by the reference, whatever token it is. Of tokens that the
 * reference has written, that is its KL divergence to second order.
 */
export const plainTraining: Objective = {
  usesReference: false,
  shown: [],
  loss: (logprobs) => {
    const moved = sub(logprobs, labelColumn("reference"));
    const anchored = sum(mul(mul(moved, moved), labelColumn("anchors")));
    return add(neg(sum(mul(logprobs, labelColumn("weights")))), mul(anchored, scalar(0.5)));
  },
  feeds: (batch) => ({
    weights: column(weightsOf(batch)),
    anchors: fedColumn(batch, "anchor"),
    reference: fedColumn(batch, "reference"),
  }),
  count: (batch) => total(weightsOf(batch)) + total(batch.columns.anchor ?? new Float32Array()),
  metrics({ columns: { anchor, reference } }, logprobs) {
    if (anchor === undefined) return {};
    const moved = logprobs.map((x, i) => (anchor[i] as number) * (x - (reference?.[i] ?? 0)) ** 2);
    return { kept: { sum: 0.5 * total(moved), count: total(anchor) } };
  },
  guessingLoss: Math.log,
};

export const sft = objectiveKind({
  help: "learn to give the answers of the examples",
  data: "examples",
  defaults: {},
  learningRate: 1,
  usesDropout: true,
  create: () => plainTraining,
});
