// Tools and calls as lines of data have them: in OpenAI's shapes, or as functions alone, as ShareGPT's format and OpenAI's
// former one write them.
import { z } from "zod";
import { isRecord, tryJson } from "#common";
import {
  callArguments,
  customFields,
  customFormat,
  functionFields,
  MAX_TOOLS,
  type Tool,
  toCustomTool,
  toFunctionTool,
} from "#text";

const text = z.string("a string");

/** More than any message has. */
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

const functionTool = z
  .object(functionFields, "a function, with name and parameters")
  .superRefine(({ parameters }, context) => {
    if ((parameters?.["type"] ?? "object") !== "object")
      context.addIssue({ code: "custom", path: ["parameters", "type"], message: '"object"' });
  })
  .transform(toFunctionTool);

const customTool = z
  .object({ ...customFields, format: customFormat.nullish() })
  .transform(({ format, ...rest }) =>
    toCustomTool(rest, format?.type === "grammar" ? format.grammar : undefined),
  );

const tool = byShape<Tool>((value) => {
  if (has(value, "custom")) return z.object({ custom: customTool }).transform((one) => one.custom);
  if (has(value, "function")) return z.object({ function: functionTool }).transform((one) => one.function);
  return functionTool;
});

/** The tools of a line. */
export const toolList = boundedList(tool, { what: "tools", max: MAX_TOOLS });

/** A line whose tools are given as JSON, as ShareGPT's format and tables have them, with the tools themselves. */
export function withToolList(line: unknown): unknown {
  if (!isRecord(line)) return line;
  const given = line["tools"];
  if (typeof given !== "string") return line;
  return { ...line, tools: given.trim() === "" ? undefined : (tryJson(given) ?? given) };
}

// Calls.

const functionCall = z
  .object({ id: text.nullish(), name: text, arguments: callArguments }, "a call, with name and arguments")
  .transform(({ id, ...rest }) => ({ type: "function" as const, id: id ?? undefined, ...rest }));

const customCall = z
  .object({ id: text.nullish(), custom: z.object({ name: text, input: text }) })
  .transform(({ id, custom }) => ({ type: "custom" as const, id: id ?? undefined, ...custom }));

/** A call before it has an id. */
export type LineCall = z.output<typeof functionCall | typeof customCall>;

const call = byShape<LineCall>((value) => {
  if (has(value, "custom")) return customCall;
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
  const value = tryJson(given) ?? given;
  const parsed = callList.safeParse(Array.isArray(value) ? value : [value]);
  if (parsed.success && parsed.data.length > 0) return parsed.data;
  const message = 'a call as JSON: {"name": …, "arguments": {…}}, or a list of them';
  context.issues.push({ code: "custom", message, input: given });
  return z.NEVER;
});
