import { MosError } from "#core";
import type { Decoder } from "#generation";
import { constant, type Value } from "#graph";
import { type LlamaConfig, weightLeaves } from "#models";
import { LINEAR_NAMES, type Site, siteKey } from "#nn";
import { type CompileOptions, compile, type HostTensor } from "#runtime";
import { decoderGraph, slotNames } from "./decoder-graph.ts";
import { capacityFor, KVCache } from "./kv-cache.ts";
import { adaptedNumbers, MERGE_LIMIT, mergedWeights } from "./merge.ts";
import { cutLogits, stepFeeds } from "./step-feeds.ts";

/** One site's factors as numbers: A [r, in], Bᵀ [r, out]. */
export interface SlotFactors {
  readonly rank: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly scale: number;
}

/** A row's adapter, by `${layer}.${linear}`; undefined is the base model. */
export type RowAdapter = ReadonlyMap<string, SlotFactors> | undefined;

/** The model, and what each row of the decoder adds to it. */
export interface DecoderOptions {
  readonly config: LlamaConfig;
  readonly weightData: ReadonlyMap<string, HostTensor>;
  /** One entry for each row that is decoded side by side. */
  readonly rows: readonly RowAdapter[];
  /** The longest sequence, prompt and answer together. */
  readonly maxLength: number;
  /** Adapted numbers up to which the adapter of a lone row is merged into a copy of its weights; 0 never merges. */
  readonly mergeLimit?: number;
  readonly compile?: CompileOptions;
}

/** Longer prompts are read in parts, which bounds the memory of their scores. */
const PREFILL_CHUNK = 256;

/**
 * The weights as leaves, which share the model's memory; the small gains of norms as constants, since every input costs
 * some microseconds at each token.
 */
const graphWeights = (
  config: LlamaConfig,
  weightData: ReadonlyMap<string, HostTensor>,
): ReadonlyMap<string, Value> =>
  new Map(
    [...weightLeaves(config)].map(([name, value]) => {
      const weight = weightData.get(name);
      return [name, name.endsWith("norm.weight") && weight ? constant(weight.data, weight.shape) : value];
    }),
  );

/** What the program is built from: a lone adapter is merged into the weights where these are small enough. */
async function withLoneAdapterMerged(options: DecoderOptions): Promise<DecoderOptions> {
  const { rows, weightData, mergeLimit = MERGE_LIMIT } = options;
  const [adapter] = rows;
  if (rows.length !== 1 || adapter === undefined || adaptedNumbers(adapter, weightData) > mergeLimit)
    return options;
  const merged = await mergedWeights(weightData, adapter, options.compile ?? {});
  return { ...options, weightData: merged, rows: [undefined] };
}

/** Prepares decoding with one adapter, or none, for each row. */
export async function createDecoder(given: DecoderOptions): Promise<Decoder> {
  const options = await withLoneAdapterMerged(given);
  const { config, weightData, rows, maxLength } = options;
  if (maxLength > config.maxPositions)
    throw new MosError(
      "bad_option",
      `${maxLength} tokens are more than the ${config.maxPositions} that this model was made for`,
    );
  const slotRank = Math.max(
    0,
    ...rows.flatMap((row) => [...(row ?? new Map()).values()].map(({ rank }) => rank)),
  );
  const adapted = (site: Site): boolean => rows.some((row) => row?.has(siteKey(site)) === true);
  const graph = decoderGraph(config, {
    weights: graphWeights(config, weightData),
    rows: rows.length,
    positions: maxLength,
    slotRank,
    adapted,
  });
  const program = await compile(graph, options.compile);
  const cache = new KVCache(config);
  const all = { from: 0, count: rows.length };
  cache.resize(rows.length, capacityFor(1));
  program.bind(Object.fromEntries([...weightData].filter(([name]) => program.inputs.has(name))));
  program.bind(slotTensors(options, slotRank));
  program.bind(cache.view(all));
  const step = async (tokens: readonly (readonly number[])[]): Promise<readonly Float32Array[]> => {
    const given = { ...all, tokens };
    const counts = tokens.map((row) => row.length);
    const length = Math.max(...counts);
    const needed = Math.max(...cache.lengths) + length;
    if (needed > cache.capacity) {
      // by half, so that a token is copied a few times in all, not once per later token
      cache.resize(rows.length, capacityFor(Math.max(needed, Math.floor(cache.capacity * 1.5))));
      program.bind(cache.view(all));
    }
    const { logits, fresh } = await program.run(stepFeeds(given, cache, config));
    if (!(logits?.data instanceof Float32Array && fresh?.data instanceof Float32Array))
      throw new MosError("device", "the decoding program gave no logits");
    cache.append(fresh.data, counts, { from: 0, tokens: length });
    const last = cutLogits(logits.data, given, config.vocabularySize);
    return last.map(([behind]) => behind ?? new Float32Array(0));
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
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
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

/** Every row's factors in the slots; smaller ranks and rows without an adapter are filled up with zeros. */
function slotTensors({ config, rows }: DecoderOptions, slotRank: number): Record<string, HostTensor> {
  const tensors: Record<string, HostTensor> = {};
  for (let layer = 0; layer < config.layers; layer++)
    for (const linear of LINEAR_NAMES) {
      const factors = rows.map((row) => row?.get(siteKey({ layer, linear })));
      const known = factors.find((one) => one !== undefined);
      if (known === undefined) continue;
      const names = slotNames({ layer, linear });
      tensors[names.a] = stacked(
        factors.map((one) => one?.a),
        { slotRank, width: known.a.length / known.rank },
      );
      const scaled = factors.map((one) => one?.b.map((x) => x * one.scale));
      tensors[names.b] = stacked(scaled, { slotRank, width: known.b.length / known.rank });
    }
  return tensors;
}

/** Factors [r, width] of all rows as one [B, slotRank, width], of one row as [slotRank, width]. */
function stacked(
  parts: readonly (Float32Array | undefined)[],
  { slotRank, width }: { readonly slotRank: number; readonly width: number },
): HostTensor {
  const data = new Float32Array(parts.length * slotRank * width);
  for (const [row, part] of parts.entries()) if (part !== undefined) data.set(part, row * slotRank * width);
  return { shape: [...(parts.length === 1 ? [] : [parts.length]), slotRank, width], data };
}
