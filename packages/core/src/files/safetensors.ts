// safetensors: eight bytes of header length, a JSON header, then the tensors' bytes without gaps
// (https://huggingface.co/docs/safetensors). Everything in the header is checked against the file before it is used.

import { z } from "zod";
import { decodeText, type ErrorCode, equalBytes, MosError, parseJson, parseWith } from "#common";
import { nextTurn } from "#platform";
import { type ByteSource, closeOnFailure, openForReading } from "./atomic-files.ts";
import { decodeBfloat16, decodeFloat16 } from "./floats.ts";

/** Bytes per number. Narrower types than a byte exist in newer files; they are refused by name. */
const WIDTHS = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
} as const;

export type SafetensorsDtype = keyof typeof WIDTHS;

/** One tensor of a file. `begin` and `end` are byte positions in the file; the last dimension runs fastest. */
interface SafetensorsEntry {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export type SafetensorsFile = Awaited<ReturnType<typeof openSafetensors>>;

const CHUNK = 1 << 22;
const FORBIDDEN_NAMES: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

const dimension = z.int().nonnegative();
const entrySchema = z.strictObject({
  dtype: z.string(),
  shape: z.array(dimension).max(16),
  data_offsets: z.tuple([dimension, dimension]),
});
const headerSchema = z.record(z.string(), z.unknown());
const metadataSchema = z.record(z.string(), z.string());

interface Place {
  readonly code: ErrorCode;
  readonly where: string;
}

const isDtype = (name: string): name is SafetensorsDtype => Object.hasOwn(WIDTHS, name);

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

/** JSON.parse keeps the last of two equal names silently, so they are fewer than were `written` in the header's text. */
function refuseDoubtfulNames(header: unknown, written: number, { code, where }: Place): void {
  let count = 0;
  for (const object of [header, ...(isObject(header) ? Object.values(header) : [])]) {
    const names = isObject(object) ? Object.keys(object) : [];
    const forbidden = names.find((name) => FORBIDDEN_NAMES.has(name));
    if (forbidden !== undefined)
      throw new MosError(code, `${where}: a tensor may not be named "${forbidden}"`);
    count += names.length;
  }
  if (count !== written) throw new MosError(code, `${where}: a name occurs twice in the header`);
}

const headerLength = (prefix: Uint8Array): number =>
  Number(new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true));

/** A length beyond the limit is not shown: it is the first bytes of whatever file this is. */
function assertHeaderLength(length: number, limits: HeaderLimits, { code, where }: Place): void {
  if (length > limits.bytes)
    throw new MosError(
      code,
      `${where}: the header exceeds the limit of ${limits.bytes} bytes; the file is damaged or not a safetensors file`,
    );
}

/**
 * Refuses an adapter's file by its first bytes, before the rest has arrived. Fewer than eight say nothing.
 *
 * @throws MosError "bad_adapter" where the header is longer than an adapter's may be.
 */
export function assertAdapterHeader(begin: Uint8Array, where: string): void {
  if (begin.length >= 8)
    assertHeaderLength(headerLength(begin), ADAPTER_LIMITS, { code: "bad_adapter", where });
}

async function readHeader(file: ByteSource, code: ErrorCode, limits: HeaderLimits) {
  const { path, size } = file;
  if (size < 8)
    throw new MosError(code, `${path}: ${size} bytes are too few for a safetensors file; download it again`);
  const prefix = new Uint8Array(8);
  await file.read(prefix, 0);
  const length = headerLength(prefix);
  // the first eight bytes of a text make a larger number, which would show them
  const shown = Math.min(length, Number.MAX_SAFE_INTEGER);
  if (8 + length > size)
    throw new MosError(
      code,
      `${path}: the header claims ${shown} bytes, but the file has ${size}; it is cut short or not a safetensors file`,
    );
  assertHeaderLength(length, limits, { code, where: path });
  const bytes = new Uint8Array(length);
  await file.read(bytes, 8);
  const names = assertFlatHeader(bytes, limits, { code, where: path });
  return { names, text: decodeText(bytes, { code, where: `${path}: header` }), dataBegin: 8 + length };
}

function parseEntry(name: string, value: unknown, place: Place): SafetensorsEntry {
  const where = `${place.where}: tensor "${name}"`;
  const entry = parseWith(entrySchema, value, { code: place.code, where });
  const [begin, end] = entry.data_offsets;
  if (!isDtype(entry.dtype))
    throw new MosError(
      "unsupported",
      `${where} has the unknown type ${entry.dtype}; known types are ${Object.keys(WIDTHS).join(", ")}`,
    );
  const bytes = entry.shape.reduce((product, size) => product * size, WIDTHS[entry.dtype]);
  if (bytes !== end - begin)
    throw new MosError(
      place.code,
      `${where}: ${entry.dtype} [${entry.shape.join(", ")}] takes ${bytes} bytes, but the offsets span ${end - begin}`,
    );
  return { dtype: entry.dtype, shape: entry.shape, begin, end };
}

/** After this many tensors, other work may run: the process may be serving requests. */
const BATCH_SIZE = 64;

async function parseEntries(
  entries: Readonly<Record<string, unknown>>,
  place: Place,
): Promise<ReadonlyMap<string, SafetensorsEntry>> {
  const parsed = new Map<string, SafetensorsEntry>();
  for (const [name, entry] of Object.entries(entries)) {
    parsed.set(name, parseEntry(name, entry, place));
    if (parsed.size % BATCH_SIZE === 0) await nextTurn();
  }
  return parsed;
}

/** The tensors must fill the data part exactly: no overlap, no gap, nothing after the last. */
function placeTensors(
  relative: ReadonlyMap<string, SafetensorsEntry>,
  { dataBegin, size, place }: { dataBegin: number; size: number; place: Place },
): ReadonlyMap<string, SafetensorsEntry> {
  const ordered = [...relative].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const [name, { begin, end }] of ordered) {
    if (begin !== position)
      throw new MosError(
        place.code,
        `${place.where}: tensor "${name}" begins at byte ${begin} of the data, but ${position} was expected (${begin < position ? "overlap" : "gap"})`,
      );
    position = end;
  }
  if (dataBegin + position !== size)
    throw new MosError(
      place.code,
      `${place.where}: the tensors end at byte ${dataBegin + position}, but the file has ${size}; it is cut short or damaged; download it again`,
    );
  const absolute = (entry: SafetensorsEntry): SafetensorsEntry => ({
    ...entry,
    begin: dataBegin + entry.begin,
    end: dataBegin + entry.end,
  });
  return new Map([...relative].map(([name, entry]) => [name, absolute(entry)]));
}

async function readHalf(
  file: ByteSource,
  entry: SafetensorsEntry,
  decode: (source: Uint16Array, target: Float32Array) => Float32Array,
): Promise<Float32Array> {
  const result = new Float32Array((entry.end - entry.begin) / 2);
  const buffer = new Uint16Array(Math.min(result.length, CHUNK));
  for (let done = 0; done < result.length; done += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, result.length - done));
    await file.read(new Uint8Array(part.buffer, 0, part.byteLength), entry.begin + 2 * done);
    decode(part, result.subarray(done, done + part.length));
  }
  return result;
}

async function readFloats(file: ByteSource, entry: SafetensorsEntry, place: Place): Promise<Float32Array> {
  switch (entry.dtype) {
    case "F32": {
      const result = new Float32Array((entry.end - entry.begin) / 4);
      await file.read(new Uint8Array(result.buffer), entry.begin);
      return result;
    }
    case "F16":
      return readHalf(file, entry, decodeFloat16);
    case "BF16":
      return readHalf(file, entry, decodeBfloat16);
    default:
      throw new MosError("unsupported", `${place.where} has type ${entry.dtype}; expected F32, F16 or BF16`);
  }
}

async function readIntegers(file: ByteSource, entry: SafetensorsEntry, place: Place): Promise<Int32Array> {
  const bytes = new Uint8Array(entry.end - entry.begin);
  if (entry.dtype !== "I32" && entry.dtype !== "I64")
    throw new MosError("unsupported", `${place.where} has type ${entry.dtype}; expected I32 or I64`);
  await file.read(bytes, entry.begin);
  if (entry.dtype === "I32") return new Int32Array(bytes.buffer);
  return Int32Array.from(new BigInt64Array(bytes.buffer), (value, i) => {
    if (BigInt.asIntN(32, value) !== value)
      throw new MosError(place.code, `${place.where}: value ${value} at ${i} does not fit 32 bits`);
    return Number(value);
  });
}

/**
 * Opens a safetensors file and checks its whole header: length, JSON, types, shapes, and that the tensors fill the rest
 * of the file exactly. A source that is given is closed with the file, or where it fails. The header of a file whose error code is
 * "bad_adapter" is shorter.
 *
 * @throws MosError `options.code` for a broken file, "unsupported" for an unknown type, "not_found", "storage".
 */
export async function openSafetensors(
  from: string | ByteSource,
  { code = "bad_model" }: { readonly code?: ErrorCode } = {},
) {
  const source = typeof from === "string" ? await openForReading(from, code) : from;
  return closeOnFailure(source, async (file) => {
    const { path } = file;
    const place = { code, where: path };
    const limits = code === "bad_adapter" ? ADAPTER_LIMITS : MODEL_LIMITS;
    const { text, names, dataBegin } = await readHeader(file, code, limits);
    const inHeader = { code, where: `${path}: header` };
    await nextTurn(); // each pass over the header takes some milliseconds
    const value = parseJson(text, inHeader);
    await nextTurn();
    refuseDoubtfulNames(value, names, place);
    await nextTurn();
    const header = parseWith(headerSchema, value, inHeader);
    const { __metadata__: rawMetadata = {}, ...entries } = header;
    const metadata = parseWith(metadataSchema, rawMetadata, { code, where: `${path}: __metadata__` });
    const relative = await parseEntries(entries, place);
    await nextTurn();
    const tensors = placeTensors(relative, { dataBegin, size: file.size, place });
    const find = (name: string): readonly [ByteSource, SafetensorsEntry, Place] => {
      const entry = tensors.get(name);
      if (!entry) throw new MosError(code, `${path}: there is no tensor "${name}"`);
      return [file, entry, { code, where: `${path}: tensor "${name}"` }];
    };
    return {
      path,
      metadata,
      tensors,
      /** F32, F16 or BF16 as float32. */
      readFloat32: async (name: string) => readFloats(...find(name)),
      /** I32, or I64 whose values fit. */
      readInt32: async (name: string) => readIntegers(...find(name)),
      /** Fills `target` with bytes of a tensor as they stand in the file, from its byte `begin` on. */
      readInto: async (name: string, target: Uint8Array, begin: number): Promise<void> =>
        file.read(target, find(name)[1].begin + begin),
      /** The bytes as they stand in the file. */
      async readBytes(name: string): Promise<Uint8Array> {
        const [, { begin, end }] = find(name);
        const bytes = new Uint8Array(end - begin);
        await file.read(bytes, begin);
        return bytes;
      },
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    };
  });
}

// Validation of a safetensors header before it is parsed: an object of objects, whose lists are short.

/** Limits of a header. */
interface HeaderLimits {
  readonly bytes: number;
  readonly tensors: number;
}

/** The format's own limit, and more tensors than any file of a model has. */
const MODEL_LIMITS: HeaderLimits = { bytes: 100_000_000, tensors: 100_000 };
/** LoRA on a model of 126 layers has 1,764 tensors. So short a header is parsed in a few milliseconds. */
const ADAPTER_LIMITS: HeaderLimits = { bytes: 500_000, tensors: 2_500 };

const MAX_METADATA_ENTRIES = 1000;
const MAX_DIMENSIONS = 16;
/** dtype, shape, data_offsets */
const FIELDS = 3;

const byte = (character: string): number => character.charCodeAt(0);
const [QUOTE, BACKSLASH, COMMA, COLON] = [byte('"'), byte("\\"), byte(","), byte(":")];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [byte("["), byte("]"), byte("{"), byte("}")];

const METADATA = new TextEncoder().encode('"__metadata__"');

/** Index of the closing quote of the string that begins at `begin`. */
function findClosingQuote(bytes: Uint8Array, begin: number): number {
  let i = begin + 1;
  for (; i < bytes.length && bytes[i] !== QUOTE; i++) if (bytes[i] === BACKSLASH) i++;
  return i;
}

/**
 * Counts brackets and commas outside of strings, in one pass and without a copy, so that parsing takes bounded time and
 * memory. Whether the contents are valid is checked after that. Returns the number of names in all objects.
 *
 * @throws MosError `code`
 */
function assertFlatHeader(bytes: Uint8Array, { tensors }: HeaderLimits, { code, where }: Place): number {
  const refuse = (problem: string): MosError => new MosError(code, `${where}: header: ${problem}`);
  /** Levels of the header: what each holds, how many at most, and how many so far. */
  const levels = [
    { what: "values", most: 1, count: 1 },
    { what: "tensors", most: tensors + 1, count: 0 },
    { what: "fields", most: FIELDS, count: 0 },
    { what: "dimensions", most: MAX_DIMENSIONS, count: 0 },
  ];
  const deepest = levels.length - 1;
  let depth = 0;
  /** True if the last name was the metadata's. */
  let isMetadata = false;
  const open = (isList: boolean): void => {
    depth++;
    const level = levels[depth];
    if (level === undefined || isList !== (depth === deepest))
      throw refuse("expected an object with dtype, shape and data_offsets for each tensor");
    level.count = 1;
    if (depth === 2) level.most = isMetadata ? MAX_METADATA_ENTRIES : FIELDS;
  };
  const next = (): void => {
    const level = levels[depth] as (typeof levels)[number];
    if (++level.count > level.most) throw refuse(`there are more than ${level.most} ${level.what}`);
  };
  let names = 0;
  const see = (value: number): void => {
    if (value === OPEN_LIST || value === OPEN_OBJECT) open(value === OPEN_LIST);
    else if (value === CLOSE_LIST || value === CLOSE_OBJECT) depth = Math.max(0, depth - 1);
    else if (value === COMMA) next();
    else if (value === COLON) names++;
  };
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== QUOTE) see(bytes[i] as number);
    else {
      const end = findClosingQuote(bytes, i);
      if (depth === 1) isMetadata = equalBytes(bytes.subarray(i, end + 1), METADATA);
      i = end;
    }
  }
  return names;
}
