import { randomBytes } from "node:crypto";
import { appendFile } from "node:fs/promises";
import { decodeText, MosError } from "#core";
import { hashOfKey, type KeyLine, keyLines } from "#server";
import { pathExists, readBytes, storageError } from "#storage";
import { flagOf } from "./adapter-input.ts";
import type { KeyAction, KeysOptions } from "./keys-command.ts";
import { given } from "./option-values.ts";
import { counted, labelled, sayJson, sayLine, shown } from "./terminal.ts";
import { textTable } from "./text-table.ts";

/** Digits of a hash that tell keys apart. */
const SHOWN_DIGITS = 12;

const GENERAL = ["json", "verbose"];
const SETTINGS: Readonly<Record<KeyAction, readonly string[]>> = {
  create: ["name", "admin", "adapters", "requestsPerMinute", "maxConcurrent", "append"],
  list: [],
  revoke: ["name", "sha256"],
};

interface Asked {
  readonly file: string | undefined;
  readonly options: KeysOptions;
}

const wrong = (message: string): MosError => new MosError("bad_option", message);

/** Does what is asked with keys, and shows no key but one that it makes. */
export async function runKeys(action: KeyAction, { file, options }: Asked): Promise<void> {
  const foreign = Object.keys(options).find(
    (name) => !GENERAL.includes(name) && !SETTINGS[action].includes(name),
  );
  if (foreign !== undefined)
    throw wrong(`${flagOf(foreign)} does not go with mos keys ${action}; see mos keys --help`);
  if (action === "create") {
    if (file !== undefined) throw wrong(`mos keys create reads no file; write --append ${file}`);
    await create(options);
    return;
  }
  if (file === undefined) throw wrong(`mos keys ${action} needs the key file: mos keys ${action} keys.jsonl`);
  const keys = keyLines(await textOf(file), file);
  if (action === "list") list(keys, options);
  else await revoke(keys, { file, options });
}

async function textOf(path: string): Promise<string> {
  const place = { code: "bad_config", where: path } as const;
  return decodeText(await readBytes(path, place), place);
}

/** Adds lines, also behind one that an editor has left without its end: owner, mode and earlier lines stay as they are. */
async function append(path: string, lines: readonly object[]): Promise<void> {
  const before = (await pathExists(path)) ? await textOf(path) : "";
  if (before.trimStart().startsWith("["))
    throw new MosError(
      "bad_config",
      `${path}: this is an array, and lines cannot be added to it; write one object a line, or change it by hand`,
    );
  const start = before === "" || before.endsWith("\n") ? "" : "\n";
  const added = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  await appendFile(path, `${start}${added}`, { mode: 0o600 }).catch((error) => {
    throw storageError(error, path);
  });
}

/** Prints a new key, and keeps its hash only. */
async function create(options: KeysOptions): Promise<void> {
  const { name, admin, adapters, requestsPerMinute, maxConcurrent, append: file } = options;
  if (name === undefined) throw wrong("required option '--name <name>' not given; it says whose key it is");
  const key = `mos-${randomBytes(32).toString("base64url")}`;
  const line = {
    name,
    sha256: hashOfKey(key),
    ...given({
      adapters,
      admin,
      requests_per_minute: requestsPerMinute,
      max_concurrent: maxConcurrent,
    }),
  };
  if (file !== undefined) await append(file, [line]);
  if (options.json === true) sayJson({ key, line });
  else
    sayLine(
      labelled([
        ["key", `${key}  (shown this once)`],
        file === undefined ? ["line", JSON.stringify(line)] : ["added to", file],
      ]),
    );
}

const shortHash = ({ sha256 }: KeyLine): string => sha256.slice(0, SHOWN_DIGITS);

function list(keys: readonly KeyLine[], { json }: KeysOptions): void {
  if (json === true) sayJson({ keys: keys.map((key) => ({ ...key, sha256: shortHash(key) })) });
  else if (keys.length === 0) sayLine("the file holds no keys");
  else {
    const rows = keys.map((key) => [
      key.name,
      shortHash(key),
      key.revoked === true ? "revoked" : key.admin === true ? "admin" : "",
      String(key.requests_per_minute ?? "–"),
      String(key.max_concurrent ?? "–"),
      shown(key.adapters?.join(" ") ?? "all"),
    ]);
    const head = ["name", "sha256", "", "a minute", "at a time", "adapters"];
    sayLine(textTable([head, ...rows], { left: [0, 1, 2, 5] }));
  }
}

/** The keys that are meant: all of a name, or the one whose hash begins so. */
function chosen(keys: readonly KeyLine[], file: string, { name, sha256 }: KeysOptions): readonly KeyLine[] {
  if (name === undefined && sha256 === undefined)
    throw wrong("which keys? Give --name NAME for all of that name, or --sha256 START for one of them");
  const found = keys.filter(
    (key) => (name === undefined || key.name === name) && key.sha256.startsWith(sha256 ?? ""),
  );
  const asked = [name === undefined ? "" : ` of the name ${name}`, sha256 === undefined ? "" : ` ${sha256}…`];
  if (found.length === 0)
    throw new MosError(
      "not_found",
      `${file}: there is no key${asked.join("")}; mos keys list ${file} shows those that there are`,
    );
  if (sha256 !== undefined && found.length > 1)
    throw wrong(`--sha256 ${sha256} is the start of ${found.length} hashes; give more digits`);
  return found;
}

/** A line that revokes is added for each key, so that nothing is lost that another program adds meanwhile. */
async function revoke(
  keys: readonly KeyLine[],
  { file, options }: { readonly file: string; readonly options: KeysOptions },
): Promise<void> {
  const found = chosen(keys, file, options);
  const live = found.filter(({ revoked }) => revoked !== true);
  if (live.length > 0)
    await append(
      file,
      live.map(({ name, sha256 }) => ({ name, sha256, revoked: true })),
    );
  const rows = live.map((key) => ({ name: key.name, sha256: shortHash(key) }));
  if (options.json === true) sayJson({ revoked: rows });
  else if (rows.length === 0) sayLine(`nothing to do: ${counted(found.length, "key")} revoked before`);
  else sayLine(labelled(rows.map(({ name, sha256 }) => ["revoked", `${name}  ${sha256}`])));
}
