// A path → a model in memory. model-folder.ts and gguf-model.ts know the two kinds of files; weights.ts knows what must be in them.
import { z } from "zod";
import {
  checkCall,
  flag,
  kinds,
  locateKinds,
  MosError,
  parseSettings,
  pick,
  setting,
  withProgress,
} from "#common";
import {
  blockFormats,
  closeOnFailure,
  fileBytes,
  type GgufMetadata,
  listFolder,
  openGguf,
  pathExists,
  readableType,
  readJson,
  type StoredType,
  storageFailure,
} from "#files";
import { basename, join, resolve, stat } from "#platform";
import { type LoadedText, type LoadTextOptions, loadTextFromFolder, textFromGguf } from "#text";
import {
  type BaseDtype,
  type BaseFormats,
  baseDtype,
  COMPUTE_DTYPES,
  type ComputeDtype,
  defaultComputeDtype,
  hasTransposedCodes,
} from "./base-dtype.ts";
import type { ModelConfig } from "./config.ts";
import { parseHuggingFaceConfig } from "./config-json.ts";
import { ggufName, ggufPlace, ggufShapes, ggufValue, parseGgufConfig } from "./gguf-model.ts";
import { columnOrder, rowOrder } from "./gguf-order.ts";
import { type LocateCalls, locatedPath } from "./locate-model.ts";
import { openFolderWeights, readFolderConfig } from "./model-folder.ts";
import {
  baseFormats,
  type LoadProgress,
  readNumbers,
  readParts,
  readWeights,
  type StoredRows,
} from "./read-weights.ts";
import type { Weight } from "./weight.ts";
import { checkShapes, parameterCount, storedOffset, storedPlace, weightShapes } from "./weights.ts";

/** Origin of a model; its tokenizer is there too. */
type ModelSource =
  | { readonly kind: "folder"; readonly folder: string }
  | { readonly kind: "gguf"; readonly file: { readonly path: string; readonly metadata: GgufMetadata } };

/** An open model whose header was checked; weights are read one at a time. */
export interface ModelFiles extends AsyncDisposable {
  /** Name of the folder, of the repository in the hub's cache, or of the GGUF file without its ending. */
  readonly name: string;
  readonly path: string;
  /** The files that hold its weights. */
  readonly weightFiles: readonly string[];
  readonly config: ModelConfig;
  /** Prefix of its linear layers' names in transformers; `model.language_model.` in a folder of a vision model. */
  readonly modulePrefix: string;
  readonly source: ModelSource;
  /** One weight by its Hugging Face name; linear layers are [out, in]. */
  readWeight(name: string): Promise<Float32Array>;
  /** A norm's gains as a Hugging Face folder of the model states them: Gemma's are less 1 there. */
  readStatedGains(name: string): Promise<Float32Array>;
  /** Stored rows of a weight, and its bytes. Throws `unsupported` for a type that cannot be read. */
  storedRows(name: string): StoredRows;
  /** The same in parts of whole rows, so that a large embedding is never in memory as a whole. */
  readWeightParts(name: string): AsyncIterable<Float32Array>;
}

/** A model in memory. Without a tied head the weights include lm_head.weight, with one they do not. */
export interface LoadedModel {
  readonly name: string;
  readonly path: string;
  readonly config: ModelConfig;
  readonly weights: ReadonlyMap<string, Weight>;
  /** Differs between models of which any weight differs. */
  readonly fingerprint: string;
  /** Equal in all quantisations of a model; undefined if its norms identify no model, as before any training. */
  readonly identity: string | undefined;
  readonly source: ModelSource;
}

/** Place of what is kept beside a model: in its folder, or in one that is named after its file. */
export const folderBeside = ({ source, path }: Pick<ModelFiles, "source" | "path">): string =>
  source.kind === "folder" ? join(path, ".mos") : `${path}.mos`;

/** Stored weights of one kind of files, by their Hugging Face names. */
interface StoredWeights extends AsyncDisposable {
  readonly type: (name: string) => StoredType;
  readonly value: (name: string) => StoredRows["value"];
  readonly order: (name: string) => StoredRows["order"];
  readonly columns: (name: string) => StoredRows["columns"];
  /** Its first row in the tensor that holds it. */
  readonly row: (name: string) => number;
  /** Where the tensor begins that holds a weight. */
  readonly place: (name: string) => StoredRows["place"];
  /** Fills `target` with bytes of the tensor that holds a weight. */
  readonly readInto: (name: string, target: Uint8Array, begin: number) => Promise<void>;
}

/** Everything about an open model but its weights. */
type ModelFacts = Omit<
  ModelFiles,
  "readWeight" | "readWeightParts" | "readStatedGains" | "storedRows" | typeof Symbol.asyncDispose
>;

/** The sum with a number. */
const plus =
  (offset: number): StoredRows["value"] =>
  (value) =>
    value + offset;

function modelFiles(facts: ModelFacts, stored: StoredWeights): ModelFiles {
  const { config } = facts;
  const shapes = weightShapes(config);
  const storedRows = (name: string): StoredRows => {
    const [type, order] = [stored.type(name), stored.order(name)];
    const shape = shapes.get(name) ?? [];
    const width = shape.at(-1) ?? 1;
    const row = stored.row(name);
    const before = fileBytes(type, shape.length > 1 ? row * width : row);
    const { path, begin: start } = stored.place(name);
    return {
      type,
      shape,
      order,
      width: shape.length === 1 && order !== undefined ? 1 : width,
      value: stored.value(name),
      columns: stored.columns(name),
      place: { path, begin: start + before },
      readInto: (target, begin) => stored.readInto(name, target, before + begin),
    };
  };
  return {
    ...facts,
    storedRows,
    readWeight: (name) => readNumbers(storedRows(name)),
    readWeightParts: (name) => readParts(storedRows(name)),
    readStatedGains(name) {
      const rows = storedRows(name);
      // where the file states them less 1, they are what it states
      const value = rows.value === undefined ? plus(-storedOffset(config, name)) : undefined;
      return readNumbers({ ...rows, value });
    },
    [Symbol.asyncDispose]: () => stored[Symbol.asyncDispose](),
  };
}

async function openFolder(folder: string): Promise<ModelFiles> {
  const { config: stated, modulePrefix } = await readFolderConfig(folder);
  return closeOnFailure(await openFolderWeights(folder), (weights) => {
    const config = weights.isHeadless ? { ...stated, tiedHead: true } : stated;
    checkShapes(weights.shapes, { config, where: folder });
    const place = (name: string): string => storedPlace(config, name).name;
    const facts: ModelFacts = {
      name: folderName(resolve(folder)),
      path: folder,
      weightFiles: weights.paths,
      config,
      modulePrefix,
      source: { kind: "folder", folder },
    };
    return modelFiles(facts, {
      type: (name) => weights.dtype(place(name)),
      value: (name) => (storedOffset(config, name) === 0 ? undefined : plus(storedOffset(config, name))),
      order: () => undefined,
      columns: () => undefined,
      row: (name) => storedPlace(config, name).row,
      place: (name) => weights.place(place(name)),
      readInto: (name, target, begin) => weights.readInto(place(name), target, begin),
      [Symbol.asyncDispose]: () => weights[Symbol.asyncDispose](),
    });
  });
}

const openGgufModel = async (path: string): Promise<ModelFiles> =>
  closeOnFailure(await openGguf(path), async (file) => {
    const config = await parseGgufConfig(file);
    checkShapes(ggufShapes(file, config), { config, where: path, find: ggufPlace });
    const facts: ModelFacts = {
      name: basename(path).replace(/\.gguf$/i, ""),
      path,
      weightFiles: [path],
      config,
      modulePrefix: "model.",
      source: { kind: "gguf", file: { path, metadata: file.metadata } },
    };
    return modelFiles(facts, {
      type(name) {
        const stored = ggufName(config, name);
        const { type = "missing", shape = [] } = file.tensors.get(stored) ?? {};
        const where = `${path}: tensor "${stored}"`;
        const known = readableType(type, where);
        const isVector = shape.length === 1 && rowOrder(config, name) !== undefined;
        if (isVector && blockFormats[known].blockSize > 1)
          throw new MosError(
            "unsupported",
            `${where} is a vector in blocks of ${type}, whose numbers are in another order; store it as F32`,
          );
        return known;
      },
      value: (name) => ggufValue(config, name),
      order: (name) => rowOrder(config, name),
      columns: (name) => columnOrder(config, name),
      row: (name) => ggufPlace(config, name).row,
      place: (name) => ({ path, begin: file.tensors.get(ggufName(config, name))?.offset ?? 0 }),
      readInto: (name, target, begin) => file.readInto(ggufName(config, name), target, begin),
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    });
  });

/** In the hub's cache the folder of a model is called by a commit, and one above it by the repository. */
const folderName = (folder: string): string =>
  /(?:^|[/\\])models--([^/\\]+)[/\\]snapshots[/\\][0-9a-f]{40}$/.exec(folder)?.[1]?.split("--").at(-1) ??
  basename(folder);

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
  const found = await stat(path).catch(storageFailure(path));
  if (found.isDirectory())
    return (await pathExists(join(path, "config.json")))
      ? openFolder(path)
      : openGgufModel(await onlyGguf(path));
  if (path.endsWith(".safetensors"))
    throw new MosError("bad_option", `${path}: give the folder that holds config.json and this file`);
  return openGgufModel(path);
}

/** The tokenizer and chat template beside a model's weights. Throws `bad_model`, `unsupported`, naming the file. */
export async function loadModelText(source: ModelSource, options: LoadTextOptions = {}): Promise<LoadedText> {
  if (source.kind === "folder") return loadTextFromFolder(source.folder, options);
  const { path, metadata } = source.file;
  try {
    return textFromGguf(metadata, options);
  } catch (cause) {
    if (!(cause instanceof MosError)) throw cause;
    // a GGUF file's tokenizer is read as if it were a tokenizer.json
    const message = cause.message
      .replace(/^GGUF:/, `${path}:`)
      .replace(/^tokenizer\.json:?/, `${path}: tokenizer:`);
    throw new MosError(cause.code, message, { cause });
  }
}

/** A base model in memory, with its tokenizer and chat template. */
export interface BaseModel {
  readonly model: LoadedModel;
  readonly text: LoadedText;
}

/** Options of finding and loading a model. @inline */
export interface LoadOptions extends LocateCalls, Partial<Omit<BaseFormats, "computeDtype">> {
  /**
   * "float32" without it. "int8": linear layers are kept as int8 rows, whose products are computed in int8. "auto": the default
   * of training, but int8 only for less than 2 billion parameters, since larger ones in 4 bits would take twice the memory;
   * `transposedCodes` are kept as training keeps them.
   */
  readonly computeDtype?: ComputeDtype | "auto" | undefined;
  /** Called after each part of a weight that was read. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

const formatSettings = {
  baseDtype,
  computeDtype: setting(z.enum([...COMPUTE_DTYPES, "auto"]), {
    help: "data type of products with the weights",
  }),
  transposedCodes: flag({ help: "store a transposed copy of the codes of int8 rows" }),
  tableInFile: flag({ help: "leave the embeddings of each layer in the file" }),
};

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
  checkCall<LoadOptions>("loadModel", options, {
    ...formatSettings,
    ...locateKinds,
    onProgress: kinds.function.optional(),
  });
  parseSettings(formatSettings, pick(formatSettings, options));
  const loaded = await loadBase(model, options);
  return { model: loaded, text: await loadModelText(loaded.source) };
}

function autoDtype(files: ModelFiles, baseDtype: BaseDtype): ComputeDtype {
  if (parameterCount(files.config) >= 2e9) return "float32";
  return defaultComputeDtype(
    baseFormats(files, { baseDtype, computeDtype: "float32", transposedCodes: false }),
  );
}

/**
 * Loads the weights of a model without its text, in the format that `baseDtype` names (as they are stored). Every expected
 * weight must be there, have its exact shape, and be finite. While it loads, memory holds what is loaded and a few
 * megabytes.
 *
 * @throws MosError as `loadModel`, and "unsupported" where a weight cannot be kept in that format.
 * @example
 * const model = await loadBase("SmolLM2-135M-Instruct.gguf", { baseDtype: "stored" });
 * const weight = model.weights.get("model.layers.0.self_attn.q_proj.weight");
 * weight?.shape; // [576, 576]
 * weight?.format; // { kind: "blocks", bits: 4, … }
 */
export async function loadBase(model: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const { baseDtype = "stored" } = options;
  const path = await locatedPath(model, options);
  await using files = await openModel(path);
  const isAuto = options.computeDtype === "auto";
  const computeDtype = isAuto ? autoDtype(files, baseDtype) : (options.computeDtype ?? "float32");
  const { transposedCodes = isAuto && hasTransposedCodes(parameterCount(files.config)) } = options;
  const { signal, onProgress, tableInFile } = options;
  const weights = new Map<string, Weight>();
  const formats = { baseDtype, computeDtype, transposedCodes, tableInFile };
  const reading = readWeights(files, { ...formats, signal, onProgress });
  const hashes = await withProgress(reading, (weight) => weights.set(...weight));
  const { config, name, source } = files;
  return { name, path, config, weights, ...hashes, source };
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

/**
 * The config of a model folder, a config.json, a GGUF file or `org/name` of the hub. Of a folder the weights need not be
 * there, and of the hub only config.json is downloaded, unless a file is named.
 *
 * @throws MosError `not_found`, `bad_model`, `unsupported`, and what a download throws.
 */
export async function readModelConfig(model: string, options: LocateCalls = {}): Promise<ModelConfig> {
  const include = model.includes(":") ? undefined : ["config.json"];
  const path = await locatedPath(model, { ...options, include });
  const found = await stat(path);
  const file = found.isDirectory() ? join(path, "config.json") : path;
  if (file.endsWith(".json") && (await pathExists(file)))
    return parseHuggingFaceConfig(await readJson(file, z.unknown(), { code: "bad_model" }), file);
  await using files = await openModel(path);
  return files.config;
}
