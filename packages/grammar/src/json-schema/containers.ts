import { not } from "#grammar";
import { arrayOf } from "./arrays.ts";
import type { Place } from "./budget.ts";
import type { Fields } from "./fields.ts";
import { type ObjectContext, objectOf, regionsOf } from "./objects.ts";
import type { SchemaReader } from "./reader.ts";
import { unsupported } from "./schema-errors.ts";
import {
  ANY_ARRAY,
  ANY_OBJECT,
  type ArrayShape,
  type Contained,
  EVERY_NAME,
  FALSE,
  type ObjectShape,
  type Region,
  type Term,
  TRUE,
} from "./shapes.ts";

/** What reading the keywords of arrays and objects needs. */
export interface ContainerContext {
  readonly reader: SchemaReader;
  readonly objects: ObjectContext;
  /** Whether to note which members and items a schema evaluates. */
  readonly tracks: boolean;
}

/** The arrays that the keywords of one schema allow, without `unevaluatedItems`. */
export function readArray(fields: Fields, { reader, tracks }: ContainerContext): ArrayShape | undefined {
  const { node } = fields;
  const isLegacy = Array.isArray(fields.get("items"));
  if (isLegacy && fields.has("prefixItems"))
    throw unsupported('is a list beside "prefixItems"', fields.place("items"));
  const [first, after] = isLegacy ? ["items", "additionalItems"] : ["prefixItems", "items"];
  const prefix = (fields.list(first) ?? []).map((schema, index) =>
    reader.child(node, { path: [first, index], schema }),
  );
  const rest = fields.schema(after);
  const contained = readContains(fields, reader);
  const evaluated = {
    count: rest === undefined ? prefix.length : Number.POSITIVE_INFINITY,
    values: contained.map(({ value }) => value),
  };
  return arrayOf({
    ...ANY_ARRAY,
    prefix,
    rest: rest === undefined ? TRUE : reader.child(node, rest),
    min: fields.count("minItems") ?? 0,
    max: fields.count("maxItems") ?? null,
    contains: contained,
    isUnique: fields.boolean("uniqueItems"),
    evaluated: tracks ? evaluated : undefined,
  });
}

function readContains(fields: Fields, reader: SchemaReader): readonly Contained[] {
  const min = fields.count("minContains") ?? 1;
  const max = fields.count("maxContains") ?? null;
  const contained = fields.schema("contains");
  return contained === undefined ? [] : [{ from: 0, value: reader.child(fields.node, contained), min, max }];
}

/** The objects that the keywords of one schema allow, without `propertyNames`, dependencies and `unevaluatedProperties`. */
export function readObject(fields: Fields, context: ContainerContext): ObjectShape | undefined {
  const { reader, objects, tracks } = context;
  const { node } = fields;
  const patterns = readPatterns(fields, context);
  const rest = fields.schema("additionalProperties");
  const other = rest === undefined ? TRUE : reader.child(node, rest);
  const properties = new Map<string, Term>();
  for (const [name, child] of fields.named("properties")) {
    const matching = patterns.filter(({ names }) => objects.languages.matches(names, name));
    const values = matching.map(({ value }) => value);
    properties.set(name, objects.terms.and(reader.child(node, child), ...values));
  }
  objects.budget.spend(1 + properties.size * (1 + patterns.length), fields.place("properties"));
  const evaluated = {
    all: rest !== undefined,
    names: new Set(properties.keys()),
    languages: patterns.map(({ names }) => names),
  };
  return objectOf(
    {
      properties,
      regions: splitNames(patterns, { other, objects, place: fields.place("patternProperties") }),
      required: new Set(fields.names("required")),
      min: fields.count("minProperties") ?? 0,
      max: fields.count("maxProperties") ?? null,
      witnesses: [],
      evaluated: tracks ? evaluated : undefined,
    },
    objects,
  );
}

function readPatterns(fields: Fields, { reader }: ContainerContext): readonly Region[] {
  return fields.named("patternProperties").map(([pattern, child]) => ({
    names: reader.pattern(pattern, fields.place("patternProperties")),
    value: reader.child(fields.node, child),
  }));
}

/** Regions by which patterns a name matches; names that match none have another value. */
function splitNames(
  patterns: readonly Region[],
  { other, objects, place }: { other: Term; objects: ObjectContext; place: Place },
): readonly Region[] {
  const { languages, terms, budget } = objects;
  let regions: readonly (Region & { readonly isMatched: boolean })[] = [
    { names: EVERY_NAME, value: TRUE, isMatched: false },
  ];
  for (const { names, value } of patterns) {
    budget.spend(10 * regions.length, place);
    const outside = not(names);
    regions = regions.flatMap((region) => {
      const inside = languages.intersect(region.names, names);
      const left = languages.intersect(region.names, outside);
      return [
        ...(inside === undefined
          ? []
          : [{ names: inside, value: terms.and(region.value, value), isMatched: true }]),
        ...(left === undefined ? [] : [{ ...region, names: left }]),
      ];
    });
    budget.checkAlternatives(regions.length, place);
  }
  return regions.map(({ names, value, isMatched }) => ({ names, value: isMatched ? value : other }));
}

/** Objects whose names are in a language. */
export const objectsWithNames = (names: Region["names"]): ObjectShape => ({
  ...ANY_OBJECT,
  regions: names === EVERY_NAME ? ANY_OBJECT.regions : regionsOf(names, TRUE, FALSE),
});
