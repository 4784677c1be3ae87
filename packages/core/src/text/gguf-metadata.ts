import { MosError } from "#common";

/** Key → value of a GGUF file's header. Integers may be bigint. */
export type GgufMetadata = Readonly<Record<string, unknown>>;

const invalid = (key: string, expected: string): MosError =>
  new MosError("bad_model", `GGUF: ${key} is not ${expected}`);

/** The value of a key if it is of a type, or undefined where the key is absent. */
const valueAt =
  <T>(type: "string" | "boolean", expected: string) =>
  (metadata: GgufMetadata, key: string): T | undefined => {
    const value = metadata[key];
    if (value !== undefined && typeof value !== type) throw invalid(key, expected);
    return value as T | undefined;
  };

export const stringAt = valueAt<string>("string", "a string");
export const booleanAt = valueAt<boolean>("boolean", "true or false");

/** A whole number below `limit`, or undefined where the key is absent. */
export function indexAt(metadata: GgufMetadata, key: string, limit: number): number | undefined {
  const value = metadata[key];
  if (value === undefined) return undefined;
  const index = typeof value === "bigint" ? Number(value) : value;
  if (typeof index !== "number" || !Number.isInteger(index) || index < 0 || index >= limit)
    throw invalid(key, `a token id below ${limit}, but ${String(value)}`);
  return index;
}

/** A list of strings, or undefined where the key is absent. */
export function stringsAt(metadata: GgufMetadata, key: string): readonly string[] | undefined {
  const value = metadata[key];
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw invalid(key, "a list of strings");
  const bad = value.findIndex((item) => typeof item !== "string");
  if (bad >= 0) throw invalid(`${key}[${bad}]`, "a string");
  return value;
}

/** A list of `length` numbers, or undefined where the key is absent. */
export function numbersAt(metadata: GgufMetadata, key: string, length: number): Float64Array | undefined {
  const value = metadata[key];
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw invalid(key, "a list of numbers");
  const items: readonly unknown[] = value;
  if (items.length !== length) throw invalid(key, `a list of ${length} numbers (it has ${items.length})`);
  return Float64Array.from(items, (item) => {
    const number = typeof item === "bigint" ? Number(item) : item;
    if (typeof number !== "number" || Number.isNaN(number)) throw invalid(key, "a list of numbers");
    return number;
  });
}
