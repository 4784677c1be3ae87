// Add-ons: packages that bring commands, and options of mos serve and mos keys. "addOns" of package.json lists the known ones,
// so that help names their commands without loading them, and a missing package is named in one message.
import { readFileSync } from "node:fs";
import { MosError, type Settings, type SettingValues } from "mixture-of-shards-core/common";
import type { KeyLimits, ServedModel, ServerExtension, ServerLog } from "mixture-of-shards-server";
import type { Command } from "./command.ts";

/** A command of the help, whose file is loaded only when it runs. */
export interface CommandEntry {
  readonly summary: string;
  readonly load: () => Promise<{ readonly command: Command }>;
}

/** The default export of an add-on's entry point `./add-on`. */
export interface AddOn {
  readonly commands: Readonly<Record<string, CommandEntry["load"]>>;
  /** The part of `mos serve` that the package adds. */
  readonly serve?: () => Promise<ServeAddOn>;
}

/** The server that an add-on extends. */
export interface ServeContext {
  /** The folder or file of the base. */
  readonly model: string;
  /** The value of --model. */
  readonly requestedModel: string;
  readonly threads: number;
  readonly log: ServerLog;
}

/** An add-on at work. Disposing it ends it for good. */
export interface OpenServeAddOn extends AsyncDisposable {
  /** The folder of adapters to serve. */
  readonly adapters: string;
  /** Its line of the startup log. */
  readonly summary: string;
  /** Called once the model is open. */
  start(model: ServedModel): Promise<ServerExtension>;
  /** Ends background work; the API goes on. */
  stop(): Promise<void>;
}

/** Options of `mos serve`, and the work that they ask for. */
interface ServeAddOnSpec<S extends Settings> {
  readonly options: S;
  /** Options that exclude each other, those of `mos serve` included. */
  readonly conflicts?: readonly (readonly string[])[];
  /** Refuses values before the model is looked for. Throws `bad_option`. */
  readonly check?: (values: SettingValues<S>, own: { readonly adapters: string | undefined }) => void;
  /** Options that a configuration file may set although the user has not named it. */
  readonly harmless?: readonly (keyof S & string)[];
  /** Limits that it enforces on keys, with their options of `mos keys create`. */
  readonly keyLimits?: KeyLimits & { readonly options: Settings };
  /** Seconds that it needs at most to end after SIGTERM. */
  readonly stopSeconds: (values: SettingValues<S>) => number;
  /** Undefined where no option asks for it. */
  readonly open: (values: SettingValues<S>, server: ServeContext) => Promise<OpenServeAddOn | undefined>;
}

/** Whatever its options are: it reads values of `mos serve` by their names. */
export type ServeAddOn = ServeAddOnSpec<Settings>;

/** Declares an add-on's part of `mos serve`. */
export const defineServeAddOn = <S extends Settings>(spec: ServeAddOnSpec<S>): ServeAddOn =>
  spec as unknown as ServeAddOn; // each value was read by the setting of its name

interface KnownAddOn {
  /** Summaries by command. */
  readonly commands: Readonly<Record<string, string>>;
  /** Options that it adds to `mos serve`, and to `mos keys`. */
  readonly serve?: readonly string[];
  readonly keys?: readonly string[];
  /** Name of the limits that it enforces on keys. */
  readonly keyLimits?: string;
}

/** package.json, at the same place from packages/mos/src/cli and from packages/mos/dist/cli. */
export const manifest: { readonly version: string; readonly addOns: Readonly<Record<string, KnownAddOn>> } =
  JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));

/** What makes the command available, which no registry has before the first release. */
export const INSTALL = "run `npm ci` and `npm link` in a clone of the repository";

/** The commands that install an add-on, which no registry has either. */
export const installText = (name: string): string =>
  `run npm pack --workspaces in a clone of the repository, and here npm install CLONE/${name}-${manifest.version}.tgz`;

/** @throws MosError `not_found` where the package is not installed. */
async function importAddOn(name: string): Promise<AddOn> {
  try {
    return ((await import(`${name}/add-on`)) as { readonly addOn: AddOn }).addOn;
  } catch (cause) {
    const isMissing = cause instanceof Error && "code" in cause && cause.code === "ERR_MODULE_NOT_FOUND";
    // what the package itself imports has to be there
    if (!isMissing || !cause.message.includes(`'${name}'`)) throw cause;
    throw new MosError(
      "not_found",
      `this requires the package ${name}, which is not installed: ${installText(name)}`,
      { cause },
    );
  }
}

/** The commands of add-ons, in the order of package.json. */
export const addOnCommands: Readonly<Record<string, CommandEntry>> = Object.fromEntries(
  Object.entries(manifest.addOns).flatMap(([name, { commands }]) =>
    Object.entries(commands).map(([command, summary]) => {
      const load = async () => {
        const found = (await importAddOn(name)).commands[command];
        if (found !== undefined) return found();
        throw new MosError(
          "unsupported",
          `${name} has no command ${command}; update it: ${installText(name)}`,
        );
      };
      return [command, { summary, load }];
    }),
  ),
);

/** The parts of `mos serve` of the add-ons that are installed. */
export async function installedServeAddOns(): Promise<readonly ServeAddOn[]> {
  const known = Object.entries(manifest.addOns).filter(([, { serve }]) => serve !== undefined);
  const found = known.map(async ([name]) => {
    const addOn = await importAddOn(name).catch((error: unknown) => {
      if (!(error instanceof MosError) || error.code !== "not_found") throw error;
    });
    return addOn?.serve?.();
  });
  return (await Promise.all(found)).filter((one) => one !== undefined);
}

/** The limits in keys that these add-ons enforce, and those of known add-ons that are not installed, which limit nothing. */
export function listKeyLimits(addOns: readonly ServeAddOn[]): readonly KeyLimits[] {
  const enforced = addOns.flatMap(({ keyLimits }) => (keyLimits === undefined ? [] : [keyLimits]));
  const others = Object.values(manifest.addOns).flatMap(({ keyLimits: name }) =>
    name === undefined || enforced.some((limits) => limits.name === name) ? [] : [{ name }],
  );
  return [...enforced, ...others];
}

/** The package that an option of `mos serve` or `mos keys` comes with. */
export const packageOfOption = (command: "serve" | "keys", option: string): string | undefined =>
  Object.entries(manifest.addOns).find(([, addOn]) => addOn[command]?.includes(option))?.[0];
