// Reads values of an unknown shape: a file that anybody may have written. Errors name the place.
import { isFields } from "#core";

/** Reads a value, or throws an error that names its place. */
export type Reader<T> = (value: unknown, place: string) => T;

function wrong(value: unknown, place: string, wanted: string): Error {
  const kind = value === null ? "null" : Array.isArray(value) ? "a list" : `a value of type ${typeof value}`;
  return new Error(`${place} is ${value === undefined ? "missing" : kind}; it has to be ${wanted}`);
}

export const text: Reader<string> = (value, place) => {
  if (typeof value === "string") return value;
  throw wrong(value, place, "text");
};

export const number: Reader<number> = (value, place) => {
  if (typeof value === "number") return value;
  throw wrong(value, place, "a number");
};

export const flag: Reader<boolean> = (value, place) => {
  if (typeof value === "boolean") return value;
  throw wrong(value, place, "true or false");
};

export const oneOf =
  <T extends string>(...values: readonly T[]): Reader<T> =>
  (value, place) => {
    const found = values.find((known) => known === value);
    if (found !== undefined) return found;
    throw wrong(value, place, `one of ${values.join(", ")}`);
  };

export const nullable =
  <T>(read: Reader<T>): Reader<T | null> =>
  (value, place) =>
    value === null ? null : read(value, place);

export const optional =
  <T>(read: Reader<T>): Reader<T | undefined> =>
  (value, place) =>
    value === undefined ? undefined : read(value, place);

export const list =
  <T>(read: Reader<T>): Reader<readonly T[]> =>
  (value, place) => {
    if (!Array.isArray(value)) throw wrong(value, place, "a list");
    return value.map((item: unknown, i) => read(item, `${place}[${i}]`));
  };

/** Members that are not named are left out. */
export const object =
  <T extends object>(members: { readonly [K in keyof T]-?: Reader<T[K]> }): Reader<T> =>
  (value, place) => {
    if (!isFields(value)) throw wrong(value, place, "an object");
    const readers: readonly [string, Reader<unknown>][] = Object.entries(members);
    return Object.fromEntries(
      readers.map(([name, read]) => [name, read(value[name], `${place}.${name}`)]),
    ) as T;
  };
