// The options that describe an adapter: every setting of every method, once. What is left out is the method's own to
// fill in; the help says which methods have a setting, and where their defaults differ.
import { z } from "zod";
import { type AdapterConfigInput, METHOD_NAMES, type MethodName, methods } from "#adapters";
import { choice, MosError, type Setting, type Settings } from "#core";
import { flagOf } from "./command.ts";

const DEFAULT_METHOD = "mos";

type Users = ReadonlyMap<MethodName, Setting>;

/** Settings by name, with the methods that have each; those of the default method come first. */
function usersOfSettings(): ReadonlyMap<string, Users> {
  const users = new Map<string, Map<MethodName, Setting>>();
  for (const method of [DEFAULT_METHOD, ...METHOD_NAMES] as const)
    for (const [name, setting] of Object.entries<Setting>(methods[method].settings))
      users.set(name, (users.get(name) ?? new Map()).set(method, setting));
  users.delete("seed"); // the run's own
  return users;
}

/** The methods by what a text says of their settings: the first without its methods, as it holds for most. */
function differences(users: Users, textOf: (setting: Setting) => string): string {
  const groups = new Map<string, MethodName[]>();
  for (const [method, setting] of users) {
    const text = textOf(setting);
    groups.set(text, [...(groups.get(text) ?? []), method]);
  }
  return [...groups].map(([text, of], i) => (i === 0 ? text : `${text} for ${of.join(", ")}`)).join("; ");
}

function scopeOf(users: Users): string {
  const others = METHOD_NAMES.filter((name) => !users.has(name));
  if (others.length === 0) return "";
  return others.length === 1 ? `all but ${others[0]}: ` : `${[...users.keys()].join(", ")}: `;
}

/** One setting for all methods that have it: what any of them takes is taken here, and checked by the method. */
function joined(users: Users): Setting {
  const all = [...users.values()];
  const [first] = all;
  if (first === undefined) throw new Error("an unknown setting");
  const isUsable = (value: unknown): boolean => all.some(({ check }) => check.safeParse(value).success);
  const check = z.unknown().refine(isUsable);
  return {
    ...first,
    help: `${scopeOf(users)}${differences(users, ({ help }) => help)}`,
    default: first.kind === "flag" ? first.default : undefined,
    defaultText: differences(users, (setting) => setting.defaultText ?? String(setting.default)),
    check,
    schema: check.optional(),
  };
}

const settings: Settings = Object.fromEntries(
  [...usersOfSettings()].map(([name, users]) => [name, joined(users)]),
);

/** --method and the settings of all methods; `adapterInput` reads their values. */
export const adapterOptions: { readonly method: Setting<MethodName> } = {
  method: choice(METHOD_NAMES, {
    default: DEFAULT_METHOD,
    help: "adapter method; mos is Mixture of Shards",
  }),
  ...settings,
};

/** The settings of an adapter that were given, of whatever method. */
function givenSettings(values: Readonly<Record<string, unknown>>): ReadonlyMap<string, unknown> {
  const isGiven = ([name, { kind, default: standard }]: readonly [string, Setting]): boolean =>
    values[name] !== undefined && !(kind === "flag" && values[name] === standard);
  const given = Object.entries(settings).filter(isGiven);
  return new Map(given.map(([name]) => [name, values[name]]));
}

const refuse = (name: string, why: string): never => {
  const setting = settings[name] ?? adapterOptions.method;
  throw new MosError("bad_option", `${flagOf(name, setting)} cannot be used with ${why}`);
};

/**
 * The adapter that the options describe.
 *
 * @throws MosError `bad_option` for a setting that the method does not have.
 */
export function adapterInput(
  values: Readonly<Record<string, unknown>> & { readonly method: MethodName },
): AdapterConfigInput {
  const { method } = values;
  const given = givenSettings(values);
  for (const name of given.keys())
    if (!(name in methods[method].settings))
      refuse(name, `--method ${method}; omit it, or choose another method`);
  // each setting was checked to be one of this method, which the union's type cannot see
  return { method, ...Object.fromEntries(given) } as AdapterConfigInput;
}

/** Throws `bad_option` where an adapter was described beside an option that has settings of its own. */
export function refuseSettings(
  values: Readonly<Record<string, unknown>> & { readonly method: MethodName },
  why: string,
): void {
  for (const name of givenSettings(values).keys()) refuse(name, why);
  if (values.method !== DEFAULT_METHOD) refuse("method", why);
}
