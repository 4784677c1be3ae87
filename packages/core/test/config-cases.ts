// config.json files and what transformers computes with them, as scripts/verify/config_grammar.py writes them, against
// what this engine computes. Weights follow from their names there and here.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MosError } from "#common";
import { writeSafetensors } from "#files";
import { floatTensors, loadBase, parseHuggingFaceConfig } from "#models";
import { trainingLogits } from "./training-logits.ts";

/** A line of the script's file. */
export interface ConfigCase {
  readonly config: Readonly<Record<string, unknown>>;
  /** Why transformers cannot run it. */
  readonly refused?: string;
  /** Shapes of the weights that its file has. */
  readonly tensors?: Readonly<Record<string, readonly number[]>>;
  readonly texts?: readonly CaseText[];
}

interface CaseText {
  /** Tokens. */
  readonly length: number;
  /** Of the tokens, or of some of them by their positions. */
  readonly logits: readonly (readonly number[])[] | Readonly<Record<string, readonly number[]>>;
}

/** What became of a case: the same numbers, other ones, or an error on either side. */
export type Outcome =
  | { readonly kind: "equal"; readonly difference: number }
  | { readonly kind: "different"; readonly difference: number }
  | { readonly kind: "refused"; readonly message: string }
  /** transformers refuses what this engine runs. */
  | { readonly kind: "alone"; readonly message: string };

/** FNV-1a, 32 bits. */
function hashed(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** Families whose files state gains around 0. */
const SHIFTED = /^(?:gemma2|gemma3|qwen3_5)/;
/** Gains that none of them shifts. */
const OWN_GAINS = /(?:linear_attn\.norm\.weight|layer_scalar)$/;

/** The weight of a name: numbers by name and index, at the scale of its kind. */
function numbers(name: string, shape: readonly number[], center: number): Float32Array {
  const count = shape.reduce((product, size) => product * size, 1);
  const seed = hashed(name);
  return Float32Array.from({ length: count }, (_, i) => {
    let x = (Math.imul(i, 0x9e3779b1) + seed) >>> 0;
    x ^= x >>> 16;
    x = Math.imul(x, 0x85ebca6b);
    x ^= x >>> 13;
    x = Math.imul(x, 0xc2b2ae35);
    x ^= x >>> 16;
    const u = (x >>> 0) / 2 ** 31 - 1;
    if (OWN_GAINS.test(name)) return 1 + 0.4 * u;
    if (name.includes("norm") && !name.includes("linear_attn")) return center + 0.4 * u;
    return shape.length === 2 && !name.includes("embed") ? (u * 3) / Math.sqrt(shape[1]!) : u;
  });
}

async function writeModel(folder: string, { config, tensors = {} }: ConfigCase): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  const center = SHIFTED.test(String(config["model_type"])) ? 0 : 1;
  const stored = Object.entries(tensors).map(
    ([name, shape]) => [name, { dtype: "F32", shape, data: numbers(name, shape, center) }] as const,
  );
  await writeSafetensors(join(folder, "model.safetensors"), Object.fromEntries(stored), { format: "pt" });
}

/** Relative to the largest logit; both sides compute in float32. */
const TOLERANCE = 2e-4;

/** Runs one case in a folder of its own. */
export async function runCase(folder: string, given: ConfigCase): Promise<Outcome> {
  const { refused, texts = [] } = given;
  try {
    if (refused !== undefined) {
      parseHuggingFaceConfig(given.config, "config.json");
      return { kind: "alone", message: refused };
    }
    await writeModel(folder, given);
    const { config, weights } = await loadBase(folder, { baseDtype: "float32" });
    let difference = 0;
    for (const { length, logits } of texts) {
      if (length > config.maxPositions)
        throw new MosError("bad_option", `${length} tokens are more than the model's ${config.maxPositions}`);
      const ids = Array.from({ length }, (_, i) => (5 * i * i + 3 * i + 1) % config.vocabularySize);
      const base = { config, weights: floatTensors(weights) };
      const found = await trainingLogits(base, ids, undefined, ids.length);
      difference = Math.max(difference, relativeDifference(found, logits));
    }
    return { kind: difference < TOLERANCE ? "equal" : "different", difference };
  } catch (error) {
    if (error instanceof MosError) return { kind: "refused", message: error.message };
    throw error;
  }
}

function relativeDifference(found: readonly Float32Array[], expected: CaseText["logits"]): number {
  const rows = Object.entries(expected);
  const largest = Math.max(...rows.flatMap(([, row]) => row.map(Math.abs)));
  let difference = 0;
  for (const [position, row] of rows)
    for (const [i, wanted] of row.entries()) {
      const error = Math.abs((found[Number(position)]?.[i] ?? Number.NaN) - wanted);
      difference = Math.max(difference, error); // NaN stays
    }
  return difference / largest;
}
