// From a model to a core on this thread. engine-worker.ts runs it in a process of its own.

import { DEFAULT_DEVICE, supports } from "mixture-of-shards-graph";
import { type WeightFormat, weightBytes } from "mixture-of-shards-graph/common";
import { type Adapter, expandFactors, expandOnHost, loadAdapter, MERGE_LIMIT } from "#adapters";
import { errorText, type FreeMemory, freeMemory, MosError, parseSettings } from "#common";
import {
  type BaseDtype,
  baseFormats,
  baseFromFiles,
  defaultComputeDtype,
  isMatrix,
  type LoadedModel,
  listPools,
  loadModelText,
  type ModelConfig,
  type ModelFiles,
  type ModelHashes,
  openModel,
  readWeights,
  storageFormats,
  toBaseShapes,
  toLayerShapes,
  type Weight,
  weightShapes,
} from "#models";
import { type LoadedText, tokenDigest } from "#text";
import { type AdapterLease, openAdapterManager } from "./adapters/manager.ts";
import { type BaseWeights, EMBEDDING, mergeAdapter, prepareWeights } from "./base-weights.ts";
import { planPadding } from "./deterministic.ts";
import { NO_DRAFTS, planDrafts } from "./drafts.ts";
import { type EngineCore, LocalCore } from "./engine-core.ts";
import {
  type CoreOptions,
  defaultMaxLength,
  engineSettings,
  type ModelWithText,
  type OpenProgress,
  type ResolvedOptions,
} from "./engine-options.ts";
import { AS_KEPT, defaultCacheMemory, type EngineMemory, requireEngineMemory } from "./memory.ts";
import { createModelRunner, type ModelRunner } from "./model-runner.ts";
import type { PackedStore } from "./packed-store.ts";
import type { AdmissionLimits } from "./requests.ts";
import { PREFILL_CHUNK, prefillLimits } from "./scheduler.ts";
import { stateBytes } from "./states.ts";
import type { AdapterInfo, Drafts, EngineModel, RefusedAdapter } from "./types.ts";
import { cachedNote, unusableNote, type WeightCache, weightCache } from "./weight-cache.ts";

/** A core that waits to be started, and what its client, which disposes it, has to know. */
export interface OpenedCore {
  readonly core: EngineCore;
  readonly model: EngineModel;
  readonly limits: AdmissionLimits;
  readonly adapters: readonly AdapterInfo[];
  readonly refused: readonly RefusedAdapter[];
}

/** Callbacks for opening, and limits that tests lower. */
interface OpenCalls {
  readonly onProgress: (progress: OpenProgress) => void;
  readonly signal?: AbortSignal | undefined;
  /** Memory available to the engine ("what the machine and its limits leave"). */
  readonly free?: FreeMemory | undefined;
  /** Parameters of a loaded model's linear layers up to which they are copied to merge a lone adapter (300 million). */
  readonly mergeLimit?: number;
  /** Bytes of packed weights from which on they are cached (32 MB): fewer are made in a moment. */
  readonly minCacheBytes?: number;
}

const engineModel = (opened: Awaited<ReturnType<typeof openWeights>>, drafts: Drafts): EngineModel => ({
  vocabularySize: opened.config.vocabularySize,
  hiddenSize: opened.config.hiddenSize,
  maxLength: opened.maxLength,
  endTokens: [...new Set([...opened.tokenizer.eosTokens, ...opened.config.eosTokens])],
  fingerprint: opened.fingerprint,
  identity: opened.identity,
  tokens: tokenDigest(opened.tokenizer),
  baseDtype: opened.baseDtype,
  computeDtype: opened.computeDtype,
  drafts,
  plan: opened.plan,
});

/**
 * Opens a core whose steps block the thread that calls this.
 *
 * @throws MosError what loading a model throws, `bad_option`, `not_found` for an adapters' folder that is not there,
 * `bad_adapter` for a merged adapter that is broken or belongs to another base, `memory` where it has no room, `cancelled`.
 */
export async function openCore(
  options: CoreOptions<string | ModelWithText>,
  calls: OpenCalls,
): Promise<OpenedCore> {
  const { onProgress, signal, mergeLimit = MERGE_LIMIT } = calls;
  const { adapters: source, mergedAdapter } = options;
  const opened = await openWeights(options, calls);
  await using base = opened.weights;
  const { config, fingerprint, identity, tokenizer } = opened;
  const { maxBatch, maxWaiting, cacheMemory, slotMemory } = opened;
  const shapes = toBaseShapes({ config, path: pathOf(options) });
  const marks = { shapes, fingerprint, identity, tokens: tokenDigest(tokenizer) };
  const merged =
    typeof mergedAdapter === "string"
      ? await loadAdapter(mergedAdapter, { shapes, fingerprint, identity })
      : mergedAdapter;
  // merging into weights that the caller keeps copies them, so a lone adapter of a large model has a slot instead; and
  // into quantised weights nothing can be merged without rounding it
  const isCopied = typeof options.model !== "string";
  const usesSlot =
    merged !== undefined &&
    (!base.canMerge || (source === undefined && isCopied && linearParameters(config) > mergeLimit));
  const adapters = await openAdapterManager({
    ...marks,
    source: source ?? {},
    signal,
    limitBytes: source === undefined ? 0 : opened.adapterMemory,
    maxRank: opened.maxAdapterRank,
    dtype: opened.adapterDtype,
    now: () => performance.now(),
  });
  const registered = adapters.list();
  onProgress({ type: "adapters", done: registered.length, total: registered.length });
  try {
    const session = { device: opened.device, threads: opened.threads };
    if (merged !== undefined && !usesSlot) await mergeAdapter(base, await expandFactors(merged), session);
    onProgress({ type: "compile", done: 0, total: 1 });
    const used = { ...opened, adapters: source !== undefined || usesSlot };
    const fuses = used.deterministic ? false : undefined;
    const runner = await createModelRunner(base, { ...used, session, fuses });
    onProgress({ type: "compile", done: 1, total: 1 });
    const { drafts, limits: steps } = await planSteps(runner, { ...used, mergedRank: merged?.config.rank });
    const model = engineModel(opened, drafts);
    const core = new LocalCore({
      runner,
      adapters,
      tokenizer,
      endTokens: model.endTokens,
      defaultAdapter: usesSlot ? permanentLease(merged) : undefined,
      limits: {
        maxBatch,
        slotMemory,
        cacheMemory,
        ...steps,
      },
      now: () => performance.now(),
      drafts,
    });
    const { bytesPerPosition } = runner.cache;
    const limits = { maxBatch, maxWaiting, bytesPerPosition, cacheMemory: cacheMemory - stateBytes(config) };
    return { core, model, limits, adapters: registered, refused: adapters.refused() };
  } catch (cause) {
    await adapters[Symbol.asyncDispose]();
    throw cause;
  }
}

interface StepOptions extends ResolvedOptions {
  readonly lonePrefillChunk?: number | undefined;
  readonly mergedRank?: number | undefined;
}

/** What a step computes, and how. */
async function planSteps(runner: ModelRunner, options: StepOptions) {
  const { deterministic: isDeterministic, lonePrefillChunk, maxAdapterRank, mergedRank = 0 } = options;
  const { vocabularySize } = runner.config;
  if (!isDeterministic)
    return {
      drafts: await planDrafts(runner, options),
      limits: prefillLimits(vocabularySize, lonePrefillChunk),
    };
  const limits = prefillLimits(vocabularySize, PREFILL_CHUNK);
  const deterministic = {
    part: limits.scoringChunk,
    rank: Math.max(maxAdapterRank, mergedRank),
    isPadded: await planPadding(runner, options),
  };
  return { drafts: NO_DRAFTS, limits: { ...limits, deterministic } };
}

const pathOf = ({ model }: CoreOptions<string | ModelWithText>): string =>
  typeof model === "string" ? model : model.model.path;

function linearParameters(config: ModelConfig): number {
  return listPools(toLayerShapes(config)).reduce(
    (sum, { in: width, out, layers }) => sum + layers.length * width * out,
    0,
  );
}

/** An adapter that stays in memory as long as its engine. */
const permanentLease = (adapter: Adapter): AdapterLease => ({
  name: "merged",
  digest: "merged",
  rank: adapter.config.rank,
  expand: () => expandOnHost(adapter),
  [Symbol.dispose]: () => undefined,
});

/** A base as its engine holds it; of a loaded model, memory is not planned. */
interface OpenedWeights
  extends ResolvedOptions,
    Partial<Omit<EngineMemory, "cacheMemory">>,
    Pick<LoadedModel, "config" | "fingerprint" | "identity"> {
  readonly weights: BaseWeights;
  readonly tokenizer: LoadedText["tokenizer"];
  readonly cacheMemory: number;
}

/**
 * The base of a model, and its tokenizer. Of a path, each weight is prepared when it is read, and then let go of; what has
 * no room is refused before that. A loaded model has its room already.
 */
export async function openWeights(
  {
    model: given,
    adapters,
    mergedAdapter,
    cacheFolder,
    device = DEFAULT_DEVICE,
    ...settings
  }: CoreOptions<string | ModelWithText>,
  calls: OpenCalls,
): Promise<OpenedWeights> {
  const parsed = parseSettings(engineSettings, settings);
  const resolve = (config: ModelConfig, formats: Iterable<readonly [string, WeightFormat]>) => ({
    ...parsed,
    computeDtype: parsed.computeDtype ?? defaultComputeDtype(formats, device),
    maxLength: Math.min(parsed.maxLength ?? defaultMaxLength(config), config.maxPositions),
    device,
    adapters: adapters !== undefined || mergedAdapter !== undefined,
    cacheFolder,
  });
  if (typeof given !== "string") {
    const { config, fingerprint, identity, weights: plain } = given.model;
    const options = resolve(config, storageFormats(plain));
    const { cacheMemory = defaultCacheMemory(config, options) } = options;
    const weights = await prepareWeights(config, plain, { ...options, inMemory: true });
    const { tokenizer } = given.text;
    return { ...options, config, fingerprint, identity, weights, tokenizer, cacheMemory };
  }
  await using files = await openModel(given);
  const { config } = files;
  const options = resolve(config, baseFormats(files, { ...AS_KEPT, baseDtype: parsed.baseDtype }));
  const memory = requireEngineMemory(baseFromFiles(files), options, calls.free ?? (await freeMemory()));
  const { tokenizer } = await loadModelText(files.source);
  const base = await loadBase(files, { ...calls, ...options, expand: memory.expand });
  return { ...options, ...memory, ...base, config, tokenizer };
}

type LoadOptions = ResolvedOptions & OpenCalls & Pick<EngineMemory, "expand">;

type HashedBase = ModelHashes & Pick<OpenedWeights, "weights">;

/** The weights from the cache; or else they are read, packed, and cached. */
async function loadBase(files: ModelFiles, options: LoadOptions): Promise<HashedBase> {
  const { baseDtype, onProgress } = options;
  const note = (text: string): void => onProgress({ type: "note", text });
  const cache = await chooseCache(files, options);
  const cached = await cache?.open();
  if (cached !== undefined) {
    const { hashes, store } = cached;
    try {
      const outlines = outlineWeights(files, baseDtype);
      const weights = await prepareWeights(files.config, outlines, { ...options, store });
      onProgress({ type: "model", done: 1, total: 1 });
      return { ...hashes, weights };
    } catch (cause) {
      note(unusableNote(errorText(cause)));
    }
  }
  const store = await cache?.create();
  if (store === undefined) return readBase(files, options);
  try {
    const base = await readBase(files, options, store);
    await store.commit(base);
    note(cachedNote(store));
    return base;
  } catch (cause) {
    await store[Symbol.asyncDispose]();
    if (store.failure === undefined) throw cause;
    note(`packed weights are not cached: ${store.failure.message}`);
    return readBase(files, options);
  }
}

async function readBase(files: ModelFiles, options: LoadOptions, store?: PackedStore): Promise<HashedBase> {
  const { baseDtype, signal, onProgress } = options;
  let hashes: ModelHashes | undefined;
  async function* read(): AsyncGenerator<readonly [string, Weight], void> {
    hashes = yield* readWeights(files, {
      ...AS_KEPT,
      baseDtype,
      signal,
      onProgress: ({ doneBytes: done, totalBytes: total }) => onProgress({ type: "model", done, total }),
    });
  }
  const weights = await prepareWeights(files.config, read(), { ...options, store });
  if (hashes === undefined) throw new MosError("bad_config", "the weights were not read completely");
  return { ...hashes, weights };
}

/** Shapes and formats of the weights, without data. */
function outlineWeights(files: ModelFiles, baseDtype: BaseDtype): readonly (readonly [string, Weight])[] {
  const shapes = weightShapes(files.config);
  return [...baseFormats(files, { ...AS_KEPT, baseDtype })].map(([name, format]) => [
    name,
    { shape: shapes.get(name) ?? [], format, parts: {} },
  ]);
}

/** The cache of a base that is quantised here, all of whose matrices are packed. */
async function chooseCache(files: ModelFiles, options: LoadOptions): Promise<WeightCache | undefined> {
  const { baseDtype, computeDtype, cacheFolder, minCacheBytes = MIN_CACHE_BYTES, onProgress } = options;
  if (!supports(options.device, "blockProduct")) return undefined;
  if (!options.weightCache || baseDtype === "stored" || baseDtype === "float32") return undefined;
  const { tiedHead } = files.config;
  let bytes = 0;
  const outlines = outlineWeights(files, baseDtype);
  for (const [name, { shape, format }] of outlines) {
    if (isMatrix(shape) && format.kind !== "blocks" && format.kind !== "nf4") return undefined;
    // a tied embedding is there as a table, too
    bytes += weightBytes(format, shape) * (tiedHead && name === EMBEDDING ? 2 : 1);
  }
  if (bytes < minCacheBytes) return undefined;
  return weightCache(files, {
    baseDtype,
    computeDtype,
    fallback: cacheFolder,
    onNote: (text) => onProgress({ type: "note", text }),
    bytes: bytes * (baseDtype === "nf4" && computeDtype === "int8" ? 2 : GROWTH[baseDtype]),
    tensors: outlines.length * MAX_TENSORS_PER_WEIGHT,
  });
}

const MIN_CACHE_BYTES = 32e6;
/** The most that packing adds: scales and offsets are float32. In int8, codes of NF4 become twice as wide. */
const GROWTH = { int4: 1.25, int8: 1.1, nf4: 1.05 } as const;
/** A matrix becomes codes, scales, zero points and offsets; an embedding is a table besides. */
const MAX_TENSORS_PER_WEIGHT = 5;
