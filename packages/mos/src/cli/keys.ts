import {
  flag,
  MosError,
  omitUndefined,
  type Settings,
  type SettingValues,
  setting,
  snakeCase,
} from "mixture-of-shards-core/common";
import {
  addKey,
  isExpired,
  type KeyLimits,
  type KeyLine,
  keyExpiry,
  keyName,
  keyStart,
  makeKey,
  parseExpiry,
  readKeyFile,
  revokeKeys,
  shortHash,
} from "mixture-of-shards-server";
import { z } from "zod";
import { installedServeAddOns, listKeyLimits } from "./add-ons.ts";
import { type Command, defineCommand, group, refuseOthers } from "./command.ts";
import { counted, formatInteger, labelled, textTable } from "./format.ts";
import { printable, printJson, printLine, printResult } from "./terminal.ts";

const ACTIONS = ["create", "list", "revoke"] as const;

const keyOptions = {
  ...group("Key", {
    name: setting(keyName, {
      placeholder: "name",
      help: "tenant that owns the key; fair scheduling and limits apply per tenant",
    }),
    sha256: setting(keyStart, {
      placeholder: "start",
      help: "revoke: key whose hash starts with these digits",
    }),
  }),
  ...group("New key", {
    admin: flag({ help: "allow adding, replacing and removing adapters, and reading /metrics" }),
    adapters: setting(z.array(z.string()).readonly(), {
      placeholder: "pattern...",
      defaultText: "all",
      help: 'adapters that the key may use, such as "acme-*"',
    }),
    requestsPerMinute: setting(z.int().min(1), { help: "rate limit: requests per minute" }),
    maxConcurrent: setting(z.int().min(1), { help: "maximum number of concurrent requests" }),
    tokensPerDay: setting(z.int().min(1), { help: "quota of prompt and output tokens per UTC day" }),
    tokensPerMonth: setting(z.int().min(1), { help: "quota of prompt and output tokens per UTC month" }),
    expires: setting(keyExpiry, {
      placeholder: "when",
      defaultText: "never",
      help: "expiry: 12h, 30d, 8w, or a date in UTC",
    }),
  }),
};
const outputOptions = group("Output", {
  append: setting(z.string(), { placeholder: "file", help: "create: append the key to this file" }),
});
type KeyOptions = typeof keyOptions & typeof outputOptions;
const positional = {
  action: setting(z.enum(ACTIONS), { required: true, help: ACTIONS.join(", ") }),
  file: setting(z.string(), { help: "list, revoke: key file" }),
};
type Options = SettingValues<KeyOptions> & { readonly json: boolean };

/** The command, with options for the limits of installed add-ons. */
export async function loadCommand(): Promise<Command> {
  const limits = listKeyLimits(await installedServeAddOns());
  const limitOptions: Settings = Object.assign({}, ...limits.map(({ options }) => options));
  // the limits' own values are read by their names
  const options = { ...keyOptions, ...limitOptions, ...outputOptions } as KeyOptions;
  return defineCommand({
    description:
      "Creates API keys for mos serve, and lists and revokes the keys of a key file. " +
      "The file stores only the hash of each key.",
    usage: "create --name <name> [options] | list <file> | revoke <file> (--name <name> | --sha256 <start>)",
    arguments: positional,
    options,
    examples: `
Examples:
  mos keys create --name acme --adapters "acme-*" --append keys.jsonl
  mos keys create --name operator --admin --append keys.jsonl
  mos keys create --name trial --expires 30d --tokens-per-day 100000 --append keys.jsonl
  mos keys list keys.jsonl
  mos keys revoke keys.jsonl --name acme
      revokes every key of that name
  mos keys revoke keys.jsonl --sha256 5e884898da28
      revokes one key, by the start of its hash, which list shows

A new key is shown once; the file stores only its hash. revoke appends a line to the file; a server that runs with
--api-keys then refuses the key within about a second. Running requests finish.`,
    run: (values) => run(values, { options, limits }),
  });
}

/** True if an action takes an option. */
const isOptionOf = (action: (typeof ACTIONS)[number], name: string): boolean =>
  action === "create" ? name !== "sha256" : action === "revoke" && ["name", "sha256"].includes(name);

const invalid = (message: string): MosError => new MosError("bad_option", message);

/** Does what is asked with keys, and shows no key but one that it makes. */
async function run(
  { action, file, ...values }: Options & SettingValues<typeof positional>,
  { options, limits }: { readonly options: Settings; readonly limits: readonly KeyLimits[] },
): Promise<void> {
  refuseOthers(options, values, { isTaken: (name) => isOptionOf(action, name), command: `keys ${action}` });
  if (action === "create") {
    if (file !== undefined)
      throw invalid(`mos keys create takes no file; use --name ${file} or --append ${file}`);
    await create(values, limits);
    return;
  }
  if (file === undefined) throw invalid(`the key file is missing: mos keys ${action} keys.jsonl`);
  if (action === "list") list(await readKeyFile({ path: file, limits }), { ...values, limits });
  else await revoke(file, { limits, options: values });
}

/** Limits of an add-on that were given as options; undefined for none. */
function givenLimits(
  { options = {} }: KeyLimits,
  values: Readonly<Record<string, unknown>>,
): object | undefined {
  const given = Object.keys(options).flatMap((name) =>
    values[name] === undefined ? [] : [[snakeCase(name), values[name]] as const],
  );
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

/** Prints a new key, and keeps its hash only. */
async function create(options: Options, limits: readonly KeyLimits[]): Promise<void> {
  const { name, admin, adapters, requestsPerMinute, maxConcurrent, expires, append: file } = options;
  if (name === undefined) throw invalid("--name is required: the tenant that owns the key");
  const { key, line } = makeKey({
    name,
    ...omitUndefined({
      adapters,
      admin: admin ? true : undefined,
      requests_per_minute: requestsPerMinute,
      max_concurrent: maxConcurrent,
      tokens_per_day: options.tokensPerDay,
      tokens_per_month: options.tokensPerMonth,
      expires_at: expires === undefined ? undefined : parseExpiry(expires, Date.now()),
      ...Object.fromEntries(limits.map((one) => [one.name, givenLimits(one, options)])),
    }),
  });
  if (file !== undefined) await addKey(file, line);
  printResult(options.json, { key, line }, () =>
    labelled([
      ["key", `${key}  (shown this once)`],
      file === undefined ? ["line", JSON.stringify(line)] : ["added to", file],
    ]),
  );
}

function describeState(key: KeyLine): string {
  if (key.revoked === true) return "revoked";
  if (isExpired(key, Date.now())) return "expired";
  return key.admin === true ? "admin" : "";
}

/** Columns that are shown where a key has something in them. */
const moreColumns = (
  limits: readonly KeyLimits[],
): readonly (readonly [head: string, of: (key: KeyLine) => string | undefined])[] => [
  ["tokens a day", ({ tokens_per_day: count }) => (count === undefined ? undefined : formatInteger(count))],
  ["a month", ({ tokens_per_month: count }) => (count === undefined ? undefined : formatInteger(count))],
  ["expires", ({ expires_at }) => expires_at],
  ...limits.map(({ name }) => {
    const of = ({ [name]: given = {} }: KeyLine): string =>
      Object.entries(Object(given))
        .map(([field, value]) => `${field} ${value}`)
        .join(", ");
    return [name.replaceAll("_", "-"), of] as const;
  }),
];

function list(
  keys: readonly KeyLine[],
  { json, limits }: Options & { readonly limits: readonly KeyLimits[] },
): void {
  if (json) printJson({ keys: keys.map((key) => ({ ...key, sha256: shortHash(key) })) });
  else if (keys.length === 0) printLine("no keys");
  else {
    const more = moreColumns(limits).filter(([, of]) => keys.some((key) => (of(key) ?? "") !== ""));
    const rows = keys.map((key) => [
      ...[key.name, shortHash(key), describeState(key)],
      String(key.requests_per_minute ?? "–"),
      String(key.max_concurrent ?? "–"),
      printable(key.adapters?.join(" ") ?? "all"),
      ...more.map(([, of]) => of(key) ?? ""),
    ]);
    const head = ["name", "sha256", "", "a minute", "at a time", "adapters", ...more.map(([name]) => name)];
    printLine(textTable([head, ...rows], { left: [...head.keys()].filter((i) => i < 3 || i > 4) }));
  }
}

/** The keys that are meant: all of a name, or the one whose hash begins so. */
function selectKeys(keys: readonly KeyLine[], file: string, { name, sha256 }: Options): readonly KeyLine[] {
  if (name === undefined && sha256 === undefined)
    throw invalid(
      "--name or --sha256 is required: --name NAME for all keys of a name, --sha256 START for one key",
    );
  const found = keys.filter(
    (key) => (name === undefined || key.name === name) && key.sha256.startsWith(sha256?.toLowerCase() ?? ""),
  );
  const asked = [name === undefined ? "" : ` named ${name}`, sha256 === undefined ? "" : ` ${sha256}…`];
  if (found.length === 0)
    throw new MosError("not_found", `${file}: no key${asked.join("")}; mos keys list ${file} lists the keys`);
  if (sha256 !== undefined && found.length > 1)
    throw invalid(`--sha256 ${sha256} matches ${found.length} keys; give more digits`);
  return found;
}

async function revoke(
  file: string,
  { limits, options }: { readonly limits: readonly KeyLimits[]; readonly options: Options },
): Promise<void> {
  let found: readonly KeyLine[] = [];
  const revoked = await revokeKeys({ path: file, limits }, (keys) => {
    found = selectKeys(keys, file, options);
    return found;
  });
  const rows = revoked.map((key) => ({ name: key.name, sha256: shortHash(key) }));
  printResult(options.json, { revoked: rows }, () =>
    rows.length === 0
      ? `nothing to do: ${counted(found.length, "key")} already revoked`
      : labelled(rows.map(({ name, sha256 }) => ["revoked", `${name}  ${sha256}`])),
  );
}
