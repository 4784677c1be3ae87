// A path → a model in memory. folder.ts and gguf.ts know the two kinds of files; weights.ts knows what must be in them.
import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { MosError } from "#core";
import { type GgufMetadata, type NumberRange, openGguf, type SafetensorsDtype } from "#formats";
import { listFolder, pathExists, storageError } from "#storage";
import { type LoadedText, type LoadTextOptions, loadTextFromFolder, textFromGguf } from "#text";
import type { LlamaConfig } from "./config.ts";
import { fingerprint, identity } from "./fingerprint.ts";
import { openFolderWeights, readFolderConfig } from "./folder.ts";
import { ggufShapes, parseGgufConfig, readGgufWeight } from "./gguf.ts";
import { floatWeight, type Weight } from "./weight.ts";
import { checkFinite, checkShapes, weightShapes } from "./weights.ts";

/** Where a model came from; the tokenizer is found there too. */
export type ModelSource =
  | { readonly kind: "folder"; readonly folder: string }
  | { readonly kind: "gguf"; readonly file: { readonly path: string; readonly metadata: GgufMetadata } };

/** An open model whose header was checked; weights are read one at a time. */
export interface ModelFiles extends AsyncDisposable {
  /** Name of the folder, or of the GGUF file without its ending. */
  readonly name: string;
  readonly path: string;
  readonly config: LlamaConfig;
  readonly source: ModelSource;
  /** How a folder stores the numbers of a weight; undefined for GGUF, whose types are its own. */
  dtypeOf(name: string): SafetensorsDtype | undefined;
  /** One weight by its Hugging Face name; linear layers are [out, in]. */
  readWeight(name: string): Promise<Float32Array>;
  /** The same in parts of whole rows, so that a large embedding is never in memory as a whole. */
  readWeightParts(name: string): AsyncIterable<Float32Array>;
}

/** A model in memory. Without a tied head the weights include lm_head.weight, with one they do not. */
export interface LoadedModel {
  readonly name: string;
  readonly path: string;
  readonly config: LlamaConfig;
  readonly weights: ReadonlyMap<string, Weight>;
  /** Differs wherever a number of a weight does. */
  readonly fingerprint: string;
  /** Equal in all quantisations of a model; undefined where its norms tell nothing, as before any training. */
  readonly identity: string | undefined;
  readonly source: ModelSource;
}

export interface LoadProgress {
  readonly done: number;
  readonly total: number;
  /** The weight that was read last. */
  readonly name: string;
}

/** How the matrices of a base are kept in memory. "stored": as the file has them. */
export type BaseDtype = "stored" | "float32" | "int8" | "int4" | "nf4";

export interface LoadModelOptions {
  /** Default: "float32". */
  readonly baseDtype?: BaseDtype;
  /** "int8": linear layers are kept as int8 rows, whose products are computed in int8. Default: "float32". */
  readonly compute?: "float32" | "int8";
  /** Whether int8 rows have a transposed copy of their codes. */
  readonly transposedCodes?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
}

/** Numbers that are read at a time, where a row has fewer. */
const PART = 1 << 24;

type ReadRange = (name: string, range?: NumberRange) => Promise<Float32Array>;

/** Reads a weight whole, or some rows at a time. */
function weightReaders(
  config: LlamaConfig,
  read: ReadRange,
): Pick<ModelFiles, "readWeight" | "readWeightParts"> {
  const shapes = weightShapes(config);
  return {
    readWeight: (name) => read(name),
    async *readWeightParts(name) {
      const shape = shapes.get(name) ?? [];
      const count = shape.reduce((product, size) => product * size, 1);
      const row = shape.at(-1) ?? 1;
      const step = Math.max(1, Math.floor(PART / row)) * row;
      for (let begin = 0; begin < count; begin += step)
        yield await read(name, { begin, end: Math.min(count, begin + step) });
    },
  };
}

async function openFolder(folder: string): Promise<ModelFiles> {
  const config = await readFolderConfig(folder);
  const weights = await openFolderWeights(folder);
  try {
    checkShapes(weights.shapes, { config, where: folder });
  } catch (error) {
    await weights[Symbol.asyncDispose]();
    throw error;
  }
  return {
    name: basename(resolve(folder)),
    path: folder,
    config,
    source: { kind: "folder", folder },
    dtypeOf: (name) => weights.dtypeOf(name),
    ...weightReaders(config, (name, range) => weights.readFloat32(name, range)),
    [Symbol.asyncDispose]: () => weights[Symbol.asyncDispose](),
  };
}

async function openGgufModel(path: string): Promise<ModelFiles> {
  const file = await openGguf(path);
  try {
    const config = await parseGgufConfig(file);
    checkShapes(ggufShapes(file, weightShapes(config).keys()), { config, where: path });
    return {
      name: basename(path).replace(/\.gguf$/i, ""),
      path,
      config,
      source: { kind: "gguf", file: { path, metadata: file.metadata } },
      dtypeOf: () => undefined,
      ...weightReaders(config, (name, range) => readGgufWeight(file, config, { name, range })),
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    };
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

/** The one GGUF file of a folder that has no config.json. */
async function onlyGguf(folder: string): Promise<string> {
  const names = await listFolder(folder);
  const found = names.filter((name) => name.toLowerCase().endsWith(".gguf")).sort();
  const [only] = found;
  if (only === undefined)
    throw new MosError(
      "not_found",
      `${folder}: there is no config.json and no .gguf file; give the folder of a model or a GGUF file`,
    );
  if (found.length > 1)
    throw new MosError("bad_option", `${folder}: several GGUF files (${found.join(", ")}); name one of them`);
  return join(folder, only);
}

/**
 * Opens a model without reading its weights: a Hugging Face folder (config.json and safetensors), a GGUF file, or a
 * folder with exactly one GGUF file. Everything that the headers state is checked.
 *
 * @throws MosError "not_found", "bad_model", "unsupported" (by name), "storage".
 */
export async function openModel(path: string): Promise<ModelFiles> {
  const found = await stat(path).catch((error: unknown) => {
    throw storageError(error, path);
  });
  if (found.isDirectory())
    return (await pathExists(join(path, "config.json")))
      ? openFolder(path)
      : openGgufModel(await onlyGguf(path));
  if (path.endsWith(".safetensors"))
    throw new MosError("bad_option", `${path}: give the folder that holds config.json and this file`);
  return openGgufModel(path);
}

/**
 * Loads a whole model as float32. Every expected weight must be there, have its exact shape, and be finite.
 *
 * @throws MosError as `openModel`, and "cancelled" when the signal fires.
 * @example
 * const model = await loadModel("SmolLM2-135M-Instruct.gguf");
 * model.weights.get("model.layers.0.self_attn.q_proj.weight")?.shape; // [576, 576]
 */
export async function loadModel(
  path: string,
  { signal, onProgress, baseDtype = "float32", compute = "float32" }: LoadModelOptions = {},
): Promise<LoadedModel> {
  if (baseDtype !== "float32" || compute !== "float32")
    throw new MosError("unsupported", `a base of ${baseDtype} computed in ${compute} cannot be loaded yet`);
  await using files = await openModel(path);
  const shapes = weightShapes(files.config);
  const weights = new Map<string, Weight>();
  for (const [name, shape] of shapes) {
    if (signal?.aborted)
      throw new MosError("cancelled", `${path}: loading was stopped`, { cause: signal.reason });
    const data = await files.readWeight(name);
    checkFinite(name, data, { where: path });
    weights.set(name, floatWeight(shape, data));
    onProgress?.({ done: weights.size, total: shapes.size, name });
  }
  const { config, name, source } = files;
  return {
    ...{ name, path, config, weights, source },
    fingerprint: fingerprint(config, weights),
    identity: identity(config, weights),
  };
}

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
