import { MosError } from "#core";
import { type LoadedText, type LoadTextOptions, loadTextFromFolder, textFromGguf } from "#text";
import type { ModelSource } from "./load.ts";

/** The tokenizer and chat template beside a model's weights. Throws `bad_model`, `unsupported`, naming the file. */
export async function loadModelText(source: ModelSource, options: LoadTextOptions = {}): Promise<LoadedText> {
  if (source.kind === "folder") return loadTextFromFolder(source.folder, options);
  const { path, metadata } = source.file;
  try {
    return textFromGguf(metadata, options);
  } catch (cause) {
    if (!(cause instanceof MosError)) throw cause;
    throw new MosError(cause.code, cause.message.replace(/^GGUF:/, `${path}:`), { cause });
  }
}
