// The weights of an open model → memory, in one pass over its file: each part of a tensor is read once, checked, sampled
// for the fingerprint, and written in its in-memory format. Memory never holds more than the result and a part.

import type { FileRange, TensorData } from "mixture-of-shards-graph";
import { float16Value, isInFile, type WeightFormat, type WeightPart } from "mixture-of-shards-graph/common";
import { countElements, MosError } from "#common";
import { fileBytes, type StoredType, storedFormat } from "#files";
import { basename, dirname, realpath } from "#platform";
import { type BaseFormats, chooseFormat } from "./base-dtype.ts";
import type { ModelConfig } from "./config.ts";
import { numberAt } from "./dequantize-weight.ts";
import { fingerprintSamples, identity, sampler } from "./fingerprint.ts";
import { isLossless, placeableFormat, rowDecoder, rowWriter } from "./row-writer.ts";
import type { Weight } from "./weight.ts";
import { checkFinite, weightShapes } from "./weights.ts";

/** A weight as a file stores it: rows of whole blocks. */
export interface StoredRows {
  readonly type: StoredType;
  readonly shape: readonly number[];
  /** Numbers of a row; those of a vector are one row, or a row each where they are reordered. */
  readonly width: number;
  /** What a number of the file means; undefined where it is the weight's. */
  readonly value: ((stored: number) => number) | undefined;
  /** Maps a row of the file to the row of the weight; undefined where their order is the same. */
  readonly order: ((stored: number) => number) | undefined;
  /** The place of each of equal runs of columns, where they are in another order. */
  readonly columns: readonly number[] | undefined;
  /** Where its bytes begin. */
  readonly place: { readonly path: string; readonly begin: number };
  /** Fills `target` with the tensor's bytes from `begin` on. */
  readonly readInto: (target: Uint8Array, begin: number) => Promise<void>;
}

/** Members of an open model that reading needs. */
interface WeightSource {
  readonly path: string;
  readonly config: ModelConfig;
  /** Stored rows of a weight. Throws `unsupported` for a type that cannot be read. */
  storedRows(name: string): StoredRows;
}

/** Progress of reading a model's weights. */
export interface LoadProgress {
  /** Weights that were read. */
  readonly done: number;
  readonly total: number;
  /** Bytes of the file's tensors. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** The weight that is read. */
  readonly name: string;
}

interface ReadWeightsOptions extends BaseFormats {
  readonly signal?: AbortSignal | undefined;
  /** Called after each part of a weight. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** Hashes of a model, known once all weights have been read. */
export interface ModelHashes {
  /** Hash of the values in the file, independent of their format in memory. */
  readonly fingerprint: string;
  /** undefined if its norms do not distinguish it from other models. */
  readonly identity: string | undefined;
}

/** Bytes that are read at a time, where a row has fewer. */
const PART = 1 << 23;

const rowBytes = ({ type, width }: StoredRows): number => fileBytes(type, width);
const countBytes = ({ type, shape }: StoredRows): number => fileBytes(type, countElements(shape));

/**
 * The in-memory format of each weight, by name. Nothing is read.
 *
 * @throws MosError "unsupported" for a type that cannot be read, or rows that no block divides.
 */
export function baseFormats(files: WeightSource, formats: BaseFormats): ReadonlyMap<string, WeightFormat> {
  const formatFor = (name: string): WeightFormat => {
    const { type, shape, columns } = files.storedRows(name);
    const stored = placeableFormat(storedFormat(type).format, { shape, columns });
    return chooseFormat({ name, shape, stored, where: files.path }, formats);
  };
  return new Map([...weightShapes(files.config).keys()].map((name) => [name, formatFor(name)]));
}

/** Where a weight lies; without links, since the runtime follows none. */
async function fileRange(rows: StoredRows): Promise<FileRange> {
  const path = await realpath(rows.place.path);
  return {
    folder: dirname(path),
    file: basename(path),
    offset: rows.place.begin,
    length: countBytes(rows),
  };
}

/** Bytes of the whole rows that are read at a time. */
function partBytes(rows: StoredRows): number {
  const size = rowBytes(rows);
  return Math.min(countBytes(rows), Math.max(1, Math.floor(PART / size)) * size);
}

/** Reads a weight in parts of whole rows, each into the same buffer. */
async function* eachPart(
  rows: StoredRows,
  buffer = new Uint8Array(partBytes(rows)),
): AsyncGenerator<{ readonly begin: number; readonly bytes: Uint8Array }> {
  const total = countBytes(rows);
  const step = partBytes(rows);
  for (let begin = 0; begin < total; begin += step) {
    const bytes = buffer.subarray(0, Math.min(step, total - begin));
    await rows.readInto(bytes, begin);
    yield { begin, bytes };
  }
}

/** Calls `write` with each row of a part, by its place in the weight. */
function eachRow(
  rows: StoredRows,
  { begin, bytes }: { readonly begin: number; readonly bytes: Uint8Array },
  write: (row: number, bytes: Uint8Array) => void,
): void {
  const { order = (row) => row } = rows;
  const size = rowBytes(rows);
  for (let at = 0; at < bytes.length; at += size)
    write(order((begin + at) / size), bytes.subarray(at, at + size));
}

/** The values of a whole weight. */
export async function readNumbers(rows: StoredRows): Promise<Float32Array> {
  const { shape, width } = rows;
  const numbers = new Float32Array(countElements(shape));
  const decode = rowDecoder(rows);
  for await (const part of eachPart(rows))
    eachRow(rows, part, (row, bytes) => decode(bytes, numbers.subarray(row * width, (row + 1) * width)));
  return numbers;
}

/** The values of a weight in parts of whole rows; all at once where the file has them in another order. */
export async function* readParts(rows: StoredRows): AsyncGenerator<Float32Array> {
  if (rows.order !== undefined) {
    yield readNumbers(rows);
    return;
  }
  const decode = rowDecoder(rows);
  for await (const { bytes } of eachPart(rows)) {
    const numbers = new Float32Array((bytes.length / rowBytes(rows)) * rows.width);
    decode(bytes, numbers);
    yield numbers;
  }
}

/**
 * Reads the weights of an open model one after the other, each in the format of `chooseFormat`, and returns their hashes.
 * All values, scales and offsets must be finite.
 *
 * @throws MosError "bad_model", "unsupported", "cancelled", "storage".
 */
export async function* readWeights(
  files: WeightSource,
  { signal, onProgress, ...formats }: ReadWeightsOptions,
): AsyncGenerator<readonly [name: string, weight: Weight], ModelHashes> {
  const { path, config } = files;
  const planned = [...baseFormats(files, formats)];
  const total = planned.length;
  const totalBytes = planned.reduce((sum, [name]) => sum + countBytes(files.storedRows(name)), 0);
  const largest = planned.reduce((most, [name]) => Math.max(most, partBytes(files.storedRows(name))), 0);
  const buffer = new Uint8Array(largest);
  const samples = new Map<string, Uint8Array>();
  const gains = new Map<string, Weight>();
  let doneBytes = 0;
  for (const [done, [name, format]] of planned.entries()) {
    const rows = files.storedRows(name);
    const { type, shape } = rows;
    const sample = sampler(countElements(shape));
    const writer = rowWriter({
      ...rows,
      format,
      onNumbers(row, numbers) {
        const begin = row * numbers.length;
        checkFinite(name, numbers, { where: path, begin });
        sample.take(numbers, begin);
      },
    });
    const { weight } = writer;
    for await (const part of eachPart(rows, buffer)) {
      eachRow(rows, part, writer.write);
      doneBytes += part.bytes.length;
      if (signal?.aborted)
        throw new MosError("cancelled", `${path}: loading was interrupted`, { cause: signal.reason });
      onProgress?.({ done, total, doneBytes, totalBytes, name });
    }
    writer.finish();
    const fromFile = isLossless(type, format);
    if (!isInFile(format)) checkStored(name, weight, { where: path, fromFile });
    if (fromFile) sample.readSamples((index) => numberAt(weight, index));
    samples.set(name, sample.bytes());
    if (shape.length === 1) gains.set(name, weight);
    onProgress?.({ done: done + 1, total, doneBytes, totalBytes, name });
    yield [name, isInFile(format) ? { ...weight, file: await fileRange(rows) } : weight];
  }
  return { fingerprint: fingerprintSamples(config, samples), identity: identity(config, gains) };
}

interface CheckStoredOptions {
  /** The file, for messages. */
  readonly where: string;
  /** True if the parts are the file's; false if they were computed from finite values. */
  readonly fromFile: boolean;
}

/** The exponents of values that are not finite, by type. */
const EXPONENTS = { float16: 0x7c00, bfloat16: 0x7f80 } as const;

/** A float32 scale of 2¹¹⁹ or more, times a code of 8 bits and plus an offset, could be infinite. */
const MAX_SCALE = 0x7b000000;

/** Index of the first of 16-bit numbers that is not finite, or −1. */
function firstInfinite(data: Uint16Array, kind: keyof typeof EXPONENTS): number {
  const exponent = EXPONENTS[kind];
  for (let i = 0; i < data.length; i++) if (((data[i] as number) & exponent) === exponent) return i;
  return -1;
}

function firstBadScale(data: TensorData): number {
  if (data instanceof Uint16Array) return firstInfinite(data, "float16");
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (let i = 0; i < bits.length; i++) if (((bits[i] as number) & 0x7fffffff) >= MAX_SCALE) return i;
  return -1;
}

/** Refuses a scale or an offset that is not finite, or so large that a number of its block might not be. */
function checkBlocks(
  name: string,
  { shape, parts }: Weight,
  { part, where, fromFile }: CheckStoredOptions & { readonly part: WeightPart },
): void {
  const data = parts[part];
  if (data === undefined) return;
  const found = firstBadScale(data);
  if (found < 0) return;
  const blocks = data.length / (shape[0] ?? 1);
  const place = `block ${found % blocks} of row ${Math.floor(found / blocks)}`;
  const number = data instanceof Float32Array ? data[found] : float16Value(data[found] as number);
  const value = `the ${part === "scales" ? "scale" : "offset"} ${number}`;
  throw fromFile
    ? new MosError(
        "bad_model",
        `${where}: ${name} has ${value} for ${place}; scales and offsets must be finite, so the file is damaged`,
      )
    : new MosError(
        "unsupported",
        `${where}: ${name} has values in ${place} that are too large to quantise (${value}); use the base dtype stored or float32`,
      );
}

/**
 * Refuses a weight with values that are not finite. Where the scales and offsets of blocks are finite, so are their
 * numbers: halves are far from overflowing float32, and so are the products that scales of GGUF's types are.
 *
 * @throws MosError "bad_model" with the weight's name and the place; "unsupported" for one that quantising made infinite.
 */
function checkStored(name: string, weight: Weight, options: CheckStoredOptions): void {
  const { format, parts } = weight;
  const { where } = options;
  if (format.kind === "float32") {
    checkFinite(name, parts.data as Float32Array, { where });
    return;
  }
  if (format.kind === "float16" || format.kind === "bfloat16") {
    const found = firstInfinite(parts.data as Uint16Array, format.kind);
    if (found < 0) return;
    throw new MosError(
      "bad_model",
      `${where}: ${name} holds the value ${numberAt(weight, found)} at ${found}; the file is damaged`,
    );
  }
  checkBlocks(name, weight, { ...options, part: "scales" });
  checkBlocks(name, weight, { ...options, part: "offsets" });
}
