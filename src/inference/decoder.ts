// Rows of tokens that grow together, for callers that have no engine yet.
import type { FactorMap } from "#adapters";
import { MosError } from "#core";
import type { Decoder } from "#generation";
import type { LlamaConfig } from "#models";
import type { CompileOptions, HostTensor } from "#runtime";
import { isWorthMerging, prepareWeights } from "./base-weights.ts";
import { capacityFor } from "./kv-cache.ts";
import { createModelRunner } from "./model-runner.ts";

/** A row's adapter; undefined is the base model. */
export type RowAdapter = FactorMap | undefined;

/** The model, and what each row of the decoder adds to it. */
export interface DecoderOptions {
  readonly config: LlamaConfig;
  readonly weightData: ReadonlyMap<string, HostTensor>;
  /** One entry for each row that is decoded side by side. */
  readonly rows: readonly RowAdapter[];
  /** The longest sequence, prompt and answer together. */
  readonly maxLength: number;
  readonly compile?: CompileOptions;
}

/** Longer prompts are read in parts, which bounds the memory of their scores. */
const PREFILL_CHUNK = 256;

/** Prepares decoding with one adapter, or none, for each row. */
export async function createDecoder(options: DecoderOptions): Promise<Decoder> {
  const { config, weightData, rows, maxLength, compile = {} } = options;
  const [lone] = rows;
  const merged = rows.length === 1 && lone !== undefined && isWorthMerging(lone, "none") ? lone : undefined;
  const adapters = merged === undefined && rows.some((row) => row !== undefined);
  const base = await prepareWeights(config, new Map(weightData), {
    quantize: "none",
    mergedAdapter: merged,
    compile,
  });
  const runner = await createModelRunner(base, { maxLength, adapters, compile });
  const { cache, slots } = runner;
  cache.resize(rows.length, capacityFor(1));
  if (adapters) {
    const factors = rows.flatMap((row) => [...(row ?? new Map()).values()]);
    slots.resize(rows.length, Math.max(1, ...factors.map(({ rank }) => rank)));
    for (const [i, row] of rows.entries()) if (row !== undefined) slots.fill(i, row);
  }
  const step = async (tokens: readonly (readonly number[])[]): Promise<readonly Float32Array[]> => {
    const needed = Math.max(...cache.lengths) + Math.max(...tokens.map(({ length }) => length));
    // by half, so that a token is copied a few times in all, not once per later token
    if (needed > cache.capacity)
      cache.resize(rows.length, capacityFor(Math.max(needed, Math.floor(cache.capacity * 1.5))));
    const logits = await runner.run({ from: 0, count: rows.length, tokens });
    return logits.map(([last]) => last ?? new Float32Array(0));
  };
  return {
    lengths: cache.lengths,
    async append(tokens) {
      checkTokens(tokens, { options, lengths: cache.lengths });
      const last: Float32Array[] = tokens.map(() => new Float32Array(0));
      for (let from = 0; from < Math.max(...tokens.map((row) => row.length)); from += PREFILL_CHUNK) {
        const part = await step(tokens.map((row) => row.slice(from, from + PREFILL_CHUNK)));
        part.forEach((logits, row) => {
          if (logits.length > 0) last[row] = logits;
        });
      }
      return last;
    },
    clear() {
      for (let row = 0; row < rows.length; row++) cache.truncate(row, 0);
    },
    [Symbol.asyncDispose]: () => runner[Symbol.asyncDispose](),
  };
}

interface TokenBounds {
  readonly options: DecoderOptions;
  /** Tokens that each row holds. */
  readonly lengths: readonly number[];
}

/** Refuses what the rows cannot take. Throws `bad_option`, `bad_data`. */
function checkTokens(
  tokens: readonly (readonly number[])[],
  { options: { config, rows, maxLength }, lengths }: TokenBounds,
): void {
  if (tokens.length !== rows.length)
    throw new MosError("bad_option", `${tokens.length} rows of tokens for a decoder of ${rows.length} rows`);
  const odd = tokens.flat().find((id) => !(id >= 0 && id < config.vocabularySize));
  if (odd !== undefined)
    throw new MosError(
      "bad_data",
      `token ${odd} is outside the model's vocabulary of ${config.vocabularySize}; does the tokenizer belong to this model?`,
    );
  const longest = Math.max(...tokens.map((row, i) => row.length + (lengths[i] ?? 0)));
  if (longest > maxLength)
    throw new MosError("bad_option", `a sequence of ${longest} tokens does not fit into ${maxLength}`);
}
