import { randomBytes } from "node:crypto";
import { appendFile } from "node:fs/promises";
import { storageError } from "#formats";
import { hashOfKey } from "#server";
import type { KeysOptions } from "./keys-command.ts";
import { given } from "./option-values.ts";
import { labelled, sayJson, sayLine } from "./terminal.ts";

/** Prints a new key, and keeps its hash only. */
export async function runKeys(options: KeysOptions): Promise<void> {
  const { name, admin, adapters, requestsPerMinute, maxConcurrent, append } = options;
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
  if (append !== undefined)
    await appendFile(append, `${JSON.stringify(line)}\n`, { mode: 0o600 }).catch((error) => {
      throw storageError(error, append);
    });
  if (options.json === true) sayJson({ key, line });
  else
    sayLine(
      labelled([
        ["key", `${key}  (shown this once)`],
        append === undefined ? ["line", JSON.stringify(line)] : ["added to", append],
      ]),
    );
}
