// Tools as chat templates take them, and as a text of ours for templates that take none.
import { isRecord, omitUndefined, refer } from "#common";
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
  const reader = new TypeReader(tool?.parameters ?? {});
  return reader.read(reader.member(parameter));
}

/** `valueTypes` by the names of tools. */
export const typesIn =
  (tools: readonly Tool[]) =>
  (name: string, parameter: string): ValueTypes =>
    valueTypes(
      tools.find((tool) => tool.name === name),
      parameter,
    );

const recordOf = (value: unknown): Readonly<Record<string, unknown>> => (isRecord(value) ? value : {});
const listOf = (list: unknown): readonly unknown[] => (Array.isArray(list) ? list : []);

/** What describes a value that one of these describes, as far as they are there. */
function oneOfThese(schemas: readonly unknown[]): unknown {
  const anyOf = schemas.filter((one) => one !== undefined);
  return anyOf.length === 0 ? undefined : { anyOf };
}

/** Finds the kinds of values that schemas of a document allow. */
class TypeReader {
  readonly #root: unknown;
  /** Of what references refer to; undefined while that is being found out. */
  readonly #known = new Map<string, ValueTypes>();

  constructor(root: unknown) {
    this.#root = root;
  }

  /** A schema of a member of the root; undefined where no part of the root describes it. */
  member(name: string): unknown {
    const followed = new Set<string>();
    const find = (schema: unknown): unknown => {
      if (!isRecord(schema)) return undefined;
      const { properties, patternProperties, additionalProperties, allOf, $ref } = schema;
      const named = recordOf(properties);
      // a pattern of a client is not run: a member may have any of them
      const others = [...Object.values(recordOf(patternProperties)), additionalProperties].filter(isRecord);
      const isNew = typeof $ref === "string" && !followed.has($ref);
      if (isNew) followed.add($ref);
      const found = [
        Object.hasOwn(named, name) ? named[name] : oneOfThese(others),
        ...listOf(allOf).map(find),
        ...[schema["anyOf"], schema["oneOf"]].map((list) => oneOfThese(listOf(list).map(find))),
        isNew ? find(refer($ref, this.#root)) : undefined,
      ].filter((one) => one !== undefined);
      return found.length === 0 ? undefined : { allOf: found };
    };
    return find(this.#root);
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
    const types = this.read(refer(reference, this.#root));
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
