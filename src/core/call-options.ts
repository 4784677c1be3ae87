// The options of a call in plain JavaScript, which no compiler has checked: their names, and the kinds of their values.
import { MosError } from "./error.ts";
import { type Settings, show } from "./settings.ts";
import { unknownName } from "./similar-name.ts";

/**
 * Kinds of an option's value, as `typeof` names them, or "array", with "|" between them. With "!" at the end the option is
 * required; "" is any value, which something else checks; a table is an object of these settings.
 */
export type OptionKinds<O extends object> = { readonly [K in keyof Required<O>]: string | Settings };

/** Options of calls that may download a model or data. */
export const locateKinds = { hub: "object", signal: "object", onDownload: "function" } as const;

/** Settings as options: `parseSettings` checks their values. */
export const settingKinds = <S extends Settings>(settings: S): { readonly [K in keyof S]: string } =>
  Object.fromEntries(Object.keys(settings).map((name) => [name, ""])) as { [K in keyof S]: string };

const kindOf = (value: unknown): string => (Array.isArray(value) ? "array" : typeof value);

const nameKinds = (kinds: string): string =>
  kinds
    .replace("!", "")
    .split("|")
    .map((kind) => `${/^[ao]/.test(kind) ? "an" : "a"} ${kind}`)
    .join(" or ");

/**
 * Checks the options of a call.
 *
 * @param call The name of the function, for messages.
 * @throws MosError `bad_option` that names the option, what was given, and what would be accepted.
 * @example
 * checkCall<ExportOptions>("exportAdapter", options, { model: "string!", out: "string!", overwrite: "boolean" });
 */
export function checkCall<O extends object>(call: string, options: O, kinds: OptionKinds<O>): void {
  const known = Object.entries<string | Settings>(kinds);
  if (kindOf(options) !== "object" || options === null)
    throw new MosError(
      "bad_option",
      `${call}: ${options === undefined ? "options are missing" : `${show(options, 60)} is invalid`}; give an object of its options: ${known.map(([name]) => name).join(", ")}`,
    );
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(kinds, name)) continue;
    const [table] = known.find(([, kind]) => typeof kind !== "string" && Object.hasOwn(kind, name)) ?? [];
    if (table === undefined) throw unknownName(`${call}: unknown option ${name}`, name, Object.keys(kinds));
    throw new MosError("bad_option", `${call}: ${name} belongs in ${table}; write ${table}: { ${name}: … }`);
  }
  const values: Readonly<Record<string, unknown>> = Object.fromEntries(Object.entries(options));
  for (const [name, accepted] of known)
    checkKind(`${call}: ${name}`, values[name], typeof accepted === "string" ? accepted : "object");
}

/** Throws `bad_option` for a value of another kind than those: `checkKind("model", 5, "string|object!")`. */
export function checkKind(name: string, value: unknown, kinds: string): void {
  if (kinds === "" || (value === undefined && !kinds.endsWith("!"))) return;
  if (value !== null && kinds.replace("!", "").split("|").includes(kindOf(value))) return;
  const found = value === undefined ? "is missing" : `${show(value, 60)} is invalid`;
  throw new MosError(
    "bad_option",
    `${name}${value === undefined ? " " : ": "}${found}; give ${nameKinds(kinds)}`,
  );
}
