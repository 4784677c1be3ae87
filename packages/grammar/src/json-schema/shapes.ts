import { ANY, type Regex, repeat } from "#grammar";
import { ANY_NUMBER, type NumberRange } from "./numbers.ts";
import { ANY_STRING, NO_STRING, type StringSet } from "./strings.ts";

/** A set of JSON values that is not yet looked into, by its index among {@link Terms}. */
export type Term = number;

/** Every value. */
export const TRUE: Term = 0;
/** No value. */
export const FALSE: Term = 1;

/** Names of members, and the values that they have. */
export interface Region {
  readonly names: Regex;
  readonly value: Term;
}

/** Which members of an object or items of an array some schema has evaluated, for `unevaluatedProperties` and `unevaluatedItems`. */
export interface EvaluatedNames {
  readonly all: boolean;
  readonly names: ReadonlySet<string>;
  readonly languages: readonly Regex[];
}

/** A set of objects. */
export interface ObjectShape {
  /** Values of members by name, in the order in which they are written. */
  readonly properties: ReadonlyMap<string, Term>;
  /** Values of all other members. The languages of names have nothing in common, and together contain every name. */
  readonly regions: readonly Region[];
  readonly required: ReadonlySet<string>;
  readonly min: number;
  readonly max: number | null;
  /** Members of which there must be at least one each. */
  readonly witnesses: readonly Region[];
  readonly evaluated?: EvaluatedNames | undefined;
}

/** Items of which an array has so many from an index on. */
export interface Contained {
  readonly from: number;
  readonly value: Term;
  readonly min: number;
  readonly max: number | null;
}

/** Items that some schema has evaluated: the first ones, and those in a set of values. */
export interface EvaluatedItems {
  readonly count: number;
  readonly values: readonly Term[];
}

/** A set of arrays. */
export interface ArrayShape {
  readonly prefix: readonly Term[];
  /** Values of the items after the prefix. */
  readonly rest: Term;
  readonly min: number;
  readonly max: number | null;
  readonly contains: readonly Contained[];
  readonly isUnique: boolean;
  readonly evaluated?: EvaluatedItems | undefined;
}

/** A set of JSON values, type by type. */
export interface Shape {
  readonly hasNull: boolean;
  readonly booleans: readonly boolean[];
  readonly numbers: readonly NumberRange[];
  readonly strings: StringSet;
  readonly arrays: readonly ArrayShape[];
  readonly objects: readonly ObjectShape[];
}

/** Every name; compared by identity. */
export const EVERY_NAME = repeat(ANY);

export const ANY_ARRAY: ArrayShape = {
  prefix: [],
  rest: TRUE,
  min: 0,
  max: null,
  contains: [],
  isUnique: false,
};

export const ANY_OBJECT: ObjectShape = {
  properties: new Map(),
  regions: [{ names: EVERY_NAME, value: TRUE }],
  required: new Set(),
  min: 0,
  max: null,
  witnesses: [],
};

export const NO_SHAPE: Shape = {
  hasNull: false,
  booleans: [],
  numbers: [],
  strings: NO_STRING,
  arrays: [],
  objects: [],
};

export const ANY_SHAPE: Shape = {
  hasNull: true,
  booleans: [true, false],
  numbers: [ANY_NUMBER],
  strings: ANY_STRING,
  arrays: [ANY_ARRAY],
  objects: [ANY_OBJECT],
};
