import { stat } from "node:fs/promises";
import { MosError } from "#core";
import { type HubSettings, looksLikeRepository, pull, resolveCached } from "#hub";
import { type LoadedModel, loadModel as loadWeights } from "#models";
import { type LoadedText, loadTextFromFolder, textFromGguf } from "#text";

/** A base model in memory, with its tokenizer and chat template. */
export interface BaseModel {
  readonly model: LoadedModel;
  readonly text: LoadedText;
}

export interface LoadOptions {
  /** Where `org/name` is looked up and downloaded to; without it only local paths are taken. */
  readonly hub?: HubSettings | undefined;
  readonly signal?: AbortSignal | undefined;
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** The folder or GGUF file of a model: a local path as it is, `org/name` from the cache or else from the hub. */
async function locate(model: string, { hub, signal }: LoadOptions): Promise<string> {
  if (await exists(model)) return model;
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
  for await (const event of pull(model, { ...hub, ...(signal === undefined ? {} : { signal }) }))
    if (event.type === "done") return event.model.path;
  throw new MosError("network", `${model} could not be downloaded`);
}

/**
 * Loads a Llama-type model from a Hugging Face folder, a GGUF file, or `org/name` of the hub.
 * Throws `not_found`, `bad_model`, `unsupported`, and what a download throws.
 *
 * @example
 * const base = await loadModel("assets/tiny-english");
 */
export async function loadModel(model: string, options: LoadOptions = {}): Promise<BaseModel> {
  const path = await locate(model, options);
  const loaded = await loadWeights(path, options.signal === undefined ? {} : { signal: options.signal });
  const text =
    loaded.source.kind === "gguf"
      ? textFromGguf(loaded.source.file.metadata)
      : await loadTextFromFolder(loaded.source.folder);
  return { model: loaded, text };
}
