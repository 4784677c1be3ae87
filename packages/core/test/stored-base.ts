// A base as its file stores it beside the same base expanded to float32: logits, loss, and gradients of an adapter.

import { compile, linear, softCap } from "mixture-of-shards-graph";
import { type Adapter, adapterHook, adapterLeaves } from "#adapters";
import type { Batch } from "#data";
import {
  type BaseDtype,
  headWeight,
  type LoadedModel,
  loadBase,
  toLayerShapes,
  weightFeeds,
  weightLeaves,
} from "#models";
import { adapterModel, gradientSource, hiddenStates } from "#training";
import { randomAdapter } from "./random-adapter.ts";

const SETTINGS = {
  method: "mos",
  rank: 3,
  equivalentRank: 2,
  shardsPerVector: 4,
  privateRank: 1,
  dropout: 0,
};

interface Numbers {
  /** [tokens, V] */
  readonly logits: Float32Array;
  readonly loss: number;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** One row of tokens, each of which is predicted from those before it. */
function makeBatch(tokens: readonly number[]): Batch {
  const length = tokens.length;
  return {
    rows: 1,
    length,
    ids: Int32Array.from(tokens),
    positions: Int32Array.from(tokens.keys()),
    segments: new Int32Array(length).fill(1),
    labelIndices: Int32Array.from({ length: length - 1 }, (_, i) => i),
    labelIds: Int32Array.from(tokens.slice(1)),
    labelSequences: new Int32Array(length - 1),
    columns: {},
    examples: 1,
    exampleIndices: [0],
    hinted: [],
    rests: [],
    sequences: 1,
    tokens: length,
  };
}

async function computeLogits(
  { config, weights }: LoadedModel,
  adapter: Adapter,
  batch: Batch,
): Promise<Float32Array> {
  const leaves = adapterLeaves(adapter);
  const values = weightLeaves(config, new Map([...weights].map(([name, { format }]) => [name, format])));
  const hidden = hiddenStates(config, {
    shape: { rows: 1, length: batch.length },
    weights: values,
    linear: adapterHook({ factors: leaves.factors(), merge: false }),
  });
  await using program = await compile({
    logits: softCap(linear(hidden, headWeight(config, values)), config.logitSoftCap),
  });
  const shape = [1, batch.length];
  const { logits } = await program.run({
    ...Object.assign({}, ...[...weights].map(([name, weight]) => weightFeeds(name, weight))),
    ...Object.fromEntries(leaves.parameters),
    ids: { shape, data: batch.ids },
    positions: { shape, data: batch.positions },
    segments: { shape, data: batch.segments },
  });
  return logits?.data as Float32Array;
}

async function computeNumbers(model: LoadedModel, adapter: Adapter, batch: Batch): Promise<Numbers> {
  const logits = await computeLogits(model, adapter, batch);
  await using source = gradientSource(adapterModel(model, adapter));
  const { loss, gradients } = await source.gradients(batch, undefined);
  return { logits, loss, gradients };
}

/** The largest difference as a share of the largest number. */
export function farthest(a: Float32Array, b: Float32Array): number {
  let [difference, largest] = [0, 0];
  for (const [i, x] of a.entries()) {
    difference = Math.max(difference, Math.abs(x - (b[i] ?? Number.NaN)));
    largest = Math.max(largest, Math.abs(x));
  }
  return Number.isNaN(difference) ? Number.NaN : difference / largest;
}

/** Differences as shares: of the largest logit, of the loss, and of the largest number of each gradient, the worst one. */
export interface StoredDifference {
  readonly loss: number;
  readonly differences: { readonly logits: number; readonly loss: number; readonly gradients: number };
}

/** Computes both on a row of tokens, with a MoS adapter of random numbers. */
export async function compareStored(
  path: string,
  tokens: readonly number[],
  baseDtype: BaseDtype = "stored",
): Promise<StoredDifference> {
  const stored = await loadBase(path, { baseDtype });
  const adapter = randomAdapter(SETTINGS, toLayerShapes(stored.config), {
    seed: 5,
    deviation: 0.02,
    only: "trainable",
  });
  const batch = makeBatch(tokens);
  const ours = await computeNumbers(stored, adapter, batch);
  const theirs = await computeNumbers(await loadBase(path, { baseDtype: "float32" }), adapter, batch);
  const gradients = [...theirs.gradients].map(([name, gradient]) =>
    farthest(gradient, ours.gradients.get(name) ?? new Float32Array(0)),
  );
  return {
    loss: theirs.loss / batch.labelIds.length,
    differences: {
      logits: farthest(theirs.logits, ours.logits),
      loss: Math.abs(ours.loss - theirs.loss) / theirs.loss,
      gradients: gradients.reduce((worst, one) => (one > worst || Number.isNaN(one) ? one : worst), 0),
    },
  };
}

/** The log-probability of each token but the first, by the forward pass of training on the base alone. */
export async function trainingLogprobs(
  path: string,
  tokens: readonly number[],
  baseDtype: BaseDtype,
): Promise<readonly number[]> {
  const model = await loadBase(path, { baseDtype });
  const { vocabularySize: V } = model.config;
  const adapter = randomAdapter(SETTINGS, toLayerShapes(model.config), {
    seed: 5,
    deviation: 0,
    only: "trainable",
  });
  const logits = await computeLogits(model, adapter, makeBatch(tokens));
  return tokens.slice(1).map((id, i) => {
    const row = logits.subarray(i * V, (i + 1) * V);
    const most = row.reduce((a, b) => Math.max(a, b));
    return row[id]! - most - Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
  });
}
