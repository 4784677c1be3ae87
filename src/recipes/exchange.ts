// Adapters that go to other programs, and LoRAs that come from them.
import { dirname } from "node:path";
import { type Adapter, checkBase, loadAdapter, readAdapterBase, saveAdapter } from "#adapters";
import { choice } from "#core";
import {
  FILE_DTYPES,
  type FileDtype,
  IMPORT_SOURCES,
  type ImportSource,
  readLora,
  toLora,
  writeGgufLora,
  writePeft,
} from "#exchange";
import { fingerprintOf, geometryOf, openModel } from "#models";
import type { LinearName } from "#nn";
import { makeFolder } from "#storage";
import { checkFileTarget, checkFolderTarget } from "./exchange-target.ts";

export const EXPORT_FORMATS = ["peft", "gguf"] as const;
/** `peft`: a folder for Hugging Face PEFT, vLLM and others; `gguf`: a file for llama.cpp. */
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** How an exported adapter is written. */
export const exportSettings = {
  format: choice(EXPORT_FORMATS, { required: true, help: "peft: a folder; gguf: a file" }),
  dtype: choice(FILE_DTYPES, { default: "float32", help: "how numbers are stored" }),
};

/** What an imported adapter is read from. */
export const importSettings = {
  from: choice(IMPORT_SOURCES, {
    default: "peft",
    placeholder: "who",
    help: "which program saved the folder",
  }),
};

interface ExchangeOptions {
  /** A model folder or a GGUF file: the base of the adapter. Its weights are read one at a time. */
  readonly model: string;
  /** Where the result goes: a folder, or a file for GGUF. */
  readonly out: string;
  /** Replace what is there, if it is such a result. */
  readonly overwrite?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How much of the base was read, to know it by its numbers. */
  readonly onProgress?: ((progress: { readonly done: number; readonly total: number }) => void) | undefined;
}

export interface ExportOptions extends ExchangeOptions {
  /** An adapter's folder. */
  readonly adapter: string;
  readonly format: ExportFormat;
  /** How numbers are stored; float32, which loses nothing, unless told otherwise. */
  readonly dtype?: FileDtype | undefined;
}

/** The plain LoRA that was written. */
export interface LoraSummary {
  readonly out: string;
  readonly rank: number;
  readonly alpha: number;
  readonly targets: readonly LinearName[];
  /** Linear layers that have factors. */
  readonly sites: number;
  readonly baseName: string;
}

export interface ExportSummary extends LoraSummary {
  readonly format: ExportFormat;
  readonly dtype: FileDtype;
  /** The method that the adapter was trained with. */
  readonly method: Adapter["config"]["method"];
}

export interface ImportOptions extends ExchangeOptions {
  /** The folder that PEFT or the authors' code saved. */
  readonly folder: string;
  /** "peft" unless told otherwise. */
  readonly from?: ImportSource | undefined;
}

/** Sites are named `${layer}.${linear}`. */
export interface ImportSummary extends LoraSummary {
  readonly from: ImportSource;
  /** Sites of lower rank, filled up with zeros. */
  readonly padded: readonly string[];
  /** Sites of another scale, folded into B. */
  readonly folded: readonly string[];
  /** Sites that the folder leaves as the base has them. */
  readonly absent: readonly string[];
}

/**
 * Writes any adapter as a plain LoRA for other programs. Every method of this package expands exactly; `float16` and
 * `bfloat16` round the numbers.
 *
 * @throws MosError "bad_option" for a place that is taken, and what loading the adapter and the base throws.
 * @example
 * await exportAdapter({ adapter: "adapters/acme", model: "models/llama", format: "peft", out: "acme-peft" });
 */
export async function exportAdapter(options: ExportOptions): Promise<ExportSummary> {
  const { adapter: folder, model: path, format, out, dtype = "float32", overwrite = false } = options;
  const target = { overwrite, sources: [folder, path] };
  await (format === "peft" ? checkFolderTarget : checkFileTarget)(out, target);
  const base = await readAdapterBase(folder);
  await using model = await openModel(path);
  const adapter = await loadAdapter(folder, {
    geometry: geometryOf(model.config),
    fingerprint: undefined, // is compared below, as that takes a while
  });
  if (base.fingerprint !== undefined) checkBase(folder, base, await fingerprintOf(model, options));
  const baseName = base.name ?? model.name;
  const lora = await toLora(adapter);
  if (format === "peft") await writePeft(out, lora, { dtype, baseName });
  else {
    await makeFolder(dirname(out));
    await writeGgufLora(out, lora, { dtype, model: model.config });
  }
  const { rank, targets } = lora.adapter.config;
  return {
    ...{ out, format, dtype, method: adapter.config.method, rank, alpha: lora.alpha, targets, baseName },
    sites: targets.length * adapter.geometry.layers - lora.absent.length,
  };
}

/**
 * Reads a LoRA that another program saved, and saves it as an adapter of this package, bound to its base by the base's
 * numbers. Lower ranks of single layers are filled up with zeros, and other scales are multiplied into B: the summary
 * names the layers.
 *
 * @throws MosError "bad_option" for a place that is taken; "not_found", "bad_adapter"; "unsupported" by name for what is
 * no plain LoRA.
 * @example
 * await importAdapter({ folder: "peft-lora", model: "models/llama", out: "adapters/acme" });
 */
export async function importAdapter(options: ImportOptions): Promise<ImportSummary> {
  const { folder, model: path, out, from = "peft", overwrite = false } = options;
  await checkFolderTarget(out, { overwrite, sources: [folder, path] });
  await using model = await openModel(path);
  const lora = await readLora(folder, { geometry: geometryOf(model.config), from });
  const fingerprint = await fingerprintOf(model, options);
  checkBase(folder, lora.base, fingerprint);
  const baseName = lora.base.name ?? model.name;
  await saveAdapter(out, lora.adapter, { base: { name: baseName, fingerprint } });
  const { rank, targets } = lora.adapter.config;
  const { alpha, padded, folded, absent } = lora;
  return {
    ...{ out, from, rank, alpha, targets, baseName, padded, folded, absent },
    sites: targets.length * lora.adapter.geometry.layers - absent.length,
  };
}
