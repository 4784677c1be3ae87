// Settings of adapters from outside, and the settings of all methods in one list.
import { z } from "zod";
import {
  adjust,
  attempt,
  expected,
  MosError,
  readIssues,
  type Setting,
  type SettingInfo,
  type Settings,
  setting,
  settingInfo,
  show,
  similarName,
} from "#common";
import { COMMON_LINEARS, listPools, SMALL_LINEARS } from "#models";
import { type AdapterConfig, bindMethod, METHOD_NAMES, type MethodName, methods } from "./adapter.ts";
import type { LayerShapes } from "./method.ts";

/** Names in a sentence: "a, b or c". */
export const joinNames = (names: readonly string[]): string =>
  [names.slice(0, -1).join(", "), names.at(-1)].filter((part) => part !== "").join(" or ");

/** The method of whoever names none. */
export const DEFAULT_METHOD = "mos" satisfies MethodName;

/** Settings before defaults are filled in. */
export type AdapterConfigInput = {
  readonly [M in MethodName]: { readonly method: M } & {
    readonly [K in keyof Omit<Extract<AdapterConfig, { readonly method: M }>, "method">]?:
      | Extract<AdapterConfig, { readonly method: M }>[K]
      | undefined;
  };
}[MethodName];

/** Reason why settings do not fit a model; undefined if they do. */
export function findProblem(config: AdapterConfig, shapes: LayerShapes): string | undefined {
  const problem = attempt(() => bindMethod(config).check(shapes));
  return problem instanceof MosError ? problem.message : undefined;
}

const invalid = (message: string, cause?: unknown): MosError =>
  new MosError("bad_config", message, { cause });

/** Names of settings in a file, where they differ. */
type Names = Readonly<Record<string, string>>;

/** The first issue of a failed parse, as a message. */
function describeIssue(method: MethodName, [first]: ReturnType<typeof readIssues>, called: Names): string {
  const { issue, path = [], found } = first ?? {};
  const [setting = "", ...inside] = path.map(String);
  const field = [called[setting] ?? setting, ...inside].join(".");
  if (issue?.code !== "unrecognized_keys") {
    const settings: Settings = methods[method].settings;
    const accepted = expected(settings[setting] ?? z.object(), inside.length);
    return `${field === "" ? "" : `${field} `}${show(found)} is invalid; give ${accepted}`;
  }
  const known = Object.keys(methods[method].example).filter((key) => key !== "method");
  const keys = issue.keys.map((key) => JSON.stringify(key)).join(", ");
  const similar = issue.keys.length === 1 ? similarName(issue.keys[0] ?? "", known) : undefined;
  const help = similar === undefined ? `it has ${known.join(", ")}` : `did you mean ${similar}?`;
  return `${keys} ${issue.keys.length === 1 ? "is not a setting" : "are not settings"} of ${method}; ${help}`;
}

/** Settings from outside. Throws `bad_config` with the field, the given value, and what to do. */
export function parseAdapterConfig(input: unknown, where = "adapter", called: Names = {}): AdapterConfig {
  const object = z.looseObject({ method: z.unknown().optional() }).safeParse(input);
  if (!object.success)
    throw invalid(`${where}: ${show(input)} is invalid; give an object with a method and its settings`);
  const name = object.data.method;
  const method = METHOD_NAMES.find((known) => known === name);
  if (method === undefined)
    throw invalid(
      `${where}: ${name === undefined ? "method is missing" : `method ${show(name)} is not known`}; it can be ${joinNames(METHOD_NAMES)}`,
    );
  const parsed = methods[method].schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw invalid(`${where}: ${describeIssue(method, readIssues(parsed.error, input), called)}`, parsed.error);
}

/**
 * The settings of a new adapter. Without targets it adapts the large linear layers of the model that its method can, and a
 * default rank is lowered where the layers of a small model share fewer.
 */
export function fittingConfig(input: AdapterConfigInput, shapes: LayerShapes): AdapterConfig {
  const given = parseAdapterConfig(input, "adapter");
  const adaptsAll =
    input.targets === undefined && COMMON_LINEARS.every((name) => given.targets.includes(name));
  const large = listPools(shapes).flatMap(({ linear }) => (SMALL_LINEARS.includes(linear) ? [] : [linear]));
  const asked = adaptsAll ? parseAdapterConfig({ ...given, targets: large }, "adapter") : given;
  if (input.rank !== undefined) return asked;
  for (let { rank } = asked; rank > 0; rank--) {
    const config = parseAdapterConfig({ ...asked, rank }, "adapter");
    if (findProblem(config, shapes) === undefined) return config;
  }
  return asked;
}

// The settings of all methods together, each once. What is left out is the method's own to fill in; the help says which
// methods have a setting, and where their defaults differ.

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
function differences(users: Users, format: (info: SettingInfo) => string): string {
  const groups = new Map<string, MethodName[]>();
  for (const [method, setting] of users) {
    const text = format(settingInfo(setting));
    groups.set(text, [...(groups.get(text) ?? []), method]);
  }
  return [...groups].map(([text, of], i) => (i === 0 ? text : `${text} for ${of.join(", ")}`)).join("; ");
}

function describeScope(users: Users): string {
  const others = METHOD_NAMES.filter((name) => !users.has(name));
  if (others.length === 0) return "";
  return others.length <= 2 ? `all but ${others.join(" and ")}: ` : `${[...users.keys()].join(", ")}: `;
}

/** One setting for all methods that have it: what any of them takes is taken here, and checked by the method. */
function joined(users: Users): Setting {
  const [first = z.unknown(), ...others] = users.values();
  const { kind, about } = settingInfo(first);
  const told = {
    ...about,
    help: `${describeScope(users)}${differences(users, ({ help }) => help)}`,
    defaultText: differences(users, (info) => info.defaultText ?? String(info.default)),
  };
  if (kind === "flag") return adjust(first, told);
  // methods that accept the same have one check between them
  const checks = new Map([first, ...others].map((one) => [expected(one), settingInfo(one).check]));
  return setting(checks.size === 1 ? settingInfo(first).check : z.union([...checks.values()]), told);
}

/** Every setting of every method by name, but for the seed, which is the run's own. */
export const adapterSettings: Settings = Object.fromEntries(
  [...settingUsers()].map(([name, users]) => [name, joined(users)]),
);
