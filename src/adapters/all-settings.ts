// The settings of all methods together, each once. What is left out is the method's own to fill in; the help says which
// methods have a setting, and where their defaults differ.
import { z } from "zod";
import type { Setting, Settings } from "#core";
import { DEFAULT_METHOD, METHOD_NAMES, type MethodName, methods } from "./methods.ts";

type Users = ReadonlyMap<MethodName, Setting>;

/** Settings by name, with the methods that have each; those of the default method come first. */
function settingUsers(): ReadonlyMap<string, Users> {
  const users = new Map<string, Map<MethodName, Setting>>();
  for (const method of [DEFAULT_METHOD, ...METHOD_NAMES] as const)
    for (const [name, setting] of Object.entries<Setting>(methods[method].settings))
      users.set(name, (users.get(name) ?? new Map()).set(method, setting));
  users.delete("seed"); // the run's own
  return users;
}

/** The methods by what a text says of their settings: the first without its methods, as it holds for most. */
function differences(users: Users, format: (setting: Setting) => string): string {
  const groups = new Map<string, MethodName[]>();
  for (const [method, setting] of users) {
    const text = format(setting);
    groups.set(text, [...(groups.get(text) ?? []), method]);
  }
  return [...groups].map(([text, of], i) => (i === 0 ? text : `${text} for ${of.join(", ")}`)).join("; ");
}

function describeScope(users: Users): string {
  const others = METHOD_NAMES.filter((name) => !users.has(name));
  if (others.length === 0) return "";
  return others.length === 1 ? `all but ${others[0]}: ` : `${[...users.keys()].join(", ")}: `;
}

/** One setting for all methods that have it: what any of them takes is taken here, and checked by the method. */
function joined(users: Users): Setting {
  const all = [...users.values()];
  const [first] = all;
  if (first === undefined) throw new Error("an unknown setting");
  // methods that accept the same have one check between them
  const different = [...new Map(all.map(({ expected, check }) => [expected, check])).values()];
  const check = different.length === 1 ? first.check : z.union(different);
  return {
    ...first,
    help: `${describeScope(users)}${differences(users, ({ help }) => help)}`,
    default: first.kind === "flag" ? first.default : undefined,
    defaultText: differences(users, (setting) => setting.defaultText ?? String(setting.default)),
    check,
    schema: check.optional(),
  };
}

/** Every setting of every method by name, but for the seed, which is the run's own. */
export const adapterSettings: Settings = Object.fromEntries(
  [...settingUsers()].map(([name, users]) => [name, joined(users)]),
);
