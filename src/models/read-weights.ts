// The weights of an open model → memory, in one pass over its file: each part of a tensor is read once, checked, sampled
// for the fingerprint, and written in the form in which it is kept. At no moment is there more than the result and a part.
import { MosError, sizeOf } from "#core";
import { blockFormats, type StoredType, storedFormat, type WeightForm } from "#files";
import { type BaseForms, chooseForm } from "./base-dtype.ts";
import { checkStored } from "./check-stored.ts";
import type { ModelConfig } from "./config.ts";
import { numberAt } from "./dequantize-weight.ts";
import { fingerprintOfSamples, identity, sampler } from "./fingerprint.ts";
import { isLossless, rowWriter } from "./row-writer.ts";
import type { Weight } from "./weight.ts";
import { checkFinite, weightShapes } from "./weights.ts";

/** A weight as a file stores it: rows of whole blocks. */
export interface StoredRows {
  readonly type: StoredType;
  readonly shape: readonly number[];
  /** Numbers of a row; those of a vector are one row, or a row each where they are reordered. */
  readonly width: number;
  /** Added to every number; 0 but for gains that are stored around 0. */
  readonly plus: number;
  /** Which row of the weight a row of the file is. */
  readonly rowOf: (stored: number) => number;
  /** Fills `target` with the tensor's bytes from `begin` on. */
  readonly readInto: (target: Uint8Array, begin: number) => Promise<void>;
}

/** What reading needs of an open model. */
export interface WeightSource {
  readonly path: string;
  readonly config: ModelConfig;
  /** How a weight is stored. Throws `unsupported` for a type that cannot be read. */
  storedRows(name: string): StoredRows;
}

/** How far reading a model's weights is. */
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

export interface ReadWeightsOptions extends BaseForms {
  readonly signal?: AbortSignal | undefined;
  /** Called after each part of a weight. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** What is known of a model when all of its weights have been read. */
export interface ModelHashes {
  /** Of the numbers in the file, whatever they became in memory. */
  readonly fingerprint: string;
  /** undefined where its norms do not tell it from other models. */
  readonly identity: string | undefined;
}

/** Bytes that are read at a time, where a row has fewer. */
const PART = 1 << 23;

function rowBytes({ type, width }: StoredRows): number {
  const { blockSize, bytes } = blockFormats[type];
  return (width / blockSize) * bytes;
}

const bytesOf = (rows: StoredRows): number => (sizeOf(rows.shape) / rows.width) * rowBytes(rows);

/**
 * The form in which each weight will be kept, by name. Nothing is read.
 *
 * @throws MosError "unsupported" for a type that cannot be read, or rows that no block divides.
 */
export function baseForms(files: WeightSource, forms: BaseForms): ReadonlyMap<string, WeightForm> {
  const formOf = (name: string): WeightForm => {
    const { type, shape } = files.storedRows(name);
    return chooseForm({ name, shape, stored: storedFormat(type).form, where: files.path }, forms);
  };
  return new Map([...weightShapes(files.config).keys()].map((name) => [name, formOf(name)]));
}

/** Bytes of the whole rows that are read at a time. */
function partBytes(rows: StoredRows): number {
  const size = rowBytes(rows);
  return Math.min(bytesOf(rows), Math.max(1, Math.floor(PART / size)) * size);
}

interface EachPartOptions {
  /** What the parts are read into. */
  readonly buffer: Uint8Array;
  readonly write: (row: number, bytes: Uint8Array) => void;
}

/** Reads the rows of a weight in parts of whole rows; gives how many bytes there were of each. */
async function* eachPart(rows: StoredRows, { buffer, write }: EachPartOptions): AsyncGenerator<number> {
  const size = rowBytes(rows);
  const total = bytesOf(rows);
  const step = partBytes(rows);
  for (let begin = 0; begin < total; begin += step) {
    const part = buffer.subarray(0, Math.min(step, total - begin));
    await rows.readInto(part, begin);
    for (let at = 0; at < part.length; at += size)
      write(rows.rowOf((begin + at) / size), part.subarray(at, at + size));
    yield part.length;
  }
}

/**
 * Reads the weights of an open model one after the other, each in the form that `chooseForm` says, and returns what they
 * hash to. All numbers, scales and offsets must be finite.
 *
 * @throws MosError "bad_model", "unsupported", "cancelled", "storage".
 */
export async function* readWeights(
  files: WeightSource,
  { signal, onProgress, ...forms }: ReadWeightsOptions,
): AsyncGenerator<readonly [name: string, weight: Weight], ModelHashes> {
  const { path, config } = files;
  const planned = [...baseForms(files, forms)];
  const total = planned.length;
  const totalBytes = planned.reduce((sum, [name]) => sum + bytesOf(files.storedRows(name)), 0);
  const largest = planned.reduce((most, [name]) => Math.max(most, partBytes(files.storedRows(name))), 0);
  const buffer = new Uint8Array(largest);
  const samples = new Map<string, Uint8Array>();
  const gains = new Map<string, Weight>();
  let doneBytes = 0;
  for (const [done, [name, form]] of planned.entries()) {
    const rows = files.storedRows(name);
    const { type, shape, width, plus } = rows;
    const sample = sampler(sizeOf(shape));
    const writer = rowWriter({
      type,
      shape,
      width,
      plus,
      form,
      onNumbers(row, numbers) {
        const begin = row * numbers.length;
        checkFinite(name, numbers, { where: path, begin });
        sample.take(numbers, begin);
      },
    });
    const { weight } = writer;
    for await (const bytes of eachPart(rows, { buffer, write: writer.write })) {
      doneBytes += bytes;
      if (signal?.aborted)
        throw new MosError("cancelled", `${path}: loading was stopped`, { cause: signal.reason });
      onProgress?.({ done, total, doneBytes, totalBytes, name });
    }
    writer.finish();
    const fromFile = isLossless(type, form);
    checkStored(name, weight, { where: path, fromFile });
    if (fromFile) sample.takeAll((index) => numberAt(weight, index));
    samples.set(name, sample.bytes());
    if (shape.length === 1) gains.set(name, weight);
    onProgress?.({ done: done + 1, total, doneBytes, totalBytes, name });
    yield [name, weight];
  }
  return { fingerprint: fingerprintOfSamples(config, samples), identity: identity(config, gains) };
}
