// A command: its options and arguments as settings, its help, and the work. From the settings come the options of the
// command line here, and the tables of the documents (scripts/ci/reference.ts).
import { type Command as Commander, InvalidArgumentError, Option } from "commander";
import {
  adjust,
  flag,
  MosError,
  type Setting,
  type SettingInfo,
  type Settings,
  type SettingValues,
  setting,
  settingInfo,
} from "mixture-of-shards-core/common";
import { z } from "zod";
import {
  CONFIG_FILE,
  type SourcedValue,
  type SourcedValues,
  variableName,
  withOtherSources,
} from "./sources.ts";
import { warn } from "./terminal.ts";

/** Puts settings under a heading of the help. */
export const group = <S extends Settings>(heading: string, settings: S): S =>
  Object.fromEntries(
    Object.entries(settings).map(([name, setting]) => [name, adjust(setting, { group: heading })]),
  ) as S;

/** Options of every command. The program itself looks for them too, for errors of parsing. */
const generalOptions = group("General", {
  json: flag({ help: "print JSON instead of text" }),
  verbose: flag({ help: "show stack traces" }),
});

const EVENTS = "print one JSON line per event on stdout";

/** The option of commands that a configuration file may have a section for. */
const configOptions = group("General", {
  config: setting(z.string(), {
    placeholder: "file",
    defaultText: `${CONFIG_FILE} in the working directory, if present`,
    help: "JSON file of options",
  }),
});

/** The values of a command's options and arguments, defaults filled in. */
export type CommandValues<O extends Settings, A extends Settings> = SettingValues<O> &
  SettingValues<A> &
  SettingValues<typeof generalOptions>;

export interface CommandSpec<O extends Settings, A extends Settings> {
  readonly description: string;
  /** Usage after the command's name, where commander's own is too short. */
  readonly usage?: string;
  /** Positional arguments, in their order; the last may be repeated. */
  readonly arguments?: A;
  readonly options: O;
  /** Options that exclude each other. */
  readonly conflicts?: readonly (readonly ((keyof O & string) | "json")[])[];
  /** Help of --json where it prints no single JSON value; "events" is the help for one line per event. */
  readonly json?: string;
  /** Shown below the options. */
  readonly examples?: string;
  /**
   * Whether its options may also come from the environment and from a configuration file: a command that runs for long,
   * and is started by other programs.
   */
  readonly isConfigurable?: boolean;
  /**
   * Options that a configuration file may set although the user has not named it: none that decides who gets in, what is
   * read and written, or where data is sent.
   */
  readonly harmless?: readonly (keyof O & string)[];
  /** Does the work, and returns the exit code; 0 where it returns none. */
  readonly run: (
    values: CommandValues<O, A>,
    program: { readonly version: string },
  ) => Promise<number | undefined> | Promise<void>;
}

/** A command, whatever its options are. */
export interface Command {
  /** For the tables of the documents. */
  readonly options: Settings;
  /** Those that the environment and a configuration file may have; undefined where they are not asked. */
  readonly configurable: Settings | undefined;
  /** Those that such a file may set although nobody has named it. */
  readonly harmless: readonly string[];
  /** Adds it to a program. */
  attach(program: Commander, name: string): Commander;
}

/** `shardsPerVector` is `shards-per-vector`. */
export const flagName = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** `shardsPerVector` is `--shards-per-vector`; a flag that is on by default has a `--no-` in front. */
export const formatFlag = (name: string, setting: Setting): string =>
  `--${settingInfo(setting).default === true ? "no-" : ""}${flagName(name)}`;

/** `--steps <n>`. */
export function formatFlags(name: string, setting: Setting): string {
  const { kind, placeholder } = settingInfo(setting);
  return kind === "flag" ? formatFlag(name, setting) : `${formatFlag(name, setting)} <${placeholder}>`;
}

/** Reads a text of the command line. */
const reader =
  (info: SettingInfo) =>
  (text: string, before: unknown): unknown => {
    const given = info.check.safeParse(info.read(text));
    if (!given.success) throw new InvalidArgumentError(`Expected ${info.expectedText}.`);
    return info.isRepeated && Array.isArray(before) && Array.isArray(given.data)
      ? [...before, ...given.data]
      : given.data;
  };

function makeOption(name: string, setting: Setting): Option {
  const info = settingInfo(setting);
  const { help, kind, isRepeated, default: standard, defaultText, choices } = info;
  const shown =
    standard === undefined && defaultText !== undefined ? `${help} (default: ${defaultText})` : help;
  const option = new Option(formatFlags(name, setting), shown);
  if (kind === "flag") return option;
  if (kind === "choice" && choices !== undefined) option.choices(choices);
  if (!isRepeated && standard !== undefined) option.default(standard, defaultText);
  return option.argParser(reader(info));
}

/** The values of the command line. */
function readLineValues(commander: Commander, options: Settings): SourcedValues {
  const given = Object.entries(options).filter(([name]) => commander.getOptionValueSource(name) === "cli");
  return new Map(
    given.map(([name, setting]): [string, SourcedValue] => [
      name,
      { value: commander.getOptionValue(name), origin: formatFlag(name, setting) },
    ]),
  );
}

/** The end of the help of a command whose options have other sources. */
const sourcesText = (name: string): string => `

Every option except --json and --verbose can also be set by an environment variable or in the file of --config:
--threads 8, MOS_THREADS=8 and {"${name}": {"threads": 8}} are equivalent, in order of priority.`;

/** The values of the command line, the environment and the configuration file, with defaults. */
async function collectValues(
  commander: Commander,
  options: Settings,
  { conflicts, isConfigurable, harmless }: Sources,
): Promise<object> {
  const line = readLineValues(commander, options);
  const given = isConfigurable
    ? await withOtherSources(line, {
        options: ownOptions(options),
        conflicts,
        harmless,
        section: commander.name(),
        // programs read the output, or nobody does
        onNote: line.has("json") || line.has("quiet") ? () => undefined : warn,
        // always: whoever starts a program in somebody else's folder has to see what that folder decided
        onFound: warn,
      })
    : line;
  const values = Object.entries(options).map(([name, setting]) => {
    const found = given.get(name);
    const { isRequired, default: standard } = settingInfo(setting);
    // not by commander, which looks for required options before it says that one is mistyped
    if (found === undefined && isRequired)
      throw missingError(formatFlags(name, setting), name, { section: commander.name(), isConfigurable });
    return [name, found === undefined ? standard : found.value];
  });
  return Object.fromEntries(values);
}

/** Other sources of values than the command line. */
interface Sources
  extends Required<Pick<CommandSpec<Settings, Settings>, "conflicts" | "isConfigurable" | "harmless">> {}

const missingError = (
  flags: string,
  name: string,
  { section, isConfigurable }: { readonly section: string; readonly isConfigurable: boolean },
): MosError =>
  new MosError(
    "bad_option",
    isConfigurable
      ? `${flags} is required; pass it, set ${variableName(name)}, or set "${name}" in "${section}" of the file of --config`
      : `required option '${flags}' not specified; see mos ${section} --help`,
  );

/** All but what says how this one call prints. */
const ownOptions = ({ json: _json, verbose: _verbose, ...own }: Settings): Settings => own;

/** So few options need no heading of their own. */
const FEW = 3;

/** Adds the options of a command under their headings, those that most users need first. */
function addOptions(commander: Commander, options: Settings, { conflicts }: Sources): void {
  const all = Object.entries(options).map(([name, setting]) => {
    const { isCommon, group } = settingInfo(setting);
    return { name, setting, isCommon, group };
  });
  const common = all.filter(({ isCommon }) => isCommon);
  const first = common.length > FEW ? common : [];
  const byUse = [...first, ...all.filter((one) => !first.includes(one))];
  for (const option of byUse) {
    const { name, setting, group } = option;
    const made = makeOption(name, setting);
    const others = conflicts.filter((one) => one.includes(name)).flat();
    made.conflicts(others.filter((other) => other !== name));
    commander.optionsGroup(first.includes(option) ? "Most used:" : `${group}:`).addOption(made);
  }
}

/** Declares a command. */
export function defineCommand<O extends Settings, A extends Settings = Record<never, Setting>>(
  spec: CommandSpec<O, A>,
): Command {
  const { json } = generalOptions;
  const { isConfigurable = false, conflicts = [], harmless = [] } = spec;
  const sources: Sources = { isConfigurable, conflicts, harmless };
  const options: Settings = {
    ...spec.options,
    ...(isConfigurable ? configOptions : {}),
    ...generalOptions,
    json:
      spec.json === undefined ? json : adjust(json, { help: spec.json === "events" ? EVENTS : spec.json }),
  };
  const names = Object.entries<Setting>(spec.arguments ?? {});
  const attach = (program: Commander, name: string): Commander => {
    const commander = program
      .command(name)
      .description(spec.description)
      .helpOption("-h, --help", "show this help")
      .addHelpText("after", `${spec.examples ?? ""}${isConfigurable ? sourcesText(name) : ""}`);
    if (spec.usage !== undefined) commander.usage(spec.usage);
    for (const [argument, setting] of names) {
      const info = settingInfo(setting);
      const form = info.isRepeated ? `${argument}...` : argument;
      commander.argument(info.isRequired ? `<${form}>` : `[${form}]`, info.help, reader(info));
    }
    addOptions(commander, options, sources);
    return commander.action(async () => {
      const given = names.map(([argument], i) => [argument, commander.processedArgs[i]]);
      const values = {
        ...(await collectValues(commander, options, sources)),
        ...Object.fromEntries(given),
      };
      // each value was read by the setting of its name
      const code = await spec.run(values as CommandValues<O, A>, { version: program.version() ?? "" });
      if (typeof code === "number") process.exitCode = code;
    });
  };
  return { options, configurable: isConfigurable ? ownOptions(options) : undefined, harmless, attach };
}

/** Throws `bad_option` for an option that is given and belongs to other actions of a command. */
export function refuseOthers(
  options: Settings,
  values: Readonly<Record<string, unknown>>,
  { isTaken, command }: { readonly isTaken: (name: string) => boolean; readonly command: string },
): void {
  for (const [name, setting] of Object.entries(options)) {
    const { default: standard } = settingInfo(setting);
    if (!isTaken(name) && (values[name] ?? standard) !== standard)
      throw new MosError(
        "bad_option",
        `${formatFlag(name, setting)} cannot be used with mos ${command}; see mos ${command.split(" ")[0]} --help`,
      );
  }
}
