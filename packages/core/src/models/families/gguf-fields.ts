// Fields of a GGUF header that several families read in the same way.
import { MosError } from "#common";
import type { GgufValue } from "#files";
import type { ModelShape } from "../geometry.ts";
import { type GgufHeader, unsupported } from "./family.ts";
import { eachLayer } from "./layer-windows.ts";

/** A number of the header, or undefined where the key is absent; a list of equal numbers counts as that number. */
export function headerNumber(
  { path, metadata }: Pick<GgufHeader, "path" | "metadata">,
  key: string,
): number | undefined {
  const value: GgufValue | undefined = metadata[key];
  if (value === undefined) return undefined;
  const single = Array.isArray(value) && value.every((item) => item === value[0]) ? value[0] : value;
  if (typeof single === "number") return single;
  if (Array.isArray(value))
    throw unsupported(path, `${key} differs between layers; all layers must have the same value`);
  throw new MosError(
    "bad_model",
    `${path}: ${key} is ${typeof value === "string" ? JSON.stringify(value) : String(value)}; expected a number`,
  );
}

/** A float32 as the short decimal number that it was made from: 9.99999974e-6 → 1e-5. */
export function shortDecimal(value: number): number {
  const short = Number(value.toPrecision(7));
  return Math.fround(short) === value ? short : value;
}

/** The window of a GGUF file, where 0 means none. */
export const ggufWindow = ({ at }: GgufHeader): number | undefined =>
  at("attention.sliding_window") || undefined;

/** The windowed layers: those of a list, or of a rule where there is none. */
export const ggufWindowed = (
  { list, layers }: GgufHeader,
  otherwise: (layer: number) => boolean,
): readonly boolean[] =>
  list("attention.sliding_window_pattern")?.slice(0, layers).map(Boolean) ?? eachLayer(layers, otherwise);

/** A number for each layer: those of a list, or one that all have. */
export function layerNumbers({ path, list, need, layers }: GgufHeader, key: string): readonly number[] {
  const numbers = list(key)?.slice(0, layers).map(Number) ?? eachLayer(layers, () => need(key));
  if (numbers.length === layers && numbers.every((count) => Number.isSafeInteger(count) && count >= 0))
    return numbers;
  throw new MosError("bad_model", `${path}: ${key} must have a whole number for each of ${layers} layers`);
}

/** Biases of q, k, v and o, or of q, k and v alone, by the tensors of the first block. */
export function ggufBiases({ path, tensors }: GgufHeader): Pick<ModelShape, "attentionBias" | "mlpBias"> {
  const has = (name: string): boolean => tensors.has(`blk.0.${name}.bias`);
  const [q, k, v, qkv] = [has("attn_q"), has("attn_k"), has("attn_v"), has("attn_qkv")];
  const output = has("attn_output");
  const mlp = ["ffn_gate", "ffn_up", "ffn_down"].map(has);
  const refuse = (what: string): never => {
    throw unsupported(path, `only some of the ${what} have biases; all or none must have them`);
  };
  if (!qkv && (q !== k || k !== v)) refuse("layers attn_q, attn_k and attn_v");
  const projected = q || qkv;
  if (output && !projected) refuse("layers attn_q, attn_k, attn_v and attn_output");
  if (mlp.includes(true) && mlp.includes(false)) refuse("layers ffn_gate, ffn_up and ffn_down");
  return { attentionBias: projected && !output ? "qkv" : projected, mlpBias: mlp[0] === true };
}
