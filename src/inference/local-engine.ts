// From a model's path to an engine on this thread. engine-process.ts runs it in a process of its own.
import { geometryOf, type LoadedModel, loadModel, loadModelText } from "#models";
import type { HostTensor } from "#runtime";
import { type AdapterTiers, openAdapterTiers } from "./adapters/index.ts";
import { prepareWeights } from "./base-weights.ts";
import { createEngine, type EngineLimits } from "./engine.ts";
import { createModelRunner, type ModelRunner } from "./model-runner.ts";
import { noAdapters } from "./no-adapters.ts";
import { type EngineSettings, type FullSettings, fullSettings } from "./settings.ts";
import type { AdapterInfo, Engine } from "./types.ts";

/** How far opening is: weights read, adapters found, weights joined and quantised, the program compiled. */
export interface OpenProgress {
  readonly type: "model" | "adapters" | "quantize" | "compile";
  readonly done: number;
  readonly total: number;
}

export interface OpenLocalOptions {
  readonly onProgress?: (progress: OpenProgress) => void;
  readonly onAdapters?: (adapters: readonly AdapterInfo[]) => void;
  /** Milliseconds from any start. */
  readonly now: () => number;
}

/** Prompt tokens that are read between two steps of the rows that write. */
const CHUNK = 128;
/** Prompt tokens of a turn when nobody waits for them. */
const LONE_CHUNK = 512;
const MAX_LENGTH = 4096;

/** The weights out of the model, which keeps none: they are joined one by one, and none should be held twice. */
function takeWeights({ weights }: LoadedModel): Map<string, HostTensor> {
  const taken = new Map<string, HostTensor>(weights);
  (weights as Map<string, HostTensor>).clear();
  return taken;
}

const openTiers = (
  settings: FullSettings,
  model: LoadedModel,
  options: OpenLocalOptions,
): Promise<AdapterTiers> =>
  settings.adapters === undefined
    ? Promise.resolve(noAdapters)
    : openAdapterTiers({
        folder: settings.adapters,
        geometry: geometryOf(model.config),
        fingerprint: model.fingerprint,
        limitBytes: settings.adapterMemory,
        dtype: settings.adapterDtype,
        now: options.now,
        ...(options.onAdapters === undefined ? {} : { onChange: options.onAdapters }),
      });

/**
 * Opens an engine whose steps block the thread that calls this.
 *
 * @throws MosError what loading a model throws, `bad_option`, `not_found` for an adapters' folder that is not there.
 */
export async function openLocalEngine(given: EngineSettings, options: OpenLocalOptions): Promise<Engine> {
  const settings = fullSettings(given);
  const report: Report = (type, done, total) => options.onProgress?.({ type, done, total });
  const model = await loadModel(settings.model, {
    onProgress: ({ done, total }) => report("model", done, total),
  });
  const { tokenizer } = await loadModelText(model.source);
  const tiers = await openTiers(settings, model, options);
  report("adapters", tiers.list().length, tiers.list().length);
  try {
    const program = await openProgram(settings, model, report);
    const { vocabularySize, eosTokens } = model.config;
    const endTokens = [...new Set([...tokenizer.eosTokens, ...eosTokens])];
    return createEngine({
      program,
      tiers,
      tokenizer,
      model: {
        vocabularySize,
        maxLength: longest(settings, model),
        endTokens,
        fingerprint: model.fingerprint,
      },
      limits: limitsOf(settings),
      now: options.now,
    });
  } catch (cause) {
    await tiers[Symbol.asyncDispose]();
    throw cause;
  }
}

type Report = (type: OpenProgress["type"], done: number, total: number) => void;

const longest = ({ maxLength }: FullSettings, { config }: LoadedModel): number =>
  Math.min(maxLength ?? MAX_LENGTH, config.maxPositions);

async function openProgram(settings: FullSettings, model: LoadedModel, report: Report): Promise<ModelRunner> {
  const weights = await prepareWeights(model.config, takeWeights(model), {
    quantize: settings.quantize,
    onProgress: (done, total) => report("quantize", done, total),
  });
  report("compile", 0, 1);
  const program = await createModelRunner(weights, {
    maxLength: longest(settings, model),
    adapters: settings.adapters !== undefined,
    compile: { threads: settings.threads },
  });
  report("compile", 1, 1);
  return program;
}

const limitsOf = (settings: FullSettings): EngineLimits => ({
  maxRows: settings.maxBatch,
  maxWaiting: settings.maxWaiting,
  cacheLimit: settings.cacheMemory,
  slotLimit: settings.slotMemory,
  chunk: CHUNK,
  loneChunk: LONE_CHUNK,
});
