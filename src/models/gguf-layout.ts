// How llama.cpp lays a Llama out in a GGUF file: its names, and its order of the rows of q and k. Models are read by it
// and adapters are written by it.

import type { LlamaConfig } from "./config.ts";

/** GGUF's names within a block, by Hugging Face's. */
const BLOCK_NAMES: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

const OUTER_NAMES: Readonly<Record<string, string>> = {
  "model.embed_tokens.weight": "token_embd.weight",
  "model.norm.weight": "output_norm.weight",
  "lm_head.weight": "output.weight",
};

/** "model.layers.3.self_attn.q_proj.weight" → "blk.3.attn_q.weight"; a name without a counterpart stays. */
export function ggufName(name: string): string {
  const [, layer = "", inner = "", kind = ""] =
    /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name) ?? [];
  const block = BLOCK_NAMES[inner];
  return block === undefined ? (OUTER_NAMES[name] ?? name) : `blk.${layer}.${block}.${kind}`;
}

/** Heads whose rows are reordered, for the weights that llama.cpp reorders: those of q and k. */
function rotatedHeads({ heads, keyValueHeads }: LlamaConfig, name: string): number | undefined {
  if (name.includes(".q_proj.")) return heads;
  return name.includes(".k_proj.") ? keyValueHeads : undefined;
}

/** Whether llama.cpp keeps the rows of a weight in another order, so that no part can be read alone. */
export const isReordered = (name: string): boolean => /\.[qk]_proj\./.test(name);

/**
 * llama.cpp stores the two halves of a head's rotary pairs side by side (0, D/2, 1, D/2 + 1, …), where Hugging Face
 * keeps the halves apart. Gives where row `row` of a head of width D stands in the file.
 */
const storedRow = (row: number, headDim: number): number =>
  (row % (headDim / 2)) * 2 + (row < headDim / 2 ? 0 : 1);

/** Moves whole rows: row i of the source becomes row `target(i)`. */
function moveRows(data: Float32Array, rows: number, target: (row: number) => number): Float32Array {
  const width = data.length / rows;
  const result = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    result.set(data.subarray(row * width, (row + 1) * width), target(row) * width);
  return result;
}

/**
 * Rows of a weight, or of an adapter's B, from Hugging Face's order into a GGUF file's. `data` is [out, …] or a bias
 * [out]; what llama.cpp does not reorder comes back as it is.
 *
 * @param name The weight's Hugging Face name, such as "model.layers.0.self_attn.q_proj.weight".
 */
export function toGgufRows(config: LlamaConfig, name: string, data: Float32Array): Float32Array {
  const heads = rotatedHeads(config, name);
  if (heads === undefined) return data;
  const { headDim } = config;
  return moveRows(data, heads * headDim, (row) => row - (row % headDim) + storedRow(row % headDim, headDim));
}

/** Undoes `toGgufRows`. */
export function fromGgufRows(config: LlamaConfig, name: string, data: Float32Array): Float32Array {
  const heads = rotatedHeads(config, name);
  if (heads === undefined) return data;
  const { headDim } = config;
  const half = headDim / 2;
  const sourceRow = (stored: number): number => (stored % 2) * half + Math.floor(stored / 2);
  return moveRows(data, heads * headDim, (row) => row - (row % headDim) + sourceRow(row % headDim));
}
