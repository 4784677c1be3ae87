// The options that describe an adapter: --method, and every setting of every method, once.
import {
  type AdapterConfigInput,
  adapterSettings,
  DEFAULT_METHOD,
  METHOD_NAMES,
  type MethodName,
  methods,
} from "#adapters";
import { choice, MosError, type Setting, type Settings } from "#core";
import { formatFlag } from "./command.ts";

/** --method and the settings of all methods; `adapterInput` reads their values. */
export const adapterOptions: { readonly method: Setting<MethodName> } & Settings = {
  method: choice(METHOD_NAMES, {
    default: DEFAULT_METHOD,
    help: "adapter method; mos is Mixture of Shards",
  }),
  ...adapterSettings,
};

/** The settings of an adapter that were given, of whatever method. */
function setSettings(values: Readonly<Record<string, unknown>>): ReadonlyMap<string, unknown> {
  const isGiven = ([name, { kind, default: standard }]: readonly [string, Setting]): boolean =>
    values[name] !== undefined && !(kind === "flag" && values[name] === standard);
  const given = Object.entries(adapterSettings).filter(isGiven);
  return new Map(given.map(([name]) => [name, values[name]]));
}

const refuse = (name: string, why: string): never => {
  const setting = adapterSettings[name] ?? adapterOptions.method;
  throw new MosError("bad_option", `${formatFlag(name, setting)} cannot be used with ${why}`);
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
  const given = setSettings(values);
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
  for (const name of setSettings(values).keys()) refuse(name, why);
  if (values.method !== DEFAULT_METHOD) refuse("method", why);
}
