// The tenants of a server that is put under load.
import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hashKey } from "#server";

export interface Tenant {
  readonly key: string;
  readonly adapters: readonly string[];
}

const newKey = (): string => `mos-${randomBytes(24).toString("base64url")}`;

/**
 * Deals the adapters out to four tenants and writes their keys; the last one may have four requests at a time.
 *
 * @returns The tenants, and an administrator's key.
 */
export async function makeTenants(
  file: string,
  adapters: readonly string[],
): Promise<{ readonly tenants: readonly Tenant[]; readonly admin: string }> {
  const tenants = [0, 1, 2, 3].map((i) => ({
    key: newKey(),
    adapters: adapters.filter((_, k) => k % 4 === i),
  }));
  const admin = newKey();
  const lines = tenants.map(({ key, adapters: own }, i) => ({
    name: `tenant-${i}`,
    sha256: hashKey(key),
    adapters: own,
    ...(i === 3 ? { max_concurrent: 4 } : {}),
  }));
  const all = [...lines, { name: "operator", sha256: hashKey(admin), admin: true }];
  await writeFile(file, all.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return { tenants, admin };
}

/** A digest of every file of a folder, with its path. */
export async function digestFolder(folder: string): Promise<string> {
  const hash = createHash("sha256");
  for (const entry of (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name))
    .sort())
    hash.update(`${entry}\n`).update(await readFile(entry));
  return hash.digest("hex");
}
