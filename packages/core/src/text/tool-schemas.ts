// Tools as chat templates take them, and as a text of ours for templates that take none.
import { isRecord, omitUndefined } from "#common";
import { type CallSyntax, writeCalls } from "./call-syntax.ts";
import { spacedJson } from "./json-text.ts";
import type { CustomTool, Tool } from "./messages.ts";
import { typeOf, type ValueTypes } from "./written-values.ts";

/** Key of a custom tool's text among the arguments of a function: models know functions only. */
export const INPUT_KEY = "input";

/** Parameters of a function that takes the text of a custom tool. */
function customParameters({ grammar }: CustomTool): Readonly<Record<string, unknown>> {
  const description =
    grammar &&
    `Text of this ${grammar.syntax === "lark" ? "Lark grammar" : "regular expression"}: ${grammar.definition}`;
  const input = { type: "string", ...omitUndefined({ description }) };
  return { type: "object", properties: { [INPUT_KEY]: input }, required: [INPUT_KEY] };
}

/** A tool in OpenAI's form, which chat templates take. */
export function toolSchema(tool: Tool) {
  const { name, description } = tool;
  const parameters =
    tool.type === "custom" ? customParameters(tool) : (tool.parameters ?? { type: "object", properties: {} });
  return { type: "function", function: { name, ...omitUndefined({ description }), parameters } } as const;
}

/** The kinds of values that a tool's parameter may have, as far as its schema says that. */
export function valueTypes(tool: Tool | undefined, parameter: string): ValueTypes {
  if (tool?.type === "custom") return new Set(["string"]);
  const root = tool?.parameters ?? {};
  const { properties, additionalProperties } = root;
  const isNamed = isRecord(properties) && Object.hasOwn(properties, parameter);
  return new TypeReader(root).read(isNamed ? properties[parameter] : additionalProperties);
}

const listOf = (list: unknown): readonly unknown[] => (Array.isArray(list) ? list : []);

/** Finds the kinds of values that schemas of a document allow. */
class TypeReader {
  readonly #root: unknown;
  /** Of what references refer to; undefined while that is being found out. */
  readonly #known = new Map<string, ValueTypes>();

  constructor(root: unknown) {
    this.#root = root;
  }

  read(schema: unknown): ValueTypes {
    if (!isRecord(schema)) return undefined;
    const { type, enum: values, anyOf, oneOf, allOf, $ref } = schema;
    const types = [type].flat().map((one) => (one === "integer" ? "number" : String(one)));
    return [
      type === undefined ? undefined : new Set(types),
      "const" in schema ? new Set([typeOf(schema["const"])]) : undefined,
      values === undefined ? undefined : new Set(listOf(values).map(typeOf)),
      this.#any(anyOf),
      this.#any(oneOf),
      ...listOf(allOf).map((one) => this.read(one)),
      typeof $ref === "string" ? this.#referred($ref) : undefined,
    ].reduce(inBoth);
  }

  #any(schemas: unknown): ValueTypes {
    const found = schemas === undefined ? [undefined] : listOf(schemas).map((one) => this.read(one));
    return found.includes(undefined) ? undefined : new Set(found.flatMap((one) => [...(one ?? [])]));
  }

  #referred(reference: string): ValueTypes {
    if (this.#known.has(reference)) return this.#known.get(reference);
    this.#known.set(reference, undefined);
    const keys = reference.split("/").slice(1);
    const schema = keys.reduce<unknown>((one, key) => (isRecord(one) ? one[key] : undefined), this.#root);
    const types = this.read(schema);
    this.#known.set(reference, types);
    return types;
  }
}

function inBoth(one: ValueTypes, other: ValueTypes): ValueTypes {
  if (one === undefined || other === undefined) return one ?? other;
  return new Set(Array.from(one).filter((type) => other.has(type)));
}

/** Our words for tools, where a template has none. */
export function describeTools(tools: readonly Tool[], syntax: CallSyntax): string {
  const example = { id: "000000000", name: "NAME", arguments: "{ARGUMENTS}" };
  return [
    "You can call these functions, one a line as JSON with the JSON Schema of its parameters:",
    "<tools>",
    ...tools.map((tool) => spacedJson(toolSchema(tool).function)),
    "</tools>",
    "To call a function, write its name and its arguments as JSON like this, and then end your answer:",
    writeCalls(syntax, [example]),
    syntax.isSingle ? "Call one at a time." : "Write as many calls as you need, one after the other.",
  ].join("\n");
}

/** Results of calls, where a template has no role for them. */
export const writeResult = (content: string): string => `<tool_response>\n${content}\n</tool_response>`;
