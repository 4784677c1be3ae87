// R rows · M places of the cache · H query heads · K key heads · D head width
// The step of a few rows that write one token each. A single stream waits for the number of operators more than for
// their work, so this is the model of step-graph.ts again with everything fused that can be.
import {
  add,
  addRmsNorm,
  concat,
  type Dim,
  embed,
  groupedAttention,
  leaf,
  rmsNorm,
  rotateJoined,
  split,
  swiglu,
  type Value,
} from "#graph";
import { ropeFrequencies } from "#models";
import { modulePath, rotationTables } from "#nn";
import type { BaseWeights } from "./base-weights.ts";
import { GROUPS, type GroupName, type GroupSite } from "./groups.ts";
import { groupProduct, type StepGraphOptions } from "./step-graph.ts";

const GRID: readonly Dim[] = ["rows", 1];

/** The outputs of a group, with biases where the model has them. */
function groupOutput(x: Value, site: GroupSite, options: WriteOptions): readonly Value[] {
  const { weights } = options;
  const biases = GROUPS[site.group].map((linear) =>
    weights.values.get(`${modulePath({ layer: site.layer, linear })}.bias`),
  );
  const y = groupProduct(x, site, options);
  const [first, ...others] = biases;
  const shifted =
    first === undefined ? y : add(y, concat([first, ...others.filter((bias) => bias !== undefined)], 0));
  return split(shifted, { axis: 2, sizes: weights.widths[site.group].outs });
}

interface WriteOptions {
  readonly weights: BaseWeights;
  readonly slots: boolean;
}

/**
 * `logits` [R, 1, V] and `fresh` [R, 1, 2·L·K·D]: the rotated keys of all layers and then their values, as in the other
 * graph. `lengths` are the filled places of each row, `total` one more than the largest.
 */
export function writeGraph(
  weights: BaseWeights,
  { positions: count, slots }: StepGraphOptions,
): Readonly<Record<string, Value>> {
  const { config } = weights;
  const { heads, keyValueHeads, headDim, normEpsilon: epsilon } = config;
  const weight = (name: string): Value => weights.values.get(name) as Value;
  const positions = leaf("positions", GRID, "int64");
  const tables = rotationTables({ frequencies: ropeFrequencies(config), positions: count });
  const rows = { lengths: leaf("lengths", ["rows"], "int32"), total: leaf("total", [], "int32") };
  const keys: Value[] = [];
  const values: Value[] = [];
  let x = embed(weight("model.embed_tokens.weight"), leaf("ids", GRID, "int32"));
  let branch: Value | undefined;
  const norm = (name: string): Value => {
    if (branch === undefined) return rmsNorm(x, weight(name), { epsilon });
    const added = addRmsNorm(x, branch, { gain: weight(name), epsilon });
    x = added.sum;
    return added.norm;
  };
  const outputs = (input: Value, layer: number, group: GroupName): readonly Value[] =>
    groupOutput(input, { layer, group }, { weights, slots });
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    const past = (part: string): Value =>
      leaf(`past.${layer}.${part}`, ["rows", keyValueHeads, "past", headDim]);
    const [q, k, v] = outputs(norm(`${prefix}.input_layernorm.weight`), layer, "qkv") as [
      Value,
      Value,
      Value,
    ];
    const key = rotateJoined(k, positions, { ...tables, heads: keyValueHeads });
    keys.push(key);
    values.push(v);
    const seen = groupedAttention(rotateJoined(q, positions, { ...tables, heads }), [key, v], {
      ...{ pastKeys: past("k"), pastValues: past("v") },
      ...{ ...rows, heads, keyValueHeads, headDim },
    });
    [branch] = outputs(seen, layer, "o") as [Value];
    const [gate, up] = outputs(norm(`${prefix}.post_attention_layernorm.weight`), layer, "gateUp") as [
      Value,
      Value,
    ];
    [branch] = outputs(swiglu(gate, up), layer, "down") as [Value];
  }
  return { logits: weights.head(norm("model.norm.weight")), fresh: concat([...keys, ...values], 2) };
}
