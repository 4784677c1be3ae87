import { createHash } from "node:crypto";

/**
 * SHA-256 over rows as JSON, one a line: the same for the same questions, be they of a folder or of the hub's Parquet
 * files. `parts` tell the kinds of rows apart.
 */
export function digestOfRows(parts: Readonly<Record<string, readonly unknown[]>>): string {
  const hash = createHash("sha256");
  for (const name of Object.keys(parts).sort()) {
    hash.update(`${name}\n`);
    for (const row of parts[name] ?? []) hash.update(`${JSON.stringify(row)}\n`);
  }
  return hash.digest("hex");
}
