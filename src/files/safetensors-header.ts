// Validation of a safetensors header before it is parsed: an object of objects, whose lists are short.
import { type ErrorCode, MosError } from "#core";

/** Limits of a header. */
export interface HeaderLimits {
  readonly bytes: number;
  readonly tensors: number;
}

/** The format's own limit, and more tensors than any file of a model has. */
export const MODEL_LIMITS: HeaderLimits = { bytes: 100_000_000, tensors: 100_000 };
/** LoRA on a model of 126 layers has 1,764 tensors. So short a header is parsed in a few milliseconds. */
export const ADAPTER_LIMITS: HeaderLimits = { bytes: 500_000, tensors: 2_500 };

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

/** One level of the header: what it holds, how many at most, and how many so far. */
interface Level {
  readonly what: string;
  most: number;
  count: number;
}

/**
 * Counts brackets and commas outside of strings, in one pass and without a copy, so that parsing takes bounded time and
 * memory. Whether the contents are valid is checked after that. Returns the number of names in all objects.
 *
 * @throws MosError `code`
 */
export function assertFlatHeader(
  bytes: Uint8Array,
  { tensors }: HeaderLimits,
  { code, where }: { readonly code: ErrorCode; readonly where: string },
): number {
  const refuse = (problem: string): MosError => new MosError(code, `${where}: header: ${problem}`);
  const levels: readonly Level[] = [
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
      throw refuse("an object is expected that holds dtype, shape and data_offsets of each tensor");
    level.count = 1;
    if (depth === 2) level.most = isMetadata ? MAX_METADATA_ENTRIES : FIELDS;
  };
  const next = (): void => {
    const level = levels[depth] as Level;
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
      if (depth === 1) isMetadata = Buffer.compare(bytes.subarray(i, end + 1), METADATA) === 0;
      i = end;
    }
  }
  return names;
}
