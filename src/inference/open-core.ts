// From a model to a core on this thread. engine-process.ts runs it in a process of its own.
import { type Adapter, expandFactors, type FactorMap, loadAdapter } from "#adapters";
import { geometryOf, type LoadedModel, loadModel, loadModelText } from "#models";
import type { Device, HostTensor } from "#runtime";
import type { LoadedText } from "#text";
import { type AdapterManager, noAdapters, openAdapterManager } from "./adapters/index.ts";
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
  readonly adapters?: string | Readonly<Record<string, string>>;
  /** An adapter, or its folder, that is merged into the base: as fast as the base alone, which this engine lacks then. */
  readonly mergedAdapter?: string | Adapter;
  /** Where steps are computed ("cpu"). */
  readonly device?: Device;
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
}

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
  { onProgress, signal }: OpenCoreOptions,
): Promise<OpenedCore> {
  const settings = fullSettings(rest);
  const compile = { device, threads: settings.threads };
  const report: Report = (type, done, total) => onProgress({ type, done, total });
  const { model, weights, tokenizer } = await loaded(given, report, signal);
  const maxLength = Math.min(settings.maxLength ?? MAX_LENGTH, model.config.maxPositions);
  const merged = mergedAdapter === undefined ? undefined : await factorsOf(mergedAdapter, model);
  const adapters = await openManager(model, settings, { source, signal });
  const registered = adapters.list();
  report("adapters", registered.length, registered.length);
  try {
    const runner = await openRunner(weights, model, {
      ...{ quantize: settings.quantize, mergedAdapter: merged, maxLength, compile, report },
      adapters: source !== undefined,
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
    return { model, tokenizer: text.tokenizer, weights: new Map(model.weights) };
  }
  const model = await loadModel(given, {
    onProgress: ({ done, total }) => report("model", done, total),
    ...(signal === undefined ? {} : { signal }),
  });
  const { tokenizer } = await loadModelText(model.source);
  const weights = new Map(model.weights);
  (model.weights as Map<string, HostTensor>).clear();
  return { model, tokenizer, weights };
}

async function factorsOf(
  adapter: string | Adapter,
  { config, fingerprint }: LoadedModel,
): Promise<FactorMap> {
  if (typeof adapter !== "string") return expandFactors(adapter);
  return expandFactors(await loadAdapter(adapter, { geometry: geometryOf(config), fingerprint }));
}

function openManager(
  { config, fingerprint }: LoadedModel,
  { adapterMemory, adapterDtype }: FullSettings,
  { source, signal }: { readonly source: CoreSettings["adapters"]; readonly signal: AbortSignal | undefined },
): Promise<AdapterManager> {
  if (source === undefined) return Promise.resolve(noAdapters);
  return openAdapterManager({
    ...{ source, geometry: geometryOf(config), fingerprint },
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
