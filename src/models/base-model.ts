import type { LoadedText } from "#text";
import type { BaseFormats } from "./base-dtype.ts";
import { type LoadedModel, loadModelText, loadWeights, openModel } from "./load.ts";
import { type LocateCalls, locatedPath } from "./locate.ts";
import type { LoadProgress } from "./read-weights.ts";

/** A base model in memory, with its tokenizer and chat template. */
export interface BaseModel {
  readonly model: LoadedModel;
  readonly text: LoadedText;
}

/** Options of finding and loading a model. */
export interface LoadOptions extends LocateCalls, Partial<BaseFormats> {
  /** Called after each part of a weight that was read. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/**
 * Loads a model from a Hugging Face folder, a GGUF file, or `org/name[@revision][:file.gguf]` of the hub, which
 * is downloaded unless the cache has it.
 *
 * @throws MosError `not_found`, `bad_model`, `unsupported`, `cancelled`, and what a download throws: `network`, `storage`.
 * @example
 * const base = await loadModel("assets/tiny-english");
 * const other = await loadModel("org/name", { hub: { token: process.env.HF_TOKEN } });
 */
export async function loadModel(model: string, options: LoadOptions = {}): Promise<BaseModel> {
  const loaded = await loadBase(model, options);
  return { model: loaded, text: await loadModelText(loaded.source) };
}

/** The weights without the text, which may be loaded already. */
export async function loadBase(model: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const {
    signal,
    onProgress,
    baseDtype = "stored",
    computeDtype = "float32",
    transposedCodes = false,
  } = options;
  return await loadWeights(await locatedPath(model, options), {
    baseDtype,
    computeDtype,
    transposedCodes,
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
}

/**
 * The tokenizer and chat template of a model; its weights are not read. Throws as `loadModel`.
 *
 * @example
 * const { tokenizer } = await loadText("assets/tiny-english");
 */
export async function loadText(model: string, options: LocateCalls = {}): Promise<LoadedText> {
  await using files = await openModel(await locatedPath(model, options));
  return await loadModelText(files.source);
}
