// Adapters that go to other programs, and LoRAs that come from them.
import { z } from "zod";
import {
  ADAPTER_FILES,
  type Adapter,
  checkBase,
  checkDecoder,
  loadAdapter,
  readAdapterBase,
  saveAdapter,
  type TrainedOn,
  UNKNOWN_TOKENS,
} from "#adapters";
import {
  checkCall,
  kinds,
  locateKinds,
  MosError,
  omitUndefined,
  parseSettings,
  pick,
  setting,
} from "#common";
import { makeFolder, openGguf, pathExists, storageFailure } from "#files";
import type { LinearName } from "#models";
import {
  computeFingerprint,
  computeIdentity,
  type LocateCalls,
  listTargets,
  locatedPath,
  type ModelFiles,
  openModel,
  toBaseShapes,
} from "#models";
import { basename, dirname, readdir, realpath, resolve, stat } from "#platform";
import { type AssembledLora, toLora } from "./assemble-lora.ts";
import { FILE_DTYPES, type FileDtype } from "./file-dtype.ts";
import { modelfilePath, writeModelfile } from "./modelfile.ts";
import { IMPORT_SOURCES, type ImportSource, readLora } from "./read-lora.ts";
import { type WrittenLora, writeGgufLora, writePeft } from "./write-lora.ts";

/** Formats of `exportAdapter`. */
const EXPORT_FORMATS = ["peft", "gguf"] as const;
/** `peft`: a folder for Hugging Face PEFT, vLLM and others; `gguf`: a file for llama.cpp. @inline */
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** Settings of an export. */
export const exportSettings = {
  format: setting(z.enum(EXPORT_FORMATS), {
    required: true,
    help: "output format: peft writes a folder, gguf a single file",
  }),
  dtype: setting(z.enum(FILE_DTYPES), { default: "float32", help: "data type of the written weights" }),
  maxRank: setting(z.int().min(1).max(65_536), {
    placeholder: "n",
    defaultText: "the adapter's",
    help: "largest rank to write; a higher one is lowered by singular value decomposition",
  }),
  baseName: setting(z.string(), {
    placeholder: "name",
    defaultText: "the name in the adapter",
    help: "base_model_name_or_path to write: the name by which the other program finds the base",
  }),
};

/** Settings of an import. */
export const importSettings = {
  from: setting(z.enum(IMPORT_SOURCES), {
    default: "peft",
    placeholder: "who",
    help: "what is imported: a folder of peft or mos-official, or a gguf file",
  }),
};

const exchangeKinds = {
  ...locateKinds,
  model: z.string(),
  out: z.string(),
  overwrite: z.boolean().optional(),
  onProgress: kinds.function.optional(),
} as const;

interface ExchangeOptions extends LocateCalls {
  /** A model folder, a GGUF file or org/name of the hub: the base of the adapter. Its weights are read one at a time. */
  readonly model: string;
  /** Path of the result: a folder, or a file for GGUF. */
  readonly out: string;
  /** Replace what is there, if it is such a result. */
  readonly overwrite?: boolean | undefined;
  /** Progress of hashing the base's weights. */
  readonly onProgress?: ((progress: { readonly done: number; readonly total: number }) => void) | undefined;
}

/** Options of an export. @inline */
export interface ExportOptions extends ExchangeOptions {
  /** An adapter's folder. */
  readonly adapter: string;
  readonly format: ExportFormat;
  /** Type of the stored values (float32, which is lossless). */
  readonly dtype?: FileDtype | undefined;
  /**
   * The largest rank of the result, for servers with a limit. Layers of a higher one get the nearest factors of this rank,
   * and the summary tells what is lost by that.
   */
  readonly maxRank?: number | undefined;
  /** Name of the base in the result; the adapter's name for it by default. */
  readonly baseName?: string | undefined;
  /** Skips reading the base's weights, because the adapter is known to be of this base. */
  readonly isBaseKnown?: boolean | undefined;
  /** Writes a Modelfile beside a GGUF file, for which the tokenizer is loaded (true). */
  readonly withModelfile?: boolean | undefined;
}

/** The plain LoRA that was written. @inline */
export interface LoraSummary {
  readonly out: string;
  readonly rank: number;
  readonly alpha: number;
  readonly targets: readonly LinearName[];
  /** Linear layers that have factors. */
  readonly layers: number;
  readonly baseName: string;
  /** Set if the adapter was trained on another quantisation of `model`. */
  readonly trainedOn?: TrainedOn;
}

export interface ExportSummary extends LoraSummary, Pick<WrittenLora, "lowered"> {
  readonly format: ExportFormat;
  readonly dtype: FileDtype;
  /** The method that the adapter was trained with. */
  readonly method: Adapter["config"]["method"];
  /** Path of the Modelfile beside a GGUF file. */
  readonly modelfile?: string;
}

/** Options of an import. @inline */
export interface ImportOptions extends ExchangeOptions {
  /** The folder that PEFT or the authors' code saved, or a LoRA in a GGUF file. */
  readonly folder: string;
  /** "peft" by default. */
  readonly from?: ImportSource | undefined;
}

/** The adapter that was made of a LoRA. @inline */
export interface ImportSummary extends LoraSummary, Pick<AssembledLora, "padded" | "folded" | "absent"> {
  readonly from: ImportSource;
}

/**
 * Writes any adapter as a plain LoRA for other programs. Every method of this package expands exactly; `float16`,
 * `bfloat16` and a `maxRank` below the adapter's round.
 *
 * @throws MosError "bad_option" for a place that is taken, and what loading the adapter and the base throws.
 * @example
 * await exportAdapter({ adapter: "adapters/acme", model: "models/llama", format: "peft", out: "acme-peft" });
 */
export async function exportAdapter(options: ExportOptions): Promise<ExportSummary> {
  checkCall<ExportOptions>("exportAdapter", options, {
    ...exportSettings,
    ...exchangeKinds,
    adapter: z.string(),
    isBaseKnown: z.boolean().optional(),
    withModelfile: z.boolean().optional(),
  });
  const { format, dtype, maxRank } = parseSettings(exportSettings, pick(exportSettings, options));
  const { adapter: folder, model: source, out, overwrite = false } = options;
  const target = { overwrite, sources: [folder, source] };
  await (format === "peft" ? checkFolderTarget : checkFileTarget)(out, target);
  const { withModelfile = true } = options;
  if (format === "gguf" && withModelfile && !overwrite && (await pathExists(modelfilePath(out))))
    refuse(`${modelfilePath(out)} already exists; add --overwrite to replace it`);
  const base = await readAdapterBase(folder);
  await using model = await openModel(await locatedPath(source, options));
  const adapter = await loadAdapter(folder, {
    shapes: toBaseShapes(model),
    fingerprint: undefined, // is compared below, as that takes a while
  });
  const isCompared = base.fingerprint !== undefined && options.isBaseKnown !== true;
  const trainedOn = isCompared ? checkBase(folder, base, await identifyBase(model, options)) : undefined;
  const baseName = options.baseName ?? base.name ?? model.name;
  const lora = await toLora(adapter);
  const { config, modulePrefix } = model;
  const written = { dtype, maxRank, model: config };
  const { method } = adapter.config;
  const summary = { ...summarize(lora, { out, baseName, trainedOn }), format, dtype, method };
  const revision = cachedRevision(model.path, baseName);
  if (format === "peft")
    return { ...summary, ...(await writePeft(out, lora, { ...written, modulePrefix, baseName, revision })) };
  await makeFolder(dirname(out));
  const done = { ...summary, ...(await writeGgufLora(out, lora, written)) };
  if (!withModelfile) return done;
  return { ...done, modelfile: await writeModelfile(out, { model: model.path, kind: "adapter" }) };
}

/**
 * Reads a LoRA that another program saved, and saves it as an adapter of this package, bound to its base by the base's
 * parameters. Lower ranks of single layers are padded with zeros, and other scales are multiplied into B: the summary
 * names the layers.
 *
 * @throws MosError "bad_option" for a place that is taken; "not_found", "bad_adapter"; "unsupported" by name for what is
 * no plain LoRA.
 * @example
 * await importAdapter({ folder: "peft-lora", model: "models/llama", out: "adapters/acme" });
 */
export async function importAdapter(options: ImportOptions): Promise<ImportSummary> {
  checkCall<ImportOptions>("importAdapter", options, {
    ...importSettings,
    ...exchangeKinds,
    folder: z.string(),
  });
  const { from } = parseSettings(importSettings, pick(importSettings, options));
  const { folder, model: source, out, overwrite = false } = options;
  await checkFolderTarget(out, { overwrite, sources: [folder, source] });
  await using model = await openModel(await locatedPath(source, options));
  const lora = await readLora(folder, { model: model.config, from });
  const marks = await identifyBase(model, options);
  const trainedOn = checkBase(folder, lora.base, marks);
  checkDecoder(folder, lora.base, lora.adapter.shapes.decoder);
  const baseName = lora.base.name ?? model.name;
  await saveAdapter(out, lora.adapter, { base: { name: baseName, ...marks, tokens: UNKNOWN_TOKENS } });
  const { padded, folded, absent } = lora;
  return { ...summarize(lora, { out, baseName, trainedOn }), from, padded, folded, absent };
}

function summarize(
  { adapter, alpha, absent }: AssembledLora,
  { trainedOn, ...names }: { out: string; baseName: string; trainedOn: TrainedOn | undefined },
): LoraSummary {
  const { rank, targets } = adapter.config;
  const layers = listTargets(adapter.shapes, targets).length - absent.length;
  return { ...names, rank, alpha, targets, layers, ...omitUndefined({ trainedOn }) };
}

/** The commit of a base in the Hub's cache, where the cached repository is the one that is named. */
function cachedRevision(path: string, baseName: string): string | null {
  const [, repository, commit] =
    /[\\/]models--([^\\/]+)[\\/]snapshots[\\/]([0-9a-f]{40})(?=[\\/]|$)/.exec(path) ?? [];
  return commit !== undefined && repository === baseName.replaceAll("/", "--") ? commit : null;
}

/** Identity of a base. Its weights are read one at a time. */
const identifyBase = async (model: ModelFiles, options: ExchangeOptions) => ({
  fingerprint: await computeFingerprint(model, options),
  identity: await computeIdentity(model),
});

interface TargetOptions {
  readonly overwrite: boolean;
  /** Paths of the sources, which the result must not replace. */
  readonly sources: readonly string[];
}

const realPath = (path: string): Promise<string> => realpath(path).catch(() => resolve(path));
const refuse = (message: string): never => {
  throw new MosError("bad_option", message);
};

/** Refuses a path that no file or folder can be moved to: nothing, ".", "..", "/". Throws `bad_option`. */
export function checkName(path: string): void {
  if (["", ".", ".."].includes(basename(path)))
    refuse(`${JSON.stringify(path)} cannot be an output; name a file or folder`);
}

/** Refuses an output without a name, and one that is an input. Throws `bad_option`. */
async function checkPlace(path: string, sources: readonly string[]): Promise<void> {
  checkName(path);
  const own = await realPath(path);
  for (const source of sources)
    if ((await realPath(source)) === own) refuse(`${path} is the input; choose another output`);
}

const detectPathKind = async (path: string): Promise<"folder" | "file" | undefined> => {
  const found = await stat(path).catch(() => undefined);
  return found === undefined ? undefined : found.isDirectory() ? "folder" : "file";
};

/** Tests whether a file is an adapter in GGUF, as export writes it. */
async function isGgufLora(path: string): Promise<boolean> {
  try {
    await using file = await openGguf(path);
    return file.metadata["general.type"] === "adapter";
  } catch (error) {
    if (error instanceof MosError) return false;
    throw error;
  }
}

/** Refuses to write a GGUF file over anything without `overwrite`, and over other files in any case. Throws `bad_option`. */
async function checkFileTarget(path: string, { overwrite, sources }: TargetOptions): Promise<void> {
  await checkPlace(path, sources);
  const kind = await detectPathKind(path);
  if (kind === "folder") refuse(`${path} is a folder; name a file`);
  if (kind !== "file") return;
  if (!(await isGgufLora(path)))
    refuse(`${path} is not an adapter in GGUF and would be lost; choose another name`);
  if (!overwrite) refuse(`${path} already exists; add --overwrite to replace it`);
}

/** Refuses to write an adapter's folder over anything without `overwrite`, and over other files in any case. Throws `bad_option`. */
export async function checkFolderTarget(path: string, { overwrite, sources }: TargetOptions): Promise<void> {
  await checkPlace(path, sources);
  const kind = await detectPathKind(path);
  if (kind === undefined) return;
  if (kind === "file") refuse(`${path} is a file; name a folder`);
  const names = await readdir(path).catch(storageFailure(path));
  const foreign = names.find((name) => !ADAPTER_FILES.includes(name));
  if (foreign !== undefined)
    refuse(
      `${path} holds ${foreign}, which is not part of an adapter and would be lost; choose another folder`,
    );
  if (names.length > 0 && !overwrite)
    refuse(`${path} already holds an adapter; add --overwrite to replace it`);
}
