/** What happens to a keyword of a schema: it is enforced, says nothing about values, or is refused by name. */
export type KeywordStatus =
  | "enforced"
  | "annotation"
  | "refused"
  /** Enforced in these cases, and refused by name in all others. */
  | { readonly partly: string };

const NEGATED = "of all keywords but `uniqueItems`, while alternatives are at most 4,096";

/** One status of keywords that are separated by blanks. */
const each = (status: KeywordStatus, keywords: string): readonly (readonly [string, KeywordStatus])[] =>
  keywords.split(" ").map((keyword) => [keyword, status]);

/** Every keyword of drafts 3 to 2020-12. Others are annotations, as the specification says. */
export const KEYWORDS: ReadonlyMap<string, KeywordStatus> = new Map<string, KeywordStatus>([
  // all types
  ...each("enforced", "type enum const allOf anyOf"),
  ["oneOf", { partly: "where its schemas exclude each other, or as `not`" }],
  ["not", { partly: NEGATED }],
  ["if", { partly: "as `not`" }],
  ...each("enforced", "then else"),
  ["$ref", { partly: "within the schema, not to other documents" }],
  ["$dynamicRef", { partly: "within the schema" }],
  ["$recursiveRef", { partly: "where one `$recursiveAnchor` at most is in the schema" }],
  ...each("enforced", "$defs definitions $id id $anchor $dynamicAnchor $recursiveAnchor"),
  // numbers
  ...each("enforced", "minimum maximum exclusiveMinimum exclusiveMaximum"),
  [
    "multipleOf",
    {
      partly:
        "products of 2, 5 and one of 3, 7 and 9, whole or as decimals; all where bounds leave at most 10,000 multiples",
    },
  ],
  // strings
  ...each("enforced", "minLength maxLength"),
  ["pattern", { partly: "all but backreferences, and lookarounds and `\\b` within an unlimited repeat" }],
  ["format", { partly: "those below; others are refused" }],
  // arrays
  ...each("enforced", "prefixItems items additionalItems minItems maxItems"),
  ["contains", { partly: "where few items must be counted" }],
  ...each({ partly: "as `contains`" }, "minContains maxContains"),
  ["uniqueItems", { partly: "where there is at most one item, or items have at most 8 possible values" }],
  ["unevaluatedItems", { partly: "beside at most six schemas in one `anyOf`" }],
  // objects
  ...each("enforced", "properties patternProperties additionalProperties required propertyNames"),
  ["minProperties", { partly: "with at most 100,000 combinations of optional members and their number" }],
  ["maxProperties", { partly: "as `minProperties`" }],
  ...each("enforced", "dependentRequired dependentSchemas dependencies"),
  ["unevaluatedProperties", { partly: "beside at most six schemas in one `anyOf`" }],
  // annotations
  ...each("annotation", "$schema $vocabulary $comment title description default examples deprecated"),
  ...each("annotation", "readOnly writeOnly contentEncoding contentMediaType contentSchema"),
  ...each("annotation", "nullable discriminator"),
  // earlier drafts
  ...each("refused", "extends disallow divisibleBy"),
]);

/** Whether a keyword says nothing about values. */
export const isAnnotation = (keyword: string): boolean =>
  (KEYWORDS.get(keyword) ?? "annotation") === "annotation";

/** Keywords that are separated by blanks. */
export const keywordSet = (keywords: string): ReadonlySet<string> => new Set(keywords.split(" "));

/** Keywords whose value is a schema, a list of schemas, or an object of schemas. */
export const SUBSCHEMAS: Readonly<Record<"one" | "list" | "map", ReadonlySet<string>>> = {
  one: keywordSet(
    "not if then else items additionalItems contains additionalProperties propertyNames unevaluatedItems unevaluatedProperties contentSchema",
  ),
  list: keywordSet("allOf anyOf oneOf prefixItems items"),
  map: keywordSet("properties patternProperties $defs definitions dependentSchemas dependencies"),
};

/** Keywords that neither say anything about values nor keep a `$ref` beside them from being the whole schema. */
const IDENTIFIERS = keywordSet("$id id $anchor $dynamicAnchor $recursiveAnchor $defs definitions");

/** The keywords of a schema that say something about values. */
export const assertionsOf = (schema: Readonly<Record<string, unknown>>): readonly string[] =>
  Object.keys(schema).filter((keyword) => !isAnnotation(keyword) && !IDENTIFIERS.has(keyword));
