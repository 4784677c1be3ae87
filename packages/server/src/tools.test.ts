import { z } from "@hono/zod-openapi";
import { describe, expect, test } from "vitest";
import type { ApiError } from "./errors.ts";
import { checkedBy } from "./request.ts";
import { readTools, toolFields } from "./tools.ts";

const schema = z.strictObject(toolFields);

function read(fields: object) {
  const result = schema.safeParse(fields);
  checkedBy(schema)(result.success ? result : { ...result, data: fields });
  return readTools(schema.parse(fields));
}

/** Details of the error that these fields end in. */
function refusal(fields: object): {
  readonly message: string;
  readonly param?: string;
  readonly code?: string;
} {
  try {
    read(fields);
  } catch (error) {
    const { message, details } = error as ApiError;
    const { param = "", code = "" } = details;
    return { message, param, code };
  }
  throw new Error("the fields were taken");
}

const makeFunction = (name: string, more: object = {}) => ({ type: "function", function: { name, ...more } });
const [f, g] = [makeFunction("f"), makeFunction("g")];
const text = { type: "custom", custom: { name: "t", format: { type: "text" } } };
const grammar = { syntax: "regex", definition: "[a-z]+" };
const word = { type: "custom", custom: { name: "w", format: { type: "grammar", grammar } } };

describe("tools", () => {
  test("are functions and custom tools, with what the request says of them", () => {
    const parameters = { type: "object", properties: { a: { const: null } } };
    const tools = [makeFunction("f", { description: "d", parameters, strict: true }), text, word];
    expect(read({ tools }).tools).toEqual([
      { type: "function", name: "f", description: "d", parameters, strict: true },
      { type: "custom", name: "t", description: undefined },
      { type: "custom", name: "w", description: undefined, grammar },
    ]);
  });

  test("without a type of their parameters take an object", () => {
    const [first, second] = read({ tools: [makeFunction("f", { parameters: {} }), g] }).tools;
    expect([first, second]).toMatchObject([{ parameters: { type: "object" } }, { name: "g" }]);
    expect(second).not.toHaveProperty("parameters");
  });

  test.each([
    ["tools[1].function.name", "invalid_value", [f, f]],
    ["tools.0.function.name", "invalid_value", [makeFunction("a b")]],
    ["tools.0.function.name", "invalid_value", [makeFunction("a".repeat(65))]],
    ["tools.0.custom.name", "invalid_value", [{ type: "custom", custom: { name: "" } }]],
    [
      "tools[0].function.parameters",
      "invalid_function_parameters",
      [makeFunction("f", { parameters: { type: "array" } })],
    ],
    ["tools.0.type", "invalid_value", [{ type: "web_search" }]],
    ["tools.0.function.strange", "unknown_parameter", [makeFunction("f", { strange: 1 })]],
    ["tools", "invalid_value", Array.from({ length: 1001 }, (_, i) => makeFunction(`f${i}`))],
  ])("%s is refused as %s", (param, code, tools) => {
    expect(refusal({ tools })).toMatchObject({ param, code });
  });
});

describe("the choice between tools", () => {
  const tools = [f, g, text];
  const allowed = (mode: string, ...listed: object[]) => ({
    tool_choice: { type: "allowed_tools", allowed_tools: { mode, tools: listed } },
  });

  test.each([
    [{}, { mode: "auto" }, { isNamed: false, parallel: true }],
    [{ tool_choice: "none" }, { mode: "none" }, {}],
    [{ tool_choice: "required", parallel_tool_calls: false }, { mode: "required" }, { parallel: false }],
    [{ tool_choice: f }, { mode: "required", names: ["f"] }, { isNamed: true, parallel: false }],
    [
      { tool_choice: { type: "custom", custom: { name: "t" } } },
      { mode: "required", names: ["t"] },
      { isNamed: true },
    ],
    [allowed("auto", f, g), { mode: "auto", names: ["f", "g"] }, { isNamed: false, parallel: true }],
    [allowed("required", f, f), { mode: "required", names: ["f"] }, { isNamed: false }],
  ])("%j is %j", (fields, choice, more) => {
    expect(read({ tools, ...fields })).toMatchObject({ choice, ...more });
  });

  test.each([
    ["tool_choice", { tools, tool_choice: makeFunction("h") }],
    ["tool_choice", { tools, tool_choice: makeFunction("t") }],
    ["tool_choice", { tools, ...allowed("auto", f, makeFunction("h")) }],
    ["tool_choice", { tool_choice: "required" }],
    ["tool_choice", { tools: [], tool_choice: f }],
    ["tool_choice", { functions: [{ name: "f" }], tool_choice: f }],
    ["function_call", { tools, function_call: { name: "f" } }],
    ["functions", { tools, functions: [{ name: "f" }] }],
    ["tool_choice", { tools, tool_choice: "always" }],
  ])("%s is refused in %j", (param, fields) => {
    expect(refusal(fields)).toMatchObject({ param, code: "invalid_value" });
  });

  test("is none without tools, whatever neutral value the request has", () => {
    for (const fields of [{}, { tools: [], tool_choice: "auto", functions: [], function_call: "none" }])
      expect(read(fields)).toMatchObject({ tools: [], choice: { mode: "none" } });
  });
});

test("the older form is read as tools, of which one is called at a time", () => {
  const functions = [{ name: "f", parameters: { type: "object" } }];
  expect(read({ functions, function_call: { name: "f" } })).toMatchObject({
    tools: [{ type: "function", name: "f" }],
    choice: { mode: "required", names: ["f"] },
    parallel: false,
    isLegacy: true,
  });
  expect(read({ functions, tools: [], tool_choice: "auto" })).toMatchObject({ choice: { mode: "auto" } });
  expect(refusal({ functions: [...functions, ...functions] })).toMatchObject({ param: "functions[1].name" });
});
