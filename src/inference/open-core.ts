// From a model to a core on this thread. engine-process.ts runs it in a process of its own.
import { type Adapter, expandFactors, expandOnHost, loadAdapter } from "#adapters";
import {
  floatTensors,
  geometryOf,
  type LlamaConfig,
  type LoadedModel,
  loadModel,
  loadModelText,
  type Weight,
} from "#models";
import type { Device, HostTensor } from "#runtime";
import type { LoadedText } from "#text";
import { type AdapterLease, type AdapterManager, noAdapters, openAdapterManager } from "./adapters/index.ts";
import { type PrepareOptions, prepareWeights } from "./base-weights.ts";
import type { FrontLimits } from "./engine.ts";
import { createCore, type EngineCore } from "./engine-core.ts";
import { bytesPerPosition } from "./kv-cache.ts";
import { createModelRunner, type ModelRunner, type ModelRunnerOptions } from "./model-runner.ts";
import { type EngineSettings, type FullSettings, fullSettings } from "./settings.ts";
import type { AdapterInfo, EngineModel } from "./types.ts";

/** A model that is loaded already. Its weights stay as they are. */
export interface ModelWithText {
  readonly model: LoadedModel;
  readonly text: LoadedText;
}

/** What an engine runs, and how much of the machine it takes. */
export interface CoreSettings extends EngineSettings {
  /** A model folder or a .gguf file. */
  readonly model: string;
  /** A folder that is watched, with one sub-folder for each adapter, or folders by the name of their adapter. */
  readonly adapters?: string | Readonly<Record<string, string>> | undefined;
  /**
   * An adapter, or its folder, that becomes part of the base: as fast as the base alone, which this engine lacks then.
   * Merging takes a second copy of a loaded model's linear layers; where they have more than 300 million numbers, an
   * adapter without others beside it is not merged but used, from a slot, by every request.
   */
  readonly mergedAdapter?: string | Adapter | undefined;
  /** Where steps are computed ("cpu"). */
  readonly device?: Device | undefined;
}

/** How far opening is: weights read, adapters found, weights joined and quantised, the program compiled. */
export interface OpenProgress {
  readonly type: "model" | "adapters" | "quantize" | "compile";
  readonly done: number;
  readonly total: number;
}

/** A core that waits to be started, and what its front has to know. */
export interface OpenedCore {
  readonly core: EngineCore;
  readonly model: EngineModel;
  readonly limits: FrontLimits;
  readonly adapters: readonly AdapterInfo[];
}

export interface OpenCoreOptions {
  readonly onProgress: (progress: OpenProgress) => void;
  readonly signal?: AbortSignal | undefined;
  /** Numbers of a loaded model's linear layers up to which they are copied to merge a lone adapter (300 million). */
  readonly mergeLimit?: number;
}

const MERGE_LIMIT = 300e6;
/** Prompt tokens between two tokens of the slots that decode. */
const PREFILL_CHUNK = 128;
/** Prompt tokens at a time when no slot decodes. */
const LONE_PREFILL_CHUNK = 512;
const MAX_LENGTH = 4096;

type Report = (type: OpenProgress["type"], done: number, total: number) => void;

/**
 * Opens a core whose steps block the thread that calls this.
 *
 * @throws MosError what loading a model throws, `bad_option`, `not_found` for an adapters' folder that is not there,
 * `bad_adapter` for a merged adapter that is broken or belongs to another base, `cancelled`.
 */
export async function openCore(
  {
    model: given,
    adapters: source,
    mergedAdapter,
    device = "cpu",
    ...rest
  }: Omit<CoreSettings, "model"> & { readonly model: string | ModelWithText },
  { onProgress, signal, mergeLimit = MERGE_LIMIT }: OpenCoreOptions,
): Promise<OpenedCore> {
  const settings = fullSettings(rest);
  const compile = { device, threads: settings.threads };
  const report: Report = (type, done, total) => onProgress({ type, done, total });
  const { model, weights, tokenizer } = await loaded(given, report, signal);
  const maxLength = Math.min(settings.maxLength ?? MAX_LENGTH, model.config.maxPositions);
  const own = mergedAdapter === undefined ? undefined : await adapterOf(mergedAdapter, model);
  // merging into weights that the caller keeps copies them, so a lone adapter of a large model has a slot instead
  const isCopied = typeof given !== "string";
  const usesSlot =
    own !== undefined && source === undefined && isCopied && linearNumbers(model.config) > mergeLimit;
  const adapters = await openManager(model, settings, { source, signal });
  const registered = adapters.list();
  report("adapters", registered.length, registered.length);
  try {
    const runner = await openRunner(weights, model, {
      ...{ quantize: settings.quantize, maxLength, compile, report },
      mergedAdapter: own === undefined || usesSlot ? undefined : await expandFactors(own),
      adapters: source !== undefined || usesSlot,
    });
    const { vocabularySize, eosTokens } = model.config;
    const engineModel: EngineModel = {
      vocabularySize,
      maxLength,
      endTokens: [...new Set([...tokenizer.eosTokens, ...eosTokens])],
      fingerprint: model.fingerprint,
    };
    const { maxBatch, maxWaiting, cacheMemory, slotMemory } = settings;
    const core = createCore({
      ...{ runner, adapters, tokenizer, model: engineModel },
      defaultAdapter: usesSlot ? permanentLease(own) : undefined,
      limits: {
        ...{ maxBatch, cacheMemory, slotMemory },
        prefillChunk: PREFILL_CHUNK,
        lonePrefillChunk: LONE_PREFILL_CHUNK,
      },
      now: () => performance.now(),
    });
    return {
      core,
      model: engineModel,
      limits: { maxBatch, maxWaiting, cacheMemory, bytesPerPosition: bytesPerPosition(model.config) },
      adapters: registered,
    };
  } catch (cause) {
    await adapters[Symbol.asyncDispose]();
    throw cause;
  }
}

/** A model with weights that may be taken one by one: joined, none should be held twice. */
async function loaded(given: string | ModelWithText, report: Report, signal: AbortSignal | undefined) {
  if (typeof given !== "string") {
    const { model, text } = given;
    return { model, tokenizer: text.tokenizer, weights: floatTensors(model.weights) };
  }
  const model = await loadModel(given, {
    onProgress: ({ done, total }) => report("model", done, total),
    ...(signal === undefined ? {} : { signal }),
  });
  const { tokenizer } = await loadModelText(model.source);
  const weights = floatTensors(model.weights);
  (model.weights as Map<string, Weight>).clear();
  return { model, tokenizer, weights };
}

async function adapterOf(adapter: string | Adapter, model: LoadedModel): Promise<Adapter> {
  if (typeof adapter !== "string") return adapter;
  const { config, fingerprint, identity } = model;
  return await loadAdapter(adapter, { geometry: geometryOf(config), fingerprint, identity });
}

function linearNumbers(config: LlamaConfig): number {
  const { layers, widths } = geometryOf(config);
  return layers * Object.values(widths).reduce((sum, width) => sum + width.in * width.out, 0);
}

/** An adapter that stays in memory as long as its engine. */
const permanentLease = (adapter: Adapter): AdapterLease => ({
  ...{ name: "merged", digest: "merged", rank: adapter.config.rank },
  expand: () => expandOnHost(adapter),
  [Symbol.dispose]: () => undefined,
});

function openManager(
  { config, fingerprint, identity }: LoadedModel,
  { adapterMemory, adapterDtype }: FullSettings,
  { source, signal }: { readonly source: CoreSettings["adapters"]; readonly signal: AbortSignal | undefined },
): Promise<AdapterManager> {
  if (source === undefined) return Promise.resolve(noAdapters);
  return openAdapterManager({
    ...{ source, geometry: geometryOf(config), fingerprint, identity },
    signal,
    limitBytes: adapterMemory,
    dtype: adapterDtype,
    now: () => performance.now(),
  });
}

interface RunnerSettings extends ModelRunnerOptions, Pick<PrepareOptions, "quantize" | "mergedAdapter"> {
  readonly report: Report;
}

async function openRunner(
  taken: Map<string, HostTensor>,
  { config }: LoadedModel,
  { quantize, mergedAdapter, report, ...options }: RunnerSettings,
): Promise<ModelRunner> {
  const weights = await prepareWeights(config, taken, {
    quantize,
    mergedAdapter,
    ...(options.compile === undefined ? {} : { compile: options.compile }),
    onProgress: (done, total) => report("quantize", done, total),
  });
  report("compile", 0, 1);
  const runner = await createModelRunner(weights, options);
  report("compile", 1, 1);
  return runner;
}
