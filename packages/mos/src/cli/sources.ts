// Values of a command's options that do not stand on the command line: variables of the environment, and a section of a
// configuration file. Each knows where it is from, so that messages can say so.
import { readFile } from "node:fs/promises";
import {
  isRecord,
  MosError,
  parseJson,
  type Setting,
  type SettingInfo,
  type Settings,
  settingInfo,
  show,
  similarName,
  snakeCase,
  unknownName,
} from "mixture-of-shards-core/common";

/** The file that is read where no other one is named. */
export const CONFIG_FILE = "mos.config.json";

/** The commands that it may have a section for. */
export const SECTIONS = ["serve", "worker"] as const;

/** A checked value, and what messages call the place where it was given. */
export interface SourcedValue {
  readonly value: unknown;
  readonly origin: string;
}
/** Values by the names of their settings. */
export type SourcedValues = ReadonlyMap<string, SourcedValue>;

/** `maxBatch` is `MOS_MAX_BATCH`. */
export const variableName = (name: string): string => `MOS_${snakeCase(name).toUpperCase()}`;

const refuse = (origin: string, found: string, expected: string): MosError =>
  new MosError("bad_option", `${origin}: ${found} is invalid; give ${expected}`);

/** Variables that Kubernetes and Docker set for a service named mos: MOS_PORT=tcp://10.0.0.1:80. */
const isServiceLink = (text: string): boolean => /^(?:tcp|udp|sctp):\/\//.test(text);

function readVariable(origin: string, info: SettingInfo, text: string): unknown {
  if (info.kind === "flag") {
    if (/^(true|yes|on|1)$/i.test(text)) return true;
    if (/^(false|no|off|0)$/i.test(text)) return false;
    throw refuse(origin, show(text), "true or false");
  }
  const given = info.check.safeParse(info.read(text));
  if (!given.success) throw refuse(origin, show(text), info.expectedText);
  return given.data;
}

/**
 * The values of the environment. Variables that are empty count as not set.
 *
 * @throws MosError `bad_option` that names the variable, its value and what to do.
 */
export function readEnvironment(
  options: Settings,
  environment: Readonly<Record<string, string | undefined>>,
): SourcedValues {
  const values = new Map<string, SourcedValue>();
  for (const [name, setting] of Object.entries(options)) {
    const info = settingInfo(setting);
    if (info.default === true) refuseNegation(name, environment);
    const origin = variableName(name);
    // a file of a secret may end with a new line
    const text = environment[origin]?.trim() ?? "";
    if (text === "" || (info.kind !== "text" && isServiceLink(text))) continue;
    values.set(name, { origin, value: readVariable(origin, info, text) });
  }
  return values;
}

/** Notes on variables that nothing reads, where they are nearly the name of one that is read. */
export function notesOnEnvironment(
  options: Settings,
  environment: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  const known = new Map(Object.keys(options).map((name) => [variableName(name), name]));
  return Object.keys(environment).flatMap((name) => {
    if (!name.startsWith("MOS_") || known.has(name)) return [];
    const similar = similarName(name.slice("MOS_".length), [...known.values()]);
    return similar === undefined ? [] : [`${name}: unknown variable; did you mean ${variableName(similar)}?`];
  });
}

/** `--no-keys` is not MOS_NO_KEYS: nobody should believe to have set what is not read. */
function refuseNegation(name: string, environment: Readonly<Record<string, string | undefined>>): void {
  const negated = variableName(`no_${name}`);
  if ((environment[negated] ?? "") !== "")
    throw new MosError("bad_option", `${negated}: unknown variable; set ${variableName(name)}=false`);
}

/** Whose section of a file is read, and what it may hold. */
interface Section {
  readonly section: string;
  readonly options: Settings;
}

/**
 * The values of a section of a configuration file. Sections of other commands are checked when those run.
 *
 * @param where The file, for messages.
 * @throws MosError `bad_option` that names the file, the field, its value and what to do.
 */
export function readConfigValues(
  content: string,
  { where, section, options }: Section & { readonly where: string },
): SourcedValues {
  const config = parseJson(content, { code: "bad_option", where });
  if (!isRecord(config)) throw refuse(where, show(config, 60), "an object");
  let values: SourcedValues = new Map();
  for (const [name, given] of Object.entries(config)) {
    if (name === section) values = readSection(`${where}: ${name}`, options, given);
    else if (Object.hasOwn(options, name))
      throw new MosError(
        "bad_option",
        `${where}: ${name} belongs in "${section}": {"${section}": {"${name}": …}}`,
      );
    else if (name !== "$schema" && !SECTIONS.some((known) => known === name))
      throw unknownName(`${where}: unknown name ${name}`, name, SECTIONS);
  }
  return values;
}

function readSection(where: string, settings: Settings, given: unknown): SourcedValues {
  if (!isRecord(given)) throw refuse(where, show(given, 60), "an object of its options");
  const values = new Map<string, SourcedValue>();
  for (const [name, value] of Object.entries(given)) {
    const origin = `${where}.${name}`;
    const setting = Object.hasOwn(settings, name) ? settings[name] : undefined;
    if (setting === undefined)
      throw unknownName(`${where}: unknown name ${name}`, name, Object.keys(settings));
    values.set(name, { origin, value: readField(origin, setting, value) });
  }
  return values;
}

/** JSON has types of its own; only sizes may be texts as well, with their units. */
function readField(origin: string, setting: Setting, value: unknown): unknown {
  const info = settingInfo(setting);
  const isSize = info.kind === "bytes";
  const given = info.check.safeParse(isSize && typeof value === "string" ? info.read(value) : value);
  if (given.success) return given.data;
  throw refuse(origin, show(value, 60), isSize ? info.expectedText : info.expected);
}

/** Options that exclude each other. */
type Conflicts = readonly (readonly string[])[];

/**
 * The first source that has a value gives it. One that excludes another puts it out where that is of a later source; in
 * one source both are an error.
 */
function joinSources(
  sources: readonly SourcedValues[],
  { options, conflicts }: { readonly options: Settings; readonly conflicts: Conflicts },
): SourcedValues {
  const joined = new Map<string, SourcedValue>();
  for (const source of sources) {
    const others = (name: string, values: SourcedValues): SourcedValue | undefined =>
      conflicts
        .filter((one) => one.includes(name))
        .flat()
        .flatMap((other) => (other === name || isDefault(other, values) ? [] : (values.get(other) ?? [])))[0];
    const isDefault = (name: string, values: SourcedValues): boolean => {
      const { kind, default: standard } = settingInfo(options[name]);
      return kind === "flag" && values.get(name)?.value === standard;
    };
    const earlier = new Map(joined);
    for (const [name, value] of source) {
      if (earlier.has(name) || others(name, earlier) !== undefined) continue;
      const other = isDefault(name, source) ? undefined : others(name, source);
      if (other !== undefined)
        throw new MosError("bad_option", `${value.origin} cannot be used with ${other.origin}`);
      joined.set(name, value);
    }
  }
  return joined;
}

/** The configuration file that was named, or the one of the working directory if there is one. */
async function readConfigFile(given: string | undefined): Promise<string | undefined> {
  try {
    return await readFile(given ?? CONFIG_FILE, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (given === undefined && code === "ENOENT") return undefined;
    const why = code === "ENOENT" ? "no such file" : `cannot be read (${String(code)})`;
    throw new MosError("bad_option", `${given ?? CONFIG_FILE}: ${why}`, { cause });
  }
}

/** The other sources of a command's options. */
interface SourceOptions extends Section {
  readonly conflicts: Conflicts;
  /** Options that the file of the working directory may set although nobody named it. */
  readonly harmless: readonly string[];
  /** Told of variables that have nearly an option's name. */
  readonly onNote: (text: string) => void;
  /** Told of the file that was found, and what it sets. */
  readonly onFound: (text: string) => void;
}

/**
 * The folder may be somebody else's, such as a repository that was cloned.
 *
 * @throws MosError `bad_option` where a file that nobody named sets other options than these.
 */
function checkFound(file: SourcedValues, harmless: readonly string[]): void {
  const name = [...file.keys()].find((one) => !harmless.includes(one));
  if (name === undefined) return;
  throw new MosError(
    "bad_option",
    `${file.get(name)?.origin}: ${name} may be set only by a file named with --config; pass --config ${CONFIG_FILE}, or set ${variableName(name)}`,
  );
}

/**
 * The values of the command line with those of the environment and of the configuration file.
 *
 * @throws MosError `bad_option`.
 */
export async function withOtherSources(
  line: SourcedValues,
  { options, conflicts, section, harmless, onNote, onFound }: SourceOptions,
): Promise<SourcedValues> {
  for (const text of notesOnEnvironment(options, process.env)) onNote(text);
  const environment = readEnvironment(options, process.env);
  const named = (line.get("config") ?? environment.get("config"))?.value;
  const path = typeof named === "string" ? named : undefined;
  const content = await readConfigFile(path);
  const { config: _, ...fields } = options;
  const file =
    content === undefined
      ? new Map<string, SourcedValue>()
      : readConfigValues(content, { where: path ?? CONFIG_FILE, section, options: fields });
  if (path === undefined && file.size > 0) {
    checkFound(file, harmless);
    onFound(`options from ${CONFIG_FILE}: ${[...file.keys()].join(", ")}`);
  }
  return joinSources([line, environment, file], { options, conflicts });
}
