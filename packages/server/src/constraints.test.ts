import { z } from "@hono/zod-openapi";
import { expect, test } from "vitest";
import { readConstraint, structuredFields } from "./constraints.ts";
import type { ApiError } from "./errors.ts";
import { checkedBy } from "./request.ts";

const request = z.strictObject(structuredFields);

function read(fields: object) {
  const result = request.safeParse(fields);
  checkedBy(request)(result.success ? result : { ...result, data: fields });
  return readConstraint(request.parse(fields));
}

function refusal(fields: object) {
  try {
    read(fields);
  } catch (error) {
    const { message, details } = error as ApiError;
    return { message, param: details.param, code: details.code };
  }
  throw new Error("the fields were taken");
}

const schema = { type: "object", properties: { a: { const: null } } };

test.each([
  [{}, undefined],
  [{ response_format: { type: "text" } }, undefined],
  [
    { response_format: { type: "json_object" } },
    { field: "response_format", responseFormat: { type: "json_object" } },
  ],
  [
    {
      response_format: {
        type: "json_schema",
        json_schema: { name: "n", description: "d", strict: true, schema },
      },
    },
    {
      field: "response_format",
      responseFormat: { type: "json_schema", name: "n", description: "d", strict: true, schema },
    },
  ],
  [
    { response_format: { type: "json_schema", json_schema: { name: "any" } } },
    { field: "response_format", responseFormat: { type: "json_schema", name: "any", schema: {} } },
  ],
  [
    { response_format: { type: "json_object", schema } },
    { field: "response_format", responseFormat: { type: "json_schema", schema } },
  ],
  [
    { structured_outputs: { json: schema } },
    { field: "structured_outputs.json", grammar: { type: "json_schema", schema, whitespace: "compact" } },
  ],
  [
    {
      structured_outputs: {
        json: JSON.stringify(schema),
        disable_any_whitespace: false,
        disable_fallback: true,
      },
    },
    { field: "structured_outputs.json", grammar: { type: "json_schema", schema, whitespace: "flexible" } },
  ],
  [
    { structured_outputs: { regex: "[a-z]+" } },
    { field: "structured_outputs.regex", grammar: { type: "regex", pattern: "[a-z]+" } },
  ],
  [
    { structured_outputs: { choice: ["yes", "no"] } },
    { field: "structured_outputs.choice", grammar: { type: "choice", choices: ["yes", "no"] } },
  ],
  [
    { structured_outputs: { grammar: 'root ::= "a"' } },
    { field: "structured_outputs.grammar", grammar: { type: "gbnf", text: 'root ::= "a"' } },
  ],
  [
    { structured_outputs: { grammar: 'start: "a"' } },
    { field: "structured_outputs.grammar", grammar: { type: "lark", text: 'start: "a"' } },
  ],
  [
    { structured_outputs: { json_object: true } },
    { field: "structured_outputs.json_object", grammar: { type: "json_object", whitespace: "compact" } },
  ],
  [{ grammar: 'root ::= "a"' }, { field: "grammar", grammar: { type: "gbnf", text: 'root ::= "a"' } }],
  [
    { json_schema: schema },
    { field: "json_schema", grammar: { type: "json_schema", schema, whitespace: "compact" } },
  ],
])("%j is read", (fields, constraint) => {
  expect(read(fields)).toEqual(constraint);
});

test.each([
  ["json_schema", { response_format: { type: "json_object" }, json_schema: schema }],
  ["structured_outputs.regex", { structured_outputs: { json: schema, regex: "a" } }],
  ["grammar", { structured_outputs: { choice: ["a"] }, grammar: 'root ::= "a"' }],
])("two forms at once are refused: %s", (param, fields) => {
  expect(refusal(fields)).toMatchObject({ param, code: "invalid_value" });
});

test.each([
  ["structured_outputs", { structured_outputs: {} }],
  ["structured_outputs", { structured_outputs: { json_object: false } }],
  ["structured_outputs.json", { structured_outputs: { json: "{" } }],
  ["structured_outputs.choice", { structured_outputs: { choice: [] } }],
  ["response_format.type", { response_format: { type: "xml" } }],
  [
    "response_format.json_schema.name",
    { response_format: { type: "json_schema", json_schema: { name: "a b", schema } } },
  ],
])("%s is refused in %j", (param, fields) => {
  expect(refusal(fields)).toMatchObject({ param, code: "invalid_value" });
});

test("an error lists the types of a format", () => {
  expect(refusal({ response_format: { type: "xml" } })?.message).toContain(
    'is "xml"; expected "text" or "json_object" or "json_schema"',
  );
});

test.each([
  ["guided_json", { guided_json: schema }, "structured_outputs.json"],
  ["guided_regex", { guided_regex: "a" }, "structured_outputs.regex"],
  ["guided_choice", { guided_choice: ["a"] }, "structured_outputs.choice"],
  ["guided_grammar", { guided_grammar: "a" }, "structured_outputs.grammar"],
  ["guided_decoding_backend", { guided_decoding_backend: "xgrammar" }, "structured_outputs without"],
  [
    "structured_outputs.whitespace_pattern",
    { structured_outputs: { json: schema, whitespace_pattern: " ?" } },
    "disable_any_whitespace",
  ],
  ["structured_outputs.structural_tag", { structured_outputs: { structural_tag: "{}" } }, "tools"],
])("%s is refused, and the error says what to send", (param, fields, advice) => {
  const { message, ...named } = refusal(fields);
  expect(named).toEqual({ param, code: "unsupported_parameter" });
  expect(message).toContain(`${param} is not supported by this server; send ${advice}`);
});
