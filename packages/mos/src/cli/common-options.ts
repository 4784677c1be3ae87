// Options that several commands have.
import { fileURLToPath } from "node:url";
import {
  type AdapterConfigInput,
  adapterSettings,
  DEFAULT_METHOD,
  METHOD_NAMES,
  type MethodName,
  methods,
} from "mixture-of-shards-core/adapters";
import {
  flag,
  MosError,
  omitUndefined,
  type Setting,
  type Settings,
  type SettingValues,
  setting,
  settingInfo,
} from "mixture-of-shards-core/common";
import { DEVICES } from "mixture-of-shards-graph";
import { z } from "zod";
import { completeTracking } from "../trackers/kinds.ts";
import { TRACKER_NAMES, type TrackOptions } from "../trackers/tracker.ts";
import { formatFlag } from "./command.ts";

/** The bundled toy model, from packages/mos/src/cli as from packages/mos/dist/cli. */
export const BUNDLED_MODEL = fileURLToPath(new URL("../../assets/tiny-english", import.meta.url));

/** A model as every command takes it. */
export const model = setting(z.string(), {
  common: true,
  required: true,
  placeholder: "model",
  help: "model: a folder, a .gguf file, or org/name on the Hugging Face Hub",
});

/** The same where an adapter comes first. */
export const base = setting(z.string(), {
  required: true,
  placeholder: "model",
  help: "base model: a folder, a .gguf file, or org/name on the Hugging Face Hub",
});

/** The same where its weights are not needed. */
export const configOnly = setting(z.string(), {
  placeholder: "model",
  help: "model: a folder, a .gguf file, or org/name; only its config is read",
});

export const adapterFolder = setting(z.string(), {
  required: true,
  help: "adapter folder, or org/name of the Hub",
});

export const device = setting(z.enum(DEVICES), { default: "cpu", help: "device to compute on" });

export const threads = setting(z.int().min(1), { defaultText: "one per core", help: "compute threads" });

/** A tracker of experiments. */
export const trackOptions = {
  track: setting(z.enum(TRACKER_NAMES), {
    placeholder: "tracker",
    help: "also write the metrics to MLflow, Weights & Biases or Trackio; keys come from the variables of their own clients",
  }),
  trackUrl: setting(z.string(), {
    placeholder: "url",
    defaultText: "MLFLOW_TRACKING_URI, WANDB_BASE_URL or TRACKIO_SERVER_URL",
    help: "address of the tracker",
  }),
  trackProject: setting(z.string(), {
    placeholder: "name",
    defaultText: "MLFLOW_EXPERIMENT_NAME, WANDB_PROJECT or TRACKIO_PROJECT, else mos",
    help: "experiment or project of the tracker",
  }),
};

/** The tracker that is asked for; `onAway` is told of one that takes nothing. Throws `bad_option`. */
export function chosenTracker(
  { track: to, trackUrl: url, trackProject: project }: SettingValues<typeof trackOptions>,
  onAway: (reason: string) => void,
): TrackOptions | undefined {
  if (to === undefined) {
    const lonely = url === undefined ? project && "--track-project" : "--track-url";
    if (lonely === undefined) return undefined;
    throw new MosError("bad_option", `${lonely} requires --track`);
  }
  return completeTracking({ to, onAway, ...omitUndefined({ url, project }) }, process.env);
}

/** `--quiet`. */
export const quiet = flag({ help: "print errors only" });

export const SIZES =
  "Sizes are in bytes or take a unit: kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024).";

/** Backslash escapes of a text that no shell quotes easily: \n, \t and \\. */
export const unescaped = (text: string): string =>
  text.replace(/\\(n|t|\\)/g, (_, letter: string) => (letter === "n" ? "\n" : letter === "t" ? "\t" : "\\"));

/** --method and the settings of all methods; `adapterInput` reads their values. */
export const adapterOptions: { readonly method: Setting<MethodName> } & Settings = {
  method: setting(z.enum(METHOD_NAMES), {
    default: DEFAULT_METHOD,
    help: "adapter method; mos is Mixture of Shards",
  }),
  ...adapterSettings,
};

/** The settings of an adapter that were given, of whatever method. */
function setSettings(values: Readonly<Record<string, unknown>>): ReadonlyMap<string, unknown> {
  const isGiven = ([name, setting]: readonly [string, Setting]): boolean =>
    values[name] !== undefined && values[name] !== settingInfo(setting).default;
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
