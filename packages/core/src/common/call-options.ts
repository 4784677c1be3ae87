// The options of a call in plain JavaScript, which no compiler has checked: their names, and the kinds of their values.

import { MosError } from "mixture-of-shards-graph/common";
import { z } from "zod";
import { isRecord } from "./json.ts";
import { expected, type Settings, show } from "./settings.ts";
import { unknownName } from "./similar-name.ts";

/** Schemas of options by name; a table is an object of these settings. */
export type OptionKinds<O extends object> = { readonly [K in keyof Required<O>]: z.ZodType | Settings };

const kind = (what: string, accepts: (value: unknown) => boolean) =>
  z.custom<unknown>(accepts).describe(what);

/** Values that something else looks into. */
export const kinds = {
  number: kind("a number", (value) => typeof value === "number"),
  object: kind("an object", isRecord),
  array: kind("an array", Array.isArray),
  function: kind("a function", (value) => typeof value === "function"),
} as const;

/** Options of calls that may download a model or data. */
export const locateKinds = {
  hub: kinds.object.optional(),
  signal: kinds.object.optional(),
  onDownload: kinds.function.optional(),
};

/**
 * Checks the options of a call.
 *
 * @param call The name of the function, for messages.
 * @throws MosError `bad_option` that names the option, what was given, and what would be accepted.
 */
export function checkCall<O extends object>(call: string, options: O, schemas: OptionKinds<O>): void {
  const known = Object.entries<z.ZodType | Settings>(schemas);
  if (!isRecord(options))
    throw new MosError(
      "bad_option",
      `${call}: ${options === undefined ? "options are missing" : `${show(options, 60)} is invalid`}; give an object of its options: ${known.map(([name]) => name).join(", ")}`,
    );
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(schemas, name)) continue;
    const [table] = known.find(([, one]) => !(one instanceof z.ZodType) && Object.hasOwn(one, name)) ?? [];
    if (table === undefined) throw unknownName(`${call}: unknown option ${name}`, name, Object.keys(schemas));
    throw new MosError("bad_option", `${call}: ${name} belongs in ${table}; write ${table}: { ${name}: … }`);
  }
  const values: Readonly<Record<string, unknown>> = Object.fromEntries(Object.entries(options));
  for (const [name, accepted] of known)
    checkKind(
      `${call}: ${name}`,
      values[name],
      accepted instanceof z.ZodType ? accepted : kinds.object.optional(),
    );
}

/** Throws `bad_option` for a value that a schema does not accept. */
export function checkKind(name: string, value: unknown, schema: z.ZodType): void {
  const issue = schema.safeParse(value).error?.issues[0];
  if (issue === undefined) return;
  const found = value === undefined ? " is missing" : `: ${show(value, 60)} is invalid`;
  throw new MosError("bad_option", `${name}${found}; give ${expected(schema, issue.path.length)}`);
}
