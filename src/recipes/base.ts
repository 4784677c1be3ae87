import { MosError } from "#core";
import { type HubSettings, looksLikeRepository, type PullEvent, pull, resolveCached } from "#hub";
import {
  type BaseForms,
  type LoadedModel,
  type LoadProgress,
  loadModelText,
  loadModel as loadWeights,
  openModel,
} from "#models";
import { pathExists } from "#storage";
import type { LoadedText } from "#text";

/** A base model in memory, with its tokenizer and chat template. */
export interface BaseModel {
  readonly model: LoadedModel;
  readonly text: LoadedText;
}

export interface LocateOptions {
  /** Where `org/name` is looked up and downloaded to; without it only local paths are taken. */
  readonly hub?: HubSettings | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How a model is found and loaded. */
export interface LoadOptions extends LocateOptions, Partial<BaseForms> {
  /** Called after each weight that was read. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/**
 * Finds the folder or GGUF file of a model: a local path as it is, `org/name` in the cache or else on the hub. Gives
 * the events of a download, and returns the path.
 */
export async function* locateModel(
  model: string,
  { hub, signal }: LocateOptions,
): AsyncGenerator<PullEvent, string> {
  if (await pathExists(model)) return model;
  if (!looksLikeRepository(model))
    throw new MosError(
      "not_found",
      `${model}: no such folder or file; give a model folder, a .gguf file, or org/name of the Hugging Face Hub`,
    );
  if (hub === undefined)
    throw new MosError(
      "not_found",
      `${model}: no such folder or file, and no hub cache was given to look it up`,
    );
  const cached = await resolveCached(model, hub);
  if (cached !== undefined) return cached.path;
  if (hub.offline)
    throw new MosError(
      "not_found",
      `${model} is not in the cache ${hub.cacheFolder}, and the network is switched off`,
    );
  for await (const event of pull(model, { ...hub, ...(signal === undefined ? {} : { signal }) })) {
    if (event.type === "done") return event.model.path;
    yield event;
  }
  throw new MosError("network", `${model} could not be downloaded`);
}

/** The folder or file of a model, downloaded if it has to be. Throws as `locateModel`. */
export async function locatedPath(model: string, options: LocateOptions): Promise<string> {
  return await returned(locateModel(model, options));
}

/** What a generator returns, whatever it gives until then. */
export async function returned<T>(events: AsyncGenerator<unknown, T>): Promise<T> {
  let step = await events.next();
  while (step.done !== true) step = await events.next();
  return step.value;
}

/**
 * Loads a Llama-type model from a Hugging Face folder, a GGUF file, or `org/name` of the hub.
 * Throws `not_found`, `bad_model`, `unsupported`, and what a download throws.
 *
 * @example
 * const base = await loadModel("assets/tiny-english");
 */
export async function loadModel(model: string, options: LoadOptions = {}): Promise<BaseModel> {
  const { signal, onProgress, baseDtype = "stored", compute = "float32", transposedCodes = false } = options;
  const loaded = await loadWeights(await locatedPath(model, options), {
    ...{ baseDtype, compute, transposedCodes },
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  const text = await loadModelText(loaded.source);
  return { model: loaded, text };
}

/**
 * The tokenizer and chat template of a model folder or GGUF file; its weights are not read.
 *
 * @throws MosError `not_found`, `bad_model`, `unsupported`.
 * @example
 * const { tokenizer } = await loadText("assets/tiny-english");
 */
export async function loadText(path: string): Promise<LoadedText> {
  await using files = await openModel(path);
  return await loadModelText(files.source);
}
