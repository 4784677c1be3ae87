// From a model to a core on this thread. engine-worker.ts runs it in a process of its own.
import { type Adapter, expandFactors, expandOnHost, loadAdapter, MERGE_LIMIT } from "#adapters";
import type { FreeMemory } from "#core";
import { type ModelConfig, toLayerShapes } from "#models";
import { tokenDigest } from "#text";
import { type AdapterLease, type AdapterManager, noAdapters, openAdapterManager } from "./adapters/index.ts";
import type { AdmissionLimits } from "./engine-client.ts";
import { createCore, type EngineCore } from "./engine-core.ts";
import {
  type CoreOptions,
  type ModelWithText,
  type OpenProgress,
  type ResolvedOptions,
  resolveOptions,
} from "./engine-options.ts";
import { mergeAdapter } from "./merge-adapter.ts";
import { createModelRunner } from "./model-runner.ts";
import { type ModelFacts, type OpenedWeights, openWeights, type Report } from "./open-weights.ts";
import type { AdapterInfo, EngineModel, RefusedAdapter } from "./types.ts";

/** A core that waits to be started, and what its front has to know. */
export interface OpenedCore {
  readonly core: EngineCore;
  readonly model: EngineModel;
  readonly limits: AdmissionLimits;
  readonly adapters: readonly AdapterInfo[];
  readonly refused: readonly RefusedAdapter[];
}

export interface OpenCoreOptions {
  readonly onProgress: (progress: OpenProgress) => void;
  readonly signal?: AbortSignal | undefined;
  /** Memory available to the engine ("what the machine and its limits leave"). */
  readonly free?: FreeMemory;
  /** Numbers of a loaded model's linear layers up to which they are copied to merge a lone adapter (300 million). */
  readonly mergeLimit?: number;
  /** Bytes of packed weights from which on they are cached (32 MB): fewer are made in a moment. */
  readonly minCacheBytes?: number;
}

const MIN_CACHE_BYTES = 32e6;
/** Prompt tokens between two tokens of the slots that decode. */
const PREFILL_CHUNK = 128;
/** Prompt tokens at a time when no slot decodes. */
const LONE_PREFILL_CHUNK = 512;
/** Logits of prompt tokens that exist at a time, at most: 64 MiB, and twice while they are copied. */
const SCORING_LOGITS = 2 ** 24;

/**
 * Opens a core whose steps block the thread that calls this.
 *
 * @throws MosError what loading a model throws, `bad_option`, `not_found` for an adapters' folder that is not there,
 * `bad_adapter` for a merged adapter that is broken or belongs to another base, `memory` where it has no room, `cancelled`.
 */
export async function openCore(
  {
    model: given,
    adapters: source,
    mergedAdapter,
    device = "cpu",
    cacheFolder,
    ...rest
  }: CoreOptions<string | ModelWithText>,
  { onProgress, signal, free, mergeLimit = MERGE_LIMIT, minCacheBytes = MIN_CACHE_BYTES }: OpenCoreOptions,
): Promise<OpenedCore> {
  const settings = resolveOptions(rest, source !== undefined || mergedAdapter !== undefined);
  const session = { device, threads: settings.threads };
  const report: Report = (type, done, total) => onProgress({ type, done, total });
  const opened = await openWeights(given, {
    settings,
    free,
    report,
    signal,
    onNote: (text) => onProgress({ type: "note", text }),
    cache: settings.weightCache ? { minBytes: minCacheBytes, fallback: cacheFolder } : undefined,
  });
  const { model, tokenizer, maxLength, cacheMemory, plan } = opened;
  await using base = opened.weights;
  const { config } = model;
  const tokens = tokenDigest(tokenizer);
  const own = mergedAdapter === undefined ? undefined : await resolveAdapter(mergedAdapter, model);
  // merging into weights that the caller keeps copies them, so a lone adapter of a large model has a slot instead; and
  // into numbers of fewer bits nothing can be merged without rounding it
  const isCopied = typeof given !== "string";
  const usesSlot =
    own !== undefined &&
    (!base.canMerge || (source === undefined && isCopied && linearParameters(config) > mergeLimit));
  const adapters = await openManager(model, settings, { source, tokens, signal });
  const registered = adapters.list();
  report("adapters", registered.length, registered.length);
  try {
    if (own !== undefined && !usesSlot)
      await mergeAdapter(base.feeds, { config, adapter: await expandFactors(own), session });
    report("compile", 0, 1);
    const runner = await createModelRunner(base, {
      maxLength,
      session,
      cacheDtype: settings.cacheDtype,
      adapters: source !== undefined || usesSlot,
    });
    report("compile", 1, 1);
    const engineModel: EngineModel = {
      ...describeModel(opened, tokens),
      baseDtype: settings.baseDtype,
      computeDtype: settings.computeDtype,
      plan,
    };
    const { maxBatch, maxWaiting } = settings;
    const core = createCore({
      runner,
      adapters,
      tokenizer,
      model: engineModel,
      defaultAdapter: usesSlot ? permanentLease(own) : undefined,
      limits: { ...coreLimits(settings, config.vocabularySize), cacheMemory },
      now: () => performance.now(),
    });
    return {
      core,
      model: engineModel,
      limits: { maxBatch, maxWaiting, cacheMemory, bytesPerPosition: runner.cache.bytesPerPosition },
      adapters: registered,
      refused: adapters.refused(),
    };
  } catch (cause) {
    await adapters[Symbol.asyncDispose]();
    throw cause;
  }
}

const describeModel = (
  { model, tokenizer, maxLength }: Pick<OpenedWeights, "model" | "tokenizer" | "maxLength">,
  tokens: EngineModel["tokens"],
) => ({
  vocabularySize: model.config.vocabularySize,
  maxLength,
  endTokens: [...new Set([...tokenizer.eosTokens, ...model.config.eosTokens])],
  fingerprint: model.fingerprint,
  identity: model.identity,
  tokens,
});

const coreLimits = ({ maxBatch, slotMemory }: ResolvedOptions, vocabularySize: number) => ({
  maxBatch,
  slotMemory,
  prefillChunk: PREFILL_CHUNK,
  lonePrefillChunk: LONE_PREFILL_CHUNK,
  scoringChunk: Math.max(1, Math.min(PREFILL_CHUNK, Math.floor(SCORING_LOGITS / vocabularySize))),
});

async function resolveAdapter(adapter: string | Adapter, model: ModelFacts): Promise<Adapter> {
  if (typeof adapter !== "string") return adapter;
  const { config, fingerprint, identity } = model;
  return await loadAdapter(adapter, { shapes: toLayerShapes(config), fingerprint, identity });
}

function linearParameters(config: ModelConfig): number {
  const { layers, widths } = toLayerShapes(config);
  return layers * Object.values(widths).reduce((sum, width) => sum + width.in * width.out, 0);
}

/** An adapter that stays in memory as long as its engine. */
const permanentLease = (adapter: Adapter): AdapterLease => ({
  name: "merged",
  digest: "merged",
  rank: adapter.config.rank,
  expand: () => expandOnHost(adapter),
  [Symbol.dispose]: () => undefined,
});

function openManager(
  { config, fingerprint, identity }: ModelFacts,
  { adapterMemory, maxAdapterRank, adapterDtype }: ResolvedOptions,
  {
    source,
    tokens,
    signal,
  }: {
    readonly source: CoreOptions["adapters"];
    readonly tokens: string;
    readonly signal: AbortSignal | undefined;
  },
): Promise<AdapterManager> {
  if (source === undefined) return Promise.resolve(noAdapters);
  return openAdapterManager({
    source,
    shapes: toLayerShapes(config),
    fingerprint,
    identity,
    tokens,
    signal,
    limitBytes: adapterMemory,
    maxRank: maxAdapterRank,
    dtype: adapterDtype,
    now: () => performance.now(),
  });
}
