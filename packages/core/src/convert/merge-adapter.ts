import { z } from "zod";
import { type Adapter, checkBase, loadAdapter, readAdapterBase, type TrainedOn } from "#adapters";
import { bytes, checkCall, kinds, MosError, parseSettings, pick, setting } from "#common";
import {
  assertSpace,
  listFolder,
  openAtomicFolder,
  openSafetensorsWriter,
  type PlannedTensor,
  pathExists,
  readJson,
  storageFailure,
  writeFileAtomic,
} from "#files";
import {
  computeIdentity,
  configText,
  type DownloadEvent,
  type FingerprintProgress,
  fingerprintSteps,
  huggingFaceConfig,
  isMatrix,
  type LoadProgress,
  type LocateOptions,
  locateModel,
  type ModelFiles,
  openModel,
  storedShapes,
  toBaseShapes,
  weightShapes,
} from "#models";
import { basename, copyFile, dirname, join } from "#platform";
import { tokenizerFilesFromGguf } from "#text";
import { checkName } from "./export-import.ts";
import {
  bytesPerNumber,
  checkRange,
  FILE_DTYPES,
  type FileDtype,
  STORED,
  type StoredDtype,
} from "./file-dtype.ts";
import { writeMergedGguf } from "./merge-gguf.ts";
import {
  assertGoesOn,
  assertStillFree,
  mergedParts,
  targetsByTensor,
  weightsByTensor,
} from "./merged-weights.ts";
import { modelfilePath, writeModelfile } from "./modelfile.ts";

/** Bytes of a file of weights at most, as Hugging Face's libraries have it; a tensor may be larger on its own. */
const DEFAULT_SHARD_SIZE = 5e9;

/** Settings of a merge. */
export const mergeSettings = {
  dtype: setting(z.enum(FILE_DTYPES), {
    placeholder: "type",
    defaultText: "the base's; for a .gguf base bfloat16 if its matrices are, else float16",
    help: "data type of the written weights",
  }),
  shardSize: setting(bytes(1), {
    default: DEFAULT_SHARD_SIZE,
    defaultText: "5GB",
    help: "maximum size of a weight file; larger models are split",
  }),
};

/** Options of a merge. @inline */
export interface MergeOptions extends LocateOptions {
  /** The base: a Hugging Face folder, a GGUF file or org/name of the hub. */
  readonly model: string;
  /** The adapter's folder. */
  readonly adapter: string;
  /** The folder to be written, or a file whose name ends in .gguf; it must not exist yet. */
  readonly out: string;
  /** Type of the stored weights; by default the base's, and for a GGUF base bfloat16 where its matrices are, else float16. */
  readonly dtype?: FileDtype | undefined;
  /** Maximum bytes of a file (5 GB). */
  readonly shardSize?: number | undefined;
}

/** Event of a merge. @inline */
export type MergeEvent =
  | DownloadEvent
  | ({ readonly type: "plan"; readonly out: string } & MergePlan)
  /** The base is read once to see that it is the adapter's. */
  | ({ readonly type: "checking" } & FingerprintProgress)
  /** The adapter was trained on another quantisation of the base. */
  | { readonly type: "trainedOn"; readonly base: TrainedOn }
  | ({ readonly type: "writing" } & LoadProgress)
  | {
      readonly type: "finish";
      readonly out: string;
      readonly files: readonly string[];
      readonly bytes: number;
      readonly dtype: FileDtype;
      /** Block types of the base, such as Q4_1, whose weights were written as `dtype`. */
      readonly replaced?: readonly string[];
      /** Path of the Modelfile beside a GGUF file. */
      readonly modelfile?: string;
      /** Folders above `out` that were made for it, the topmost first. */
      readonly made?: readonly string[];
    };

/**
 * Writes base + adapter as a model that needs no adapter any more: a Hugging Face folder or, of a GGUF base, a file whose name
 * ends in .gguf. One weight at a time is in memory.
 * Throws `bad_option` for a folder that exists, `bad_adapter` for an adapter of another base, `storage`, `cancelled`.
 *
 * @example
 * const options = { model: "assets/tiny-english", adapter: "adapters/acme", out: "models/acme" };
 * for await (const event of mergeAdapter(options)) if (event.type === "finish") console.log(event.files);
 */
export async function* mergeAdapter(options: MergeOptions): AsyncGenerator<MergeEvent, void> {
  checkCall<MergeOptions>("mergeAdapter", options, {
    ...mergeSettings,
    model: z.string(),
    adapter: z.string(),
    out: z.string(),
    hub: kinds.object.optional(),
    signal: kinds.object.optional(),
  });
  const { dtype, shardSize } = parseSettings(mergeSettings, pick(mergeSettings, options));
  const { model: given, adapter: folder, out, signal } = options;
  checkName(out);
  const isFile = out.toLowerCase().endsWith(".gguf");
  await assertFree(isFile ? [out, modelfilePath(out)] : [out]);
  await using model = await openModel(yield* locateModel(given, options));
  if (isFile && model.source.kind !== "gguf")
    throw new MosError(
      "bad_option",
      `${out}: a GGUF file is merged of a GGUF base; merge into a folder, and convert that with llama.cpp's convert_hf_to_gguf.py`,
    );
  const base = await readAdapterBase(folder);
  const adapter = await loadAdapter(folder, {
    shapes: toBaseShapes(model),
    fingerprint: undefined, // is compared below, as that takes a while
  });
  const plan = planMerge(model, { dtype, shardSize: isFile ? Number.POSITIVE_INFINITY : shardSize });
  yield { type: "plan", out, ...plan };
  if (base.fingerprint !== undefined) {
    const steps = fingerprintSteps(model, { signal });
    let step = await steps.next();
    for (; step.done !== true; step = await steps.next()) yield { type: "checking", ...step.value };
    const marks = { fingerprint: step.value, identity: await computeIdentity(model) };
    const trainedOn = checkBase(folder, base, marks);
    if (trainedOn !== undefined) yield { type: "trainedOn", base: trainedOn };
  }
  const made = await missingAbove(out);
  const { dtype: written, replaced } = plan;
  const writing = isFile
    ? writeMergedGguf(out, { model, adapter, dtype: written, signal })
    : writeMerged(out, { model, adapter, plan, signal });
  let size = 0;
  for await (const progress of writing) {
    yield { type: "writing", ...progress };
    size = progress.totalBytes;
  }
  const place = isFile
    ? { files: [basename(out)], modelfile: await writeModelfile(out, { model: model.path, kind: "model" }) }
    : { files: plan.shards.map(({ file }) => file) };
  const said = { ...(replaced.length === 0 ? {} : { replaced }), ...(made.length === 0 ? {} : { made }) };
  yield { type: "finish", out, ...place, bytes: size, dtype: written, ...said };
}

/** Throws `bad_option` where a result would replace something. */
async function assertFree(paths: readonly string[]): Promise<void> {
  for (const path of paths)
    if (await pathExists(path))
      throw new MosError("bad_option", `${path} already exists; choose another name, or remove it`);
}

/** Folders above a path that are not there, the topmost first. */
async function missingAbove(path: string): Promise<readonly string[]> {
  const above = dirname(path);
  return (await pathExists(above)) ? [] : [...(await missingAbove(above)), above];
}

// Base + adapter as a Hugging Face folder.

/** Files of a folder that are copied to the merged model. Weights and code are not among them. */
const COPIED =
  /^(generation_config\.json|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|tokenizer\.model|vocab\.json|merges\.txt|chat_template\.(jinja|json)|(LICEN[SC]E|NOTICE|USE_POLICY)(\.(md|txt))?)$/;

/**
 * config.json of a folder, with another weight type; transformers 5 calls the field `dtype`. Of a model that also sees
 * the merged one is the language model alone, which has a config of its own.
 */
async function retypedConfig(model: ModelFiles, folder: string, dtype: FileDtype): Promise<object> {
  const stated = await readJson(join(folder, "config.json"), z.looseObject({}), { code: "bad_model" });
  const config = Object.hasOwn(stated, "text_config") ? huggingFaceConfig(model.config, model.path) : stated;
  return { ...config, [Object.hasOwn(config, "dtype") ? "dtype" : "torch_dtype"]: dtype };
}

async function copyFiles(from: string, into: string): Promise<void> {
  const names = await listFolder(from);
  for (const name of names.filter((found) => COPIED.test(found)).sort())
    await copyFile(join(from, name), join(into, name)).catch(storageFailure(join(into, name)));
}

/** A GGUF file's header holds all that Hugging Face keeps in files of their own. */
function ggufFiles(
  { config, path, source }: ModelFiles & { readonly source: { readonly kind: "gguf" } },
  dtype: FileDtype,
): Readonly<Record<string, unknown>> {
  const { tokenizer, config: tokenizerConfig } = tokenizerFilesFromGguf(source.file.metadata);
  const fields = huggingFaceConfig(config, path);
  return {
    "config.json": { ...fields, torch_dtype: dtype },
    "generation_config.json": {
      bos_token_id: fields["bos_token_id"],
      eos_token_id: fields["eos_token_id"],
      pad_token_id: fields["pad_token_id"],
    },
    "tokenizer.json": tokenizer,
    "tokenizer_config.json": { ...Object(tokenizerConfig), model_max_length: config.maxPositions },
  };
}

/** Writes config, tokenizer and chat template into the folder of a merged model. */
async function writeMergedFiles(model: ModelFiles, plan: MergePlan, into: string): Promise<void> {
  const { source } = model;
  if (source.kind === "folder") await copyFiles(source.folder, into);
  const files =
    source.kind === "folder"
      ? { "config.json": await retypedConfig(model, source.folder, plan.dtype) }
      : ggufFiles({ ...model, source }, plan.dtype);
  for (const [name, value] of Object.entries(files))
    await writeFileAtomic(join(into, name), configText(value));
  if (plan.shards.length > 1) await writeFileAtomic(join(into, INDEX), configText(indexTensors(plan)));
}

const INDEX = "model.safetensors.index.json";

/** File of each tensor, in the order of their names. */
const indexTensors = ({ bytes, shards }: MergePlan): object => ({
  metadata: { total_size: bytes },
  weight_map: Object.fromEntries(
    shards
      .flatMap(({ file, tensors }) => tensors.map(({ name }) => [name, file] as const))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  ),
});

async function* writeShard(
  path: string,
  { tensors }: MergePlan["shards"][number],
  { model, adapter, signal }: WriteMergedOptions,
): AsyncGenerator<{ readonly name: string; readonly bytes: number }, void> {
  const targets = targetsByTensor(adapter);
  const weights = weightsByTensor(model);
  await using file = await openSafetensorsWriter(path, tensors, { format: "pt" });
  for (const tensor of tensors) {
    const { name, dtype } = tensor;
    assertGoesOn(signal);
    let numbers = 0;
    for (const weight of weights.get(name) ?? [])
      for await (const part of mergedParts(weight, { model, adapter }, targets.get(weight))) {
        checkRange(part, tensor);
        await file.write(name, part);
        numbers += part.length;
      }
    yield { name, bytes: numbers * bytesPerNumber(dtype) };
  }
  await file.commit();
}

interface WriteMergedOptions {
  readonly model: ModelFiles;
  /** Adapter of this base: the caller has compared the fingerprints. */
  readonly adapter: Adapter;
  readonly plan: MergePlan;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes the merged model as a Hugging Face folder, which appears when it is complete. Stopping the generator early, or
 * the signal, leaves nothing behind. A folder that appears under that name meanwhile is never replaced.
 *
 * @throws MosError "storage" where the disk has no room, "bad_option" for values outside the dtype's range, "cancelled".
 */
async function* writeMerged(folder: string, options: WriteMergedOptions): AsyncGenerator<LoadProgress, void> {
  const { model, plan } = options;
  await assertSpace(folder, { what: "the merged model", bytes: plan.bytes });
  await using target = await openAtomicFolder(folder);
  let done = 0;
  let doneBytes = 0;
  try {
    await writeMergedFiles(model, plan, target.path);
    for (const shard of plan.shards)
      for await (const written of writeShard(join(target.path, shard.file), shard, options)) {
        done++;
        doneBytes += written.bytes;
        yield { done, total: plan.tensors, doneBytes, totalBytes: plan.bytes, name: written.name };
      }
  } catch (error) {
    throw target.explain(error);
  }
  await assertStillFree(folder);
  await target.commit();
}

// The plan of a merged model: its tensors, their types, and the file of each.

type Planned = PlannedTensor & { readonly dtype: StoredDtype };

/** Everything about the files of a merged model except their data. */
type MergePlan = ReturnType<typeof planMerge>;

const countBytes = ({ shape, dtype }: Planned): number =>
  shape.reduce((product, size) => product * size, bytesPerNumber(dtype));

const total = (tensors: readonly Planned[]): number =>
  tensors.reduce((sum, tensor) => sum + countBytes(tensor), 0);

/** In the order of the forward pass, as many in a file as fit. */
function fillShards(tensors: readonly Planned[], shardSize: number): readonly (readonly Planned[])[] {
  const shards: Planned[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const bytes = countBytes(tensor);
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = shardSize;
    }
    shards.at(-1)?.push(tensor);
    room -= bytes;
  }
  return shards;
}

function mostUsed(tensors: readonly Planned[]): FileDtype {
  const countNumbers = (dtype: FileDtype): number =>
    total(tensors.filter((tensor) => tensor.dtype === STORED[dtype])) / bytesPerNumber(STORED[dtype]);
  return FILE_DTYPES.reduce((most, dtype) => (countNumbers(dtype) > countNumbers(most) ? dtype : most));
}

/**
 * Plans the files of a merged model, with Hugging Face's names: model.safetensors, or model-00001-of-0000N.safetensors
 * where it is larger than one file may be. Throws `unsupported` for a base whose weights are stored in another way.
 */
export function planMerge(
  { config, source, storedRows }: Pick<ModelFiles, "config" | "source" | "storedRows">,
  { dtype, shardSize = DEFAULT_SHARD_SIZE }: Pick<MergeOptions, "dtype" | "shardSize"> = {},
) {
  const matrices = [...weightShapes(config)].filter(([, shape]) => isMatrix(shape));
  const types = new Set(source.kind === "gguf" ? matrices.map(([name]) => storedRows(name).type) : []);
  const chooseDtype = (name: string): StoredDtype => {
    if (dtype !== undefined) return STORED[dtype];
    // a folder's weights have one of these types, or cannot be read
    if (source.kind === "folder") return storedRows(name).type as StoredDtype;
    return types.size === 1 && types.has("BF16") ? "BF16" : "F16";
  };
  const tensors = [...storedShapes(config)].map(([name, shape]) => ({
    name,
    shape,
    dtype: chooseDtype(name),
  }));
  const parts = fillShards(tensors, shardSize);
  const number = (value: number): string => String(value).padStart(5, "0");
  const shards = parts.map((part, i) => ({
    file: `model${parts.length === 1 ? "" : `-${number(i + 1)}-of-${number(parts.length)}`}.safetensors`,
    // four-byte tensors first, so that all stand aligned
    tensors: [...part.filter((tensor) => tensor.dtype === "F32"), ...part.filter((t) => t.dtype !== "F32")],
    bytes: total(part),
  }));
  const replaced = [...types].filter((type) => !Object.values<string>(STORED).includes(type)).sort();
  return {
    shards,
    bytes: total(tensors),
    tensors: tensors.length,
    /** Type of most weights, as config.json states it. */
    dtype: mostUsed(tensors),
    /** Block types of the base, such as Q4_1, which cannot hold the sums: their weights become `dtype`. */
    replaced,
  };
}
