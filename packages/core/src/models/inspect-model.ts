// Inspection of a model's files: types of tensors, bytes in the file and in memory, and the model's identity.

import { type WeightFormat, weightBytes } from "mixture-of-shards-graph/common";
import { countElements } from "#common";
import { fileBytes } from "#files";
import type { BaseDtype } from "./base-dtype.ts";
import { BASE_DTYPES } from "./base-dtype.ts";
import type { ModelConfig } from "./config.ts";
import { computeFingerprint, computeIdentity } from "./fingerprint.ts";
import { findLinear } from "./linear-layers.ts";
import { type ModelFiles, openModel } from "./load.ts";
import { type LocateCalls, locatedPath } from "./locate-model.ts";
import { baseFormats } from "./read-weights.ts";
import { parameterCount, weightShapes } from "./weights.ts";

/** The weights that are stored as one type. */
interface TypeUse {
  /** As the file names it: "F32", "BF16", "Q4_K" … */
  readonly type: string;
  readonly tensors: number;
  /** Weights, not bytes. */
  readonly numbers: number;
  /** In the file. */
  readonly bytes: number;
  /** The format in memory under the base dtype "stored": "float32", "4-bit blocks of 32" … */
  readonly form: string;
  /** In memory, in this format. */
  readonly storedBytes: number;
}

/** Report on a model's files. @inline */
export interface ModelInspection {
  readonly name: string;
  readonly path: string;
  readonly format: "folder" | "gguf";
  readonly config: ModelConfig;
  readonly parameters: number;
  /** By type, the one with most bytes first. */
  readonly types: readonly TypeUse[];
  /** Bytes of all weights in memory under each base dtype; undefined where a weight cannot be stored so. */
  readonly memory: Readonly<Record<BaseDtype, number | undefined>>;
  /** A hash of the weights. */
  readonly fingerprint: string;
  /** A hash that all quantisations of the model share; undefined if its norms identify no model. */
  readonly identity: string | undefined;
}

/** Options of inspecting a model. @inline */
export interface InspectModelOptions extends LocateCalls {
  /** Weights that were read for the fingerprint. */
  readonly onProgress?: ((progress: { readonly done: number; readonly total: number }) => void) | undefined;
}

/** "4-bit blocks of 32 with offsets". */
export function formatText(format: WeightFormat): string {
  switch (format.kind) {
    case "blocks":
      return `${format.bits}-bit blocks of ${format.blockSize}${format.offsets ? " with offsets" : ""}`;
    case "nf4":
      return `NF4 in blocks of ${format.blockSize}`;
    case "int8rows":
      return "int8 rows";
    default:
      return format.kind;
  }
}

/** Description of the layers' format: "4-bit blocks of 32 with offsets". */
export function describeStorage(formats: ReadonlyMap<string, WeightFormat>): string {
  const texts = [...formats]
    .filter(([name]) => findLinear(name) !== undefined)
    .map(([, format]) => formatText(format));
  return [...new Set(texts)].join(" and ");
}

const STORED = { baseDtype: "stored", computeDtype: "float32", transposedCodes: false } as const;

function countTypes(files: ModelFiles): readonly TypeUse[] {
  const uses = new Map<string, TypeUse>();
  const formats = baseFormats(files, STORED);
  for (const [name, shape] of weightShapes(files.config)) {
    const { type } = files.storedRows(name);
    const format = formats.get(name) ?? { kind: "float32" };
    const numbers = countElements(shape);
    // vectors are float32 in memory, whatever their type
    const key = `${type} ${formatText(format)}`;
    const before = uses.get(key);
    uses.set(key, {
      type,
      form: formatText(format),
      tensors: (before?.tensors ?? 0) + 1,
      numbers: (before?.numbers ?? 0) + numbers,
      bytes: (before?.bytes ?? 0) + fileBytes(type, numbers),
      storedBytes: (before?.storedBytes ?? 0) + weightBytes(format, shape),
    });
  }
  return [...uses.values()].sort((a, b) => b.bytes - a.bytes);
}

function bytesAs(files: ModelFiles, baseDtype: BaseDtype): number | undefined {
  const shapes = weightShapes(files.config);
  try {
    const formats = baseFormats(files, { ...STORED, baseDtype });
    return [...formats].reduce((sum, [name, format]) => sum + weightBytes(format, shapes.get(name) ?? []), 0);
  } catch {
    return undefined; // rows that no block divides
  }
}

/**
 * Describes a model by its files: a Hugging Face folder, a GGUF file or `org/name` of the hub. All of it is read once, for the fingerprint, a part
 * of one weight at a time.
 *
 * @throws MosError what opening a model throws, "bad_model" for weights that are NaN or infinite, "cancelled".
 * @example
 * const { types, memory } = await inspectModel("assets/tiny-english");
 * types.map(({ type, bytes }) => `${type}: ${bytes}`);
 */
export async function inspectModel(
  model: string,
  options: InspectModelOptions = {},
): Promise<ModelInspection> {
  await using files = await openModel(await locatedPath(model, options));
  const { name, config, source } = files;
  return {
    name,
    path: files.path,
    format: source.kind,
    config,
    parameters: parameterCount(config),
    types: countTypes(files),
    memory: Object.fromEntries(
      BASE_DTYPES.map((dtype) => [dtype, bytesAs(files, dtype)]),
    ) as ModelInspection["memory"],
    fingerprint: await computeFingerprint(files, options),
    identity: await computeIdentity(files),
  };
}
