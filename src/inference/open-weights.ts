// The base of a model for an engine: weights that are loaded already, that are read and packed, or that were packed before.
import { errorText, type FreeMemory, freeMemory, type MemoryPlan, MosError } from "#core";
import { weightBytes } from "#files";
import {
  type BaseDtype,
  baseFormats,
  baseFromFiles,
  type LoadedModel,
  loadModelText,
  type ModelConfig,
  type ModelFiles,
  type ModelHashes,
  openModel,
  readWeights,
  steadyPositions,
  type Weight,
  weightShapes,
} from "#models";
import type { LoadedText } from "#text";
import { type BaseWeights, EMBEDDING, prepareWeights } from "./base-weights.ts";
import type { ModelWithText, ResolvedOptions } from "./engine-options.ts";
import { AS_KEPT, CACHE_MEMORY, requireEngineMemory } from "./memory.ts";
import type { PackedStore } from "./packed-store.ts";
import { cachedNote, unusableNote, type WeightCache, weightCache } from "./weight-cache.ts";

const MAX_LENGTH = 4096;

export type Report = (type: "model" | "adapters" | "compile", done: number, total: number) => void;

/** Facts about a model whose weights were taken. */
export type ModelFacts = Pick<LoadedModel, "config" | "fingerprint" | "identity">;

export interface OpenWeightsOptions {
  readonly settings: ResolvedOptions;
  readonly free: FreeMemory | undefined;
  readonly report: Report;
  readonly signal: AbortSignal | undefined;
  /** Whether packed weights are cached: from how many bytes on, and where if not beside the model. */
  readonly cache: { readonly minBytes: number; readonly fallback: string | undefined } | undefined;
  readonly onNote: (text: string) => void;
}

export interface OpenedWeights {
  readonly model: ModelFacts;
  readonly weights: BaseWeights;
  readonly tokenizer: LoadedText["tokenizer"];
  /** The longest sequence. */
  readonly maxLength: number;
  readonly cacheMemory: number;
  readonly plan: MemoryPlan | undefined;
}

/**
 * The base of a model, and its tokenizer. Of a path, each weight is prepared when it is read, and then let go of; what has
 * no room is refused before that. A loaded model has its room already.
 */
export async function openWeights(
  given: string | ModelWithText,
  options: OpenWeightsOptions,
): Promise<OpenedWeights> {
  const { settings, free } = options;
  const { computeDtype } = settings;
  const longest = (config: ModelConfig): number =>
    Math.min(settings.maxLength ?? Math.min(MAX_LENGTH, steadyPositions(config)), config.maxPositions);
  if (typeof given !== "string") {
    const { model, text } = given;
    const weights = await prepareWeights(model.config, model.weights, { computeDtype });
    const { cacheMemory = CACHE_MEMORY } = settings;
    const { tokenizer } = text;
    return { model, weights, tokenizer, maxLength: longest(model.config), cacheMemory, plan: undefined };
  }
  await using files = await openModel(given);
  const { config } = files;
  const maxLength = longest(config);
  const { cacheMemory, expand, plan } = requireEngineMemory(
    baseFromFiles(files),
    { ...settings, maxLength },
    free ?? (await freeMemory()),
  );
  const { tokenizer } = await loadModelText(files.source);
  const { hashes, weights } = await loadBase(files, { ...options, expand });
  return { model: { config, ...hashes }, weights, tokenizer, maxLength, cacheMemory, plan };
}

interface BaseOptions extends OpenWeightsOptions {
  readonly expand: boolean;
}

interface HashedBase {
  readonly hashes: ModelHashes;
  readonly weights: BaseWeights;
}

/** The weights from the cache; or else they are read, packed, and cached. */
async function loadBase(files: ModelFiles, options: BaseOptions): Promise<HashedBase> {
  const { settings, expand, onNote, report } = options;
  const cache = await chooseCache(files, options);
  const cached = await cache?.open();
  if (cached !== undefined) {
    const { hashes, store } = cached;
    try {
      const outlines = outlineWeights(files, settings.baseDtype);
      const weights = await prepareWeights(files.config, outlines, {
        computeDtype: settings.computeDtype,
        expand,
        store,
      });
      report("model", 1, 1);
      return { hashes, weights };
    } catch (cause) {
      onNote(unusableNote(errorText(cause)));
    }
  }
  const store = await cache?.create();
  if (store === undefined) return readBase(files, options);
  try {
    const base = await readBase(files, options, store);
    await store.commit(base.hashes);
    onNote(cachedNote(store));
    return base;
  } catch (cause) {
    await store[Symbol.asyncDispose]();
    if (store.failure === undefined) throw cause;
    onNote(`packed weights are not cached: ${store.failure.message}`);
    return readBase(files, options);
  }
}

async function readBase(
  files: ModelFiles,
  { settings: { baseDtype, computeDtype }, expand, signal, report }: BaseOptions,
  store?: PackedStore,
): Promise<HashedBase> {
  const reading = readWeights(files, {
    ...AS_KEPT,
    baseDtype,
    signal,
    onProgress: ({ doneBytes, totalBytes }) => report("model", doneBytes, totalBytes),
  });
  const stream = new WithResult(reading);
  const weights = await prepareWeights(files.config, stream, {
    computeDtype,
    expand,
    ...(store === undefined ? {} : { store }),
  });
  return { hashes: stream.result(), weights };
}

/** Weights without their numbers. */
function outlineWeights(files: ModelFiles, baseDtype: BaseDtype): readonly (readonly [string, Weight])[] {
  const shapes = weightShapes(files.config);
  return [...baseFormats(files, { ...AS_KEPT, baseDtype })].map(([name, format]) => [
    name,
    { shape: shapes.get(name) ?? [], format, parts: {} },
  ]);
}

/** The cache of a base that is quantised here, all of whose matrices are packed. */
async function chooseCache(
  files: ModelFiles,
  { settings: { baseDtype, computeDtype }, cache, onNote }: BaseOptions,
): Promise<WeightCache | undefined> {
  if (cache === undefined || baseDtype === "stored" || baseDtype === "float32") return undefined;
  const { tiedHead } = files.config;
  let bytes = 0;
  const outlines = outlineWeights(files, baseDtype);
  for (const [name, { shape, format }] of outlines) {
    if (shape.length > 1 && format.kind !== "blocks" && format.kind !== "nf4") return undefined;
    // a tied embedding is there as a table, too
    bytes += weightBytes(format, shape) * (tiedHead && name === EMBEDDING ? 2 : 1);
  }
  if (bytes < cache.minBytes) return undefined;
  return weightCache(files, {
    baseDtype,
    computeDtype,
    fallback: cache.fallback,
    onNote,
    bytes: bytes * (baseDtype === "nf4" && computeDtype === "int8" ? 2 : GROWTH[baseDtype]),
    tensors: outlines.length * MAX_TENSORS_PER_WEIGHT,
  });
}

/** What packing adds at most: scales and offsets are float32. In int8, codes of NF4 become twice as wide. */
const GROWTH = { int4: 1.25, int8: 1.1, nf4: 1.05 } as const;
/** A matrix becomes codes, scales, zero points and offsets; an embedding is a table besides. */
const MAX_TENSORS_PER_WEIGHT = 5;

/** An iterable whose end says more. */
class WithResult<T, R> implements AsyncIterable<T> {
  readonly #items: AsyncGenerator<T, R>;
  #result: R | undefined;

  constructor(items: AsyncGenerator<T, R>) {
    this.#items = items;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void> {
    this.#result = yield* this.#items;
  }

  result(): R {
    if (this.#result === undefined) throw new MosError("bad_config", "the items were not read to their end");
    return this.#result;
  }
}
