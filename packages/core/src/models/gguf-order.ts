// Rows and columns that llama.cpp keeps in another order than Hugging Face. Reading, adapters and merged files all follow it.
import type { ModelConfig } from "./config.ts";
import { FAMILIES, type Family } from "./families/index.ts";
import { layerHeads } from "./geometry.ts";
import { weightShapes } from "./weights.ts";

/** The place in a weight of what stands at a place in the file. */
type Order = (stored: number) => number;

/** The order of a weight's rows in its family's GGUF files; undefined where it is that of transformers. */
export function rowOrder(config: ModelConfig, name: string): Order | undefined {
  const { gguf }: Family = FAMILIES[config.architecture];
  if (gguf?.order === "pairs") return pairedRows(config, name);
  return gguf?.order === "tiles" ? tiledRows(config, name) : undefined;
}

/** Of q and k, rows of a head stand as 0, D/2, 1, D/2 + 1, … */
function pairedRows(config: ModelConfig, name: string): Order | undefined {
  const [, layer, side] = /\.(\d+)\.self_attn\.([qk])_proj\./.exec(name) ?? [];
  if (side === undefined) return undefined;
  const { headDim } = layerHeads(config, Number(layer));
  const sourceRow = (stored: number): number => (stored % 2) * (headDim / 2) + Math.floor(stored / 2);
  return (row) => row - (row % headDim) + sourceRow(row % headDim);
}

/** The order of value heads; undefined where each has a key head of its own. */
function tiledHeads({ linearAttention }: ModelConfig): Order | undefined {
  const { keyHeads = 1, valueHeads = 1 } = linearAttention ?? {};
  if (keyHeads === valueHeads) return undefined;
  return (head) => (head % keyHeads) * (valueHeads / keyHeads) + Math.floor(head / keyHeads);
}

function tiledRows(config: ModelConfig, name: string): Order | undefined {
  const order = tiledHeads(config);
  const [, part] = /\.linear_attn\.(\w+)/.exec(name) ?? [];
  if (order === undefined || config.linearAttention === undefined) return undefined;
  const { keyHeads, keyDim, valueDim } = config.linearAttention;
  const heads = (first: number, width: number): Order => {
    return (row) =>
      row < first ? row : first + order(Math.floor((row - first) / width)) * width + ((row - first) % width);
  };
  switch (part) {
    case "in_proj_qkv":
    case "conv1d":
      return heads(2 * keyHeads * keyDim, valueDim);
    case "in_proj_z":
      return heads(0, valueDim);
    case "in_proj_b":
    case "in_proj_a":
    case "dt_bias":
    case "A_log":
      return order;
    default:
      return undefined;
  }
}

/** The same of its columns, for runs of them that stay together; as a list, which has a place for each run. */
export function columnOrder(config: ModelConfig, name: string): readonly number[] | undefined {
  const { gguf }: Family = FAMILIES[config.architecture];
  const order = gguf?.order === "tiles" ? tiledHeads(config) : undefined;
  if (order === undefined || !name.endsWith(".linear_attn.out_proj.weight")) return undefined;
  return Array.from({ length: config.linearAttention?.valueHeads ?? 0 }, (_, head) => order(head));
}

/** From a weight's order into a file's, or back. */
export type OrderDirection = "toFile" | "fromFile";

interface Reordering {
  readonly order: Order;
  /** Runs that are ordered among each other, and the numbers of each. */
  readonly runs: number;
  readonly width: number;
  readonly direction: OrderDirection;
}

function reordered(data: Float32Array, { order, runs, width, direction }: Reordering): Float32Array {
  const result = new Float32Array(data.length);
  for (let begin = 0; begin < data.length; begin += runs * width)
    for (let stored = 0; stored < runs; stored++) {
      const [from, to] = direction === "toFile" ? [order(stored), stored] : [stored, order(stored)];
      const source = begin + from * width;
      result.set(data.subarray(source, source + width), begin + to * width);
    }
  return result;
}

interface Numbers {
  readonly config: ModelConfig;
  /** The weight's Hugging Face name, such as "model.layers.0.self_attn.q_proj.weight". */
  readonly name: string;
  readonly direction: OrderDirection;
}

/** Orders all rows of a weight [out, …], of a bias, or of an adapter's B; what has one order comes back as it is. */
export function reorderRows(data: Float32Array, { config, name, direction }: Numbers): Float32Array {
  const order = rowOrder(config, name);
  if (order === undefined) return data;
  const [runs = 1] = weightShapes(config).get(name) ?? [];
  return reordered(data, { order, runs, width: data.length / runs, direction });
}

/** Orders the columns of some rows of a weight, or of an adapter's A. */
export function reorderColumns(data: Float32Array, { config, name, direction }: Numbers): Float32Array {
  const places = columnOrder(config, name);
  if (places === undefined) return data;
  const [, columns = 1] = weightShapes(config).get(name) ?? [];
  const order = (stored: number): number => places[stored] ?? 0;
  return reordered(data, { order, runs: places.length, width: columns / places.length, direction });
}
