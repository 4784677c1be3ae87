import fc from "fast-check";

/** Names and values of which there are few, so that keywords meet each other. */
const NAMES = ["a", "b", "ab", "c"];
const name = fc.constantFrom(...NAMES);

/** JSON values as the schemas below speak of. */
export const anyValue: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom<unknown>(null, true, false, 0, 1, 2, 3, 6, -1, 1.5, 2.25, 10, 12, 0.5),
    fc.constantFrom("", "a", "b", "ab", "aab", "c", "\u{1F600}", 'x"\n'),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(name, tie("value"), { maxKeys: 3 }),
  ),
})).value;

const optional = (fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<object> =>
  fc.record(fields, { requiredKeys: [] });

const small = fc.integer({ min: 0, max: 3 });
const types = fc.constantFrom("null", "boolean", "number", "integer", "string", "array", "object");

const CONDITION = ["if", "then", "else"];

/** Schemas of all keywords that say something about values; those within them are fewer and smaller. */
export const anySchema: fc.Arbitrary<unknown> = fc.letrec((tie) => {
  const schema = tie("schema");
  const schemas = fc.array(schema, { minLength: 1, maxLength: 3 });
  return {
    schema: fc.oneof(
      { depthSize: "small", maxDepth: 3, withCrossShrink: true },
      fc.boolean(),
      fc.record({ type: fc.oneof(types, fc.uniqueArray(types, { minLength: 1, maxLength: 3 })) }),
      fc.record({
        enum: fc.uniqueArray(anyValue, {
          minLength: 1,
          maxLength: 4,
          selector: (value) => JSON.stringify(value),
        }),
      }),
      fc.record({ const: anyValue }),
      optional({
        type: fc.constantFrom("number", "integer"),
        minimum: fc.constantFrom(-1, 0, 1, 1.5),
        exclusiveMinimum: fc.constantFrom(-1, 0, 1.5),
        maximum: fc.constantFrom(1, 2, 2.25, 10),
        exclusiveMaximum: fc.constantFrom(2, 2.25, 12),
        multipleOf: fc.constantFrom(1, 2, 3, 0.5, 0.25, 6),
      }),
      optional({
        minLength: small,
        maxLength: small,
        pattern: fc.constantFrom("^a", "b$", "^[ab]+$", "a", "^.$"),
      }),
      optional({
        prefixItems: fc.array(schema, { minLength: 1, maxLength: 2 }),
        items: schema,
        minItems: small,
        maxItems: small,
      }),
      // ajv takes the empty array for one that contains a value where there is `prefixItems`, and `unevaluatedItems` does not know
      // what `contains` has evaluated
      optional({ items: schema, contains: schema, minContains: small, maxContains: small }),
      optional({
        properties: fc.dictionary(name, schema, { maxKeys: 3 }),
        patternProperties: fc.dictionary(fc.constantFrom("^a", "b", "^c$"), schema, { maxKeys: 2 }),
        additionalProperties: schema,
        required: fc.uniqueArray(name, { maxLength: 2 }),
        propertyNames: fc.oneof(
          fc.constantFrom({ pattern: "a" }, { maxLength: 1 }, { enum: ["a", "c"] }),
          schema,
        ),
        minProperties: small,
        maxProperties: small,
        dependentRequired: fc.dictionary(name, fc.uniqueArray(name, { maxLength: 2 }), { maxKeys: 1 }),
        dependentSchemas: fc.dictionary(name, schema, { maxKeys: 1 }),
        unevaluatedProperties: schema,
      }),
      optional({ allOf: schemas, anyOf: schemas, type: types }),
      fc.record({ oneOf: schemas }),
      fc.record({ not: schema }),
      fc
        .tuple(schema, schema, schema)
        .map((parts) => Object.fromEntries(CONDITION.map((keyword, index) => [keyword, parts[index]]))),
      fc.constant({ $ref: "#/$defs/other" }),
    ),
  };
}).schema;
