// Changes of a key file. A key is made and revoked by a line that is added, so that nothing is lost that others write meanwhile.
import { randomBytes } from "node:crypto";
import { appendFile } from "node:fs/promises";
import { dirname } from "node:path";
import { MosError, matching } from "mixture-of-shards-core/common";
import { lockChanges, pathExists, storageError } from "mixture-of-shards-core/files";
import { hashKey, KEY_NAME, type KeyFile, type KeyLine, keyLines, readKeyText } from "./auth.ts";

type KeyFilePlace = Pick<KeyFile, "path"> & Partial<Pick<KeyFile, "limits">>;

/** Digits of a hash that tell keys apart. Nobody is shown more of it. */
const HASH_DIGITS = 12;

/** The start of a key's hash, by which people name a key. */
export const shortHash = ({ sha256 }: Pick<KeyLine, "sha256">): string => sha256.slice(0, HASH_DIGITS);

/** Name of a key's tenant. */
export const keyName = matching(KEY_NAME, "letters, digits and . _ - @, at most 64 of them");

/** Start of a hash that names one key: fewer digits could be those of another key that is made later. */
export const keyStart = matching(
  /^[\da-f]{8,64}$/i,
  "the first digits of a hash as mos keys list shows it, at least 8",
);

/** The end of a key's life. */
export const keyExpiry = matching(
  /^(\d{1,5}[mhdw]|\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?)$/,
  "a time from now such as 12h, 30d or 8w, or a date such as 2027-01-31 or 2027-01-31T12:00:00Z",
);

const MINUTES: Readonly<Record<string, number>> = { m: 1, h: 60, d: 1440, w: 10_080 };

/** True if the day at the start of a text exists; Date takes the 31st of February for one of March. */
function isDay(text: string): boolean {
  const day = Date.parse(text.slice(0, 10));
  return !Number.isNaN(day) && new Date(day).toISOString().startsWith(text.slice(0, 10));
}

/**
 * The moment that a text of `keyExpiry` means.
 *
 * @param now Milliseconds since 1970.
 * @throws MosError `bad_option` for none, or one that is over.
 */
export function parseExpiry(text: string, now: number, name = "--expires"): string {
  const [, count, unit = ""] = /^(\d+)([mhdw])$/.exec(text) ?? [];
  const dated = isDay(text) ? Date.parse(text) : Number.NaN;
  const at = count === undefined ? dated : now + Number(count) * (MINUTES[unit] ?? 0) * 60_000;
  if (Number.isNaN(at)) throw new MosError("bad_option", `${name} ${text}: no such date or time`);
  if (at <= now) throw new MosError("bad_option", `${name} ${text} is in the past`);
  return new Date(at).toISOString();
}

/** True if a key has expired. */
export const isExpired = ({ expires_at }: KeyLine, now: number): boolean =>
  expires_at !== undefined && Date.parse(expires_at) <= now;

/** A new key, which nobody can read again, and its line, in which there is only its hash. */
export function makeKey(fields: Omit<KeyLine, "sha256"> & { readonly name: string }) {
  const key = `mos-${randomBytes(32).toString("base64url")}`;
  const { name, ...others } = fields;
  return { key, line: { name, sha256: hashKey(key), ...others } };
}

/** The keys of a file, the revoked ones, too. Throws as `keyLines` does. */
export const readKeyFile = async ({ path, limits }: KeyFilePlace): Promise<readonly KeyLine[]> =>
  keyLines(await readKeyText(path), path, limits);

/** Appends lines, also where the file lacks a final line end: owner, mode and earlier lines stay as they are. */
async function append(path: string, lines: readonly object[]): Promise<void> {
  const before = (await pathExists(path)) ? await readKeyText(path) : "";
  if (before.trimStart().startsWith("["))
    throw new MosError(
      "bad_config",
      `${path}: cannot append to a JSON array; write one object per line, or edit the file by hand`,
    );
  const start = before === "" || before.endsWith("\n") ? "" : "\n";
  const added = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  await appendFile(path, `${start}${added}`, { mode: 0o600 }).catch((error) => {
    throw storageError(error, path);
  });
}

/** Adds a key's line to a file, which is made if it is not there, while no other process changes it. */
export async function addKey(path: string, line: object): Promise<void> {
  await using _lock = await lockChanges(dirname(path));
  await append(path, [line]);
}

/**
 * Revokes those of the keys that `select` gives, while no other process changes the file.
 *
 * @returns The keys that were not revoked before.
 * @throws what `select` throws; then nothing is changed.
 */
export async function revokeKeys(
  place: KeyFilePlace,
  select: (keys: readonly KeyLine[]) => readonly KeyLine[],
): Promise<readonly KeyLine[]> {
  await using _lock = await lockChanges(dirname(place.path));
  const live = select(await readKeyFile(place)).filter(({ revoked }) => revoked !== true);
  const lines = live.map(({ name, sha256 }) => ({ name, sha256, revoked: true }));
  if (lines.length > 0) await append(place.path, lines);
  return live;
}
