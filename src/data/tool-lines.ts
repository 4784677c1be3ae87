// Tools and calls as lines of data have them: in OpenAI's shapes, or as functions alone, as ShareGPT's format and OpenAI's
// former one write them.
import { z } from "zod";
import { errorText, omitUndefined } from "#core";
import type { CustomTool, Tool } from "#text";
import { isRecord } from "./line-form.ts";

const text = z.string("a string");
/** OpenAI's limit, which servers keep, too. */
const toolName = z
  .string("a string")
  .regex(/^[a-zA-Z0-9_-]{1,64}$/, "a name of at most 64 letters, digits, underscores and hyphens");

/** More than any request may have. */
const MAX_TOOLS = 1000;
const MAX_CALLS = 128;

/** A list of limited length; its length comes first, as a schema of the items takes long for millions of them. */
export const boundedList = <T extends z.ZodType>(
  item: T,
  { what, max, least }: { readonly what: string; readonly max: number; readonly least?: string },
) =>
  z
    .custom<z.input<T>[]>(Array.isArray, `a list of ${what}`)
    .refine(({ length }) => length > 0 || least === undefined, `at least ${least}`)
    .refine(({ length }) => length <= max, `a list of at most ${max} ${what}`)
    .pipe(z.array(item));

/** The schema that fits the shape of a value, so that a problem is told for that shape. */
export const byShape = <Output>(choose: (value: unknown) => z.ZodType<Output>) =>
  z.unknown().transform((value, context): Output => {
    const parsed = choose(value).safeParse(value);
    if (parsed.success) return parsed.data;
    for (const { path, message } of parsed.error.issues)
      context.issues.push({ code: "custom", path: [...path], message, input: value });
    return z.NEVER;
  });

const has = (value: unknown, field: string): boolean => isRecord(value) && isRecord(value[field]);

// Tools.

const parameters = z
  .custom<Readonly<Record<string, unknown>>>(isRecord, "a JSON Schema, which is an object")
  .superRefine(({ type = "object" }, context) => {
    if (type !== "object") context.addIssue({ code: "custom", path: ["type"], message: '"object"' });
  });

const functionFields = z
  .object(
    {
      name: toolName,
      description: text.nullish(),
      parameters: parameters.nullish(),
      strict: z.boolean("true or false").nullish(),
    },
    "a function, with name and parameters",
  )
  .transform(
    ({ name, description, parameters: schema, strict }): Tool => ({
      type: "function",
      name,
      ...omitUndefined({
        description: description ?? undefined,
        parameters: schema ?? undefined,
        strict: strict ?? undefined,
      }),
    }),
  );

type Grammar = NonNullable<CustomTool["grammar"]>;
const grammarFormat = z
  .object({ grammar: z.object({ syntax: z.enum(["lark", "regex"], '"lark" or "regex"'), definition: text }) })
  .transform(({ grammar }): Grammar => grammar);
const textFormat = z
  .object({ type: z.literal("text", '"text" or "grammar"') })
  .transform((): undefined => undefined);

const customFields = z
  .object({
    name: toolName,
    description: text.nullish(),
    format: byShape<Grammar | undefined>((value) =>
      has(value, "grammar") ? grammarFormat : textFormat,
    ).nullish(),
  })
  .transform(
    ({ name, description, format }): Tool => ({
      type: "custom",
      name,
      ...omitUndefined({ description: description ?? undefined, grammar: format ?? undefined }),
    }),
  );

const tool = byShape<Tool>((value) => {
  if (has(value, "custom")) return z.object({ custom: customFields }).transform((one) => one.custom);
  if (has(value, "function")) return z.object({ function: functionFields }).transform((one) => one.function);
  return functionFields;
});

/** The tools of a line. */
export const toolList = boundedList(tool, { what: "tools", max: MAX_TOOLS });

/** A line whose tools are given as JSON, as ShareGPT's format and tables have them, with the tools themselves. */
export function withToolList(line: unknown): unknown {
  if (!isRecord(line)) return line;
  const given = line["tools"];
  if (typeof given !== "string") return line;
  return { ...line, tools: given.trim() === "" ? undefined : parsedOr(given) };
}

function parsedOr(given: string): unknown {
  try {
    return JSON.parse(given);
  } catch {
    return given;
  }
}

// Calls.

/** A call before it has an id. */
export type LineCall =
  | {
      readonly type: "function";
      readonly id: string | undefined;
      readonly name: string;
      readonly arguments: string;
    }
  | {
      readonly type: "custom";
      readonly id: string | undefined;
      readonly name: string;
      readonly input: string;
    };

/** JSON of an object; the object itself is what some data sets have. */
const argumentsText = z.unknown().transform((given, context): string => {
  if (isRecord(given)) return JSON.stringify(given);
  const reason = typeof given === "string" ? findProblem(given) : "";
  if (typeof given === "string" && reason === undefined) return given;
  context.issues.push({ code: "custom", message: `an object as JSON${reason}`, input: given });
  return z.NEVER;
});

function findProblem(json: string): string | undefined {
  try {
    return isRecord(JSON.parse(json)) ? undefined : "";
  } catch (error) {
    return ` (${errorText(error)})`;
  }
}

const functionCall = z
  .object({ id: text.nullish(), name: text, arguments: argumentsText }, "a call, with name and arguments")
  .transform(({ id, ...rest }): LineCall => ({ type: "function", id: id ?? undefined, ...rest }));

const call = byShape<LineCall>((value) => {
  if (has(value, "custom"))
    return z
      .object({ id: text.nullish(), custom: z.object({ name: text, input: text }) })
      .transform(({ id, custom }) => ({ type: "custom", id: id ?? undefined, ...custom }));
  if (has(value, "function"))
    return z
      .object({ id: text.nullish(), function: functionCall })
      .transform(({ id, function: one }) => ({ ...one, id: id ?? undefined }));
  return functionCall;
});

/** The calls of a message. */
export const callList = boundedList(call, { what: "calls", max: MAX_CALLS });

/** The only call of a message, in OpenAI's former format. */
export const formerCall = functionCall;

/** Calls that are a message's text: the JSON of one, or of a list. */
export const callText = text.transform((given, context): readonly LineCall[] => {
  const value = parsedOr(given);
  const parsed = callList.safeParse(Array.isArray(value) ? value : [value]);
  if (parsed.success && parsed.data.length > 0) return parsed.data;
  context.issues.push({
    code: "custom",
    message: 'a call as JSON: {"name": …, "arguments": {…}}, or a list of them',
    input: given,
  });
  return z.NEVER;
});
