// Functions of the Berkeley Function Calling Leaderboard as tools: Python's types in JSON Schema.
import type { RenderTools } from "../questions.ts";
import { type BfclFunction, toolName } from "./bfcl-rules.ts";

/** Types of JSON Schema; "any" is checked as a text. */
const TYPES: Readonly<Record<string, string>> = {
  dict: "object",
  float: "number",
  tuple: "array",
  any: "string",
};

type FunctionTool = Extract<RenderTools[number], { readonly type: "function" }>;
type Schema = Readonly<Record<string, unknown>>;

const isSchema = (value: unknown): value is Schema =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Keywords that mean in JSON Schema what they do in the benchmark. */
const KEPT = ["description", "enum", "default", "required", "minimum", "maximum"] as const;

function toSchema(given: Schema): Schema {
  const { type, properties, items } = given;
  const schema: Record<string, unknown> = {};
  if (typeof type === "string") schema["type"] = TYPES[type] ?? type;
  for (const keyword of KEPT) if (given[keyword] !== undefined) schema[keyword] = given[keyword];
  if (isSchema(properties)) {
    schema["properties"] = Object.fromEntries(
      Object.entries(properties).map(([name, one]) => [name, isSchema(one) ? toSchema(one) : one]),
    );
    schema["additionalProperties"] = false; // the rules refuse them
  }
  if (isSchema(items)) schema["items"] = toSchema(items);
  return schema;
}

/** A function of the benchmark as a tool, whose name has no dots. */
export function bfclTool({ name, description, parameters }: BfclFunction): FunctionTool {
  return {
    type: "function",
    name: toolName(name),
    ...(typeof description === "string" ? { description } : {}),
    parameters: toSchema(parameters),
  };
}
