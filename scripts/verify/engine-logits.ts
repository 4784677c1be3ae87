// Logits of this engine for whole rows of tokens: what the other side's are compared with.
import type { Adapter } from "mixture-of-shards-core/adapters";
import { headWeight, type LoadedModel } from "mixture-of-shards-core/models";
import { adapterModel, hiddenStates } from "mixture-of-shards-core/training";
import { compile, type HostTensor, linear, softCap } from "mixture-of-shards-graph";

/** Logits [B · S, V] of rows of equal length. */
export async function computeLogits(
  loaded: LoadedModel,
  adapter: Adapter,
  rows: readonly (readonly number[])[],
): Promise<HostTensor & { readonly data: Float32Array }> {
  const model = adapterModel(loaded, adapter);
  const [count, length] = [rows.length, rows[0]?.length ?? 0];
  const hidden = hiddenStates(model.config, {
    shape: { rows: count, length },
    weights: model.weights,
    linear: model.linear({ rows: count, length }, undefined),
  });
  await using program = await compile({
    logits: softCap(linear(hidden, headWeight(model.config, model.weights)), model.config.logitSoftCap),
  });
  for (const [name, data] of [...model.weightData, ...model.parameters])
    if (program.inputs.has(name)) program.bind({ [name]: data });
  const every = Int32Array.from({ length: count * length }, (_, i) => i);
  const grid = (data: Int32Array) => ({ shape: [count, length], data });
  const { logits } = await program.run({
    ids: grid(Int32Array.from(rows.flat())),
    positions: grid(every.map((i) => i % length)),
    segments: grid(every.map(() => 1)),
  });
  if (!(logits?.data instanceof Float32Array)) throw new Error("no logits");
  return { shape: logits.shape, data: logits.data };
}
