/** What happens to a keyword of a schema: it is enforced, says nothing about values, or is refused by name. */
export type KeywordStatus =
  | "enforced"
  | "annotation"
  | "refused"
  /** Enforced in these cases, and refused by name in all others. */
  | { readonly partly: string };

const NEGATED = "of all keywords but `uniqueItems`, while alternatives are at most 4,096";

/** Every keyword of drafts 3 to 2020-12. Others are annotations, as the specification says. */
export const KEYWORDS: ReadonlyMap<string, KeywordStatus> = new Map<string, KeywordStatus>([
  // all types
  ["type", "enforced"],
  ["enum", "enforced"],
  ["const", "enforced"],
  ["allOf", "enforced"],
  ["anyOf", "enforced"],
  ["oneOf", { partly: "where its schemas exclude each other, or as `not`" }],
  ["not", { partly: NEGATED }],
  ["if", { partly: "as `not`" }],
  ["then", "enforced"],
  ["else", "enforced"],
  ["$ref", { partly: "within the schema, not to other documents" }],
  ["$dynamicRef", { partly: "within the schema" }],
  ["$recursiveRef", { partly: "where one `$recursiveAnchor` at most is in the schema" }],
  ["$defs", "enforced"],
  ["definitions", "enforced"],
  ["$id", "enforced"],
  ["id", "enforced"],
  ["$anchor", "enforced"],
  ["$dynamicAnchor", "enforced"],
  ["$recursiveAnchor", "enforced"],
  // numbers
  ["minimum", "enforced"],
  ["maximum", "enforced"],
  ["exclusiveMinimum", "enforced"],
  ["exclusiveMaximum", "enforced"],
  [
    "multipleOf",
    {
      partly:
        "products of 2, 5 and one of 3, 7 and 9, whole or as decimals; all where bounds leave at most 10,000 multiples",
    },
  ],
  // strings
  ["minLength", "enforced"],
  ["maxLength", "enforced"],
  ["pattern", { partly: "all but backreferences, and lookarounds and `\\b` within an unlimited repeat" }],
  ["format", { partly: "those below; others are refused" }],
  // arrays
  ["prefixItems", "enforced"],
  ["items", "enforced"],
  ["additionalItems", "enforced"],
  ["minItems", "enforced"],
  ["maxItems", "enforced"],
  ["contains", { partly: "where few items must be counted" }],
  ["minContains", { partly: "as `contains`" }],
  ["maxContains", { partly: "as `contains`" }],
  ["uniqueItems", { partly: "where there is at most one item, or items have at most 8 possible values" }],
  ["unevaluatedItems", { partly: "beside at most six schemas in one `anyOf`" }],
  // objects
  ["properties", "enforced"],
  ["patternProperties", "enforced"],
  ["additionalProperties", "enforced"],
  ["required", "enforced"],
  ["propertyNames", "enforced"],
  ["minProperties", { partly: "with at most 100,000 combinations of optional members and their number" }],
  ["maxProperties", { partly: "as `minProperties`" }],
  ["dependentRequired", "enforced"],
  ["dependentSchemas", "enforced"],
  ["dependencies", "enforced"],
  ["unevaluatedProperties", { partly: "beside at most six schemas in one `anyOf`" }],
  // annotations
  ["$schema", "annotation"],
  ["$vocabulary", "annotation"],
  ["$comment", "annotation"],
  ["title", "annotation"],
  ["description", "annotation"],
  ["default", "annotation"],
  ["examples", "annotation"],
  ["deprecated", "annotation"],
  ["readOnly", "annotation"],
  ["writeOnly", "annotation"],
  ["contentEncoding", "annotation"],
  ["contentMediaType", "annotation"],
  ["contentSchema", "annotation"],
  ["nullable", "annotation"],
  ["discriminator", "annotation"],
  // earlier drafts
  ["extends", "refused"],
  ["disallow", "refused"],
  ["divisibleBy", "refused"],
]);

/** Whether a keyword says nothing about values. */
export const isAnnotation = (keyword: string): boolean =>
  (KEYWORDS.get(keyword) ?? "annotation") === "annotation";

/** Keywords whose value is a schema, a list of schemas, or an object of schemas. */
export const SUBSCHEMAS: Readonly<Record<"one" | "list" | "map", ReadonlySet<string>>> = {
  one: new Set([
    "not",
    "if",
    "then",
    "else",
    "items",
    "additionalItems",
    "contains",
    "additionalProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
  ]),
  list: new Set(["allOf", "anyOf", "oneOf", "prefixItems", "items"]),
  map: new Set([
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
    "dependencies",
  ]),
};

/** Keywords that neither say anything about values nor keep a `$ref` beside them from being the whole schema. */
export const IDENTIFIERS: ReadonlySet<string> = new Set([
  "$id",
  "id",
  "$anchor",
  "$dynamicAnchor",
  "$recursiveAnchor",
  "$defs",
  "definitions",
]);
