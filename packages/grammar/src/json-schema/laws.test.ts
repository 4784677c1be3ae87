import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { GrammarError } from "#grammar";
import { Membership } from "../../test/membership.ts";
import { anySchema, anyValue } from "../../test/random-schemas.ts";
import { Recognizer } from "../../test/recognize.ts";
import { compileSchema } from "./compile.ts";
import { CyclicSchemaError } from "./schema-errors.ts";

const ajv = new Ajv2020({ strict: false, logger: false, validateFormats: false });
const RUNS = process.env["MOS_TEST_RUNS"] === "all" ? 20_000 : 100;

/** A schema with another one for its references, and values to try. */
const cases = fc
  .record({
    schema: anySchema,
    other: anySchema,
    values: fc.array(anyValue, { minLength: 5, maxLength: 20 }),
  })
  .map((one): typeof one => JSON.parse(JSON.stringify(one)));

/** Only a member of what may have no members leads to the reference without end. */
const ENDLESS = JSON.parse(`{
  "schema": { "items": { "not": true }, "contains": { "items": { "$ref": "#/$defs/other" } } },
  "other": { "if": false, "then": { "allOf": [{ "$ref": "#/$defs/other" }] } },
  "values": [[[null]]]
}`);

/** The answer of `judge`, or of `other` where it meets a reference without end that nothing written can reach. */
function unlessEndless(judge: () => boolean, other: () => boolean): boolean {
  try {
    return judge();
  } catch (error) {
    if (error instanceof CyclicSchemaError) return other();
    throw error;
  }
}

/** Tells of one schema what its values are: by ajv, by its shapes and by its grammar. Undefined where the schema is refused. */
function judges(schema: object) {
  try {
    const recognizer = new Recognizer(compileSchema(schema, { limits: { time: 10_000 } }));
    const membership = new Membership(schema);
    const validate = ajv.compile(schema);
    return {
      isValid: (value: unknown): boolean => validate(value),
      has: (value: unknown): boolean =>
        unlessEndless(
          () => membership.has(value),
          () => validate(value),
        ),
      isWritten: (value: unknown): boolean => recognizer.accepts(JSON.stringify(value)),
    };
  } catch (error) {
    // refused, or a reference without end
    if (error instanceof GrammarError || error instanceof RangeError) return undefined;
    throw error;
  }
}

test("shapes have the values that ajv allows, and grammars no others", () => {
  const counts = { compiled: 0, valid: 0, written: 0 };
  fc.assert(
    fc.property(cases, ({ schema, other, values }) => {
      const judge = judges({ allOf: [schema], $defs: { other } });
      if (judge === undefined) return;
      counts.compiled++;
      for (const value of values) {
        const isValid = judge.isValid(value);
        expect({ value, has: judge.has(value) }).toEqual({ value, has: isValid });
        const isWritten = judge.isWritten(value);
        if (isWritten) expect({ value, isValid }).toEqual({ value, isValid: true });
        counts.valid += isValid ? 1 : 0;
        counts.written += isWritten ? 1 : 0;
      }
    }),
    { numRuns: RUNS, examples: [[ENDLESS]] },
  );
  // only the order of members may keep a value from being written
  expect(counts.written).toBeGreaterThan(0.95 * counts.valid);
  expect(counts.compiled).toBeGreaterThan(0.7 * RUNS);
});
