import { randomBytes } from "node:crypto";
import { appendFile } from "node:fs/promises";
import { MosError } from "#core";
import { decodeText, pathExists, readBytes, storageError } from "#formats";
import { hashOfKey } from "#server";
import type { KeysOptions } from "./keys-command.ts";
import { given } from "./option-values.ts";
import { labelled, sayJson, sayLine } from "./terminal.ts";

/** Adds a line, also behind one that an editor has left without its end. */
async function append(path: string, line: object): Promise<void> {
  const place = { code: "bad_config", where: path } as const;
  const before = (await pathExists(path)) ? decodeText(await readBytes(path, place), place) : "";
  if (before.trimStart().startsWith("["))
    throw new MosError(
      "bad_config",
      `${path}: this is an array; write one object a line, or leave --append out and add the line by hand`,
    );
  const start = before === "" || before.endsWith("\n") ? "" : "\n";
  await appendFile(path, `${start}${JSON.stringify(line)}\n`, { mode: 0o600 }).catch((error) => {
    throw storageError(error, path);
  });
}

/** Prints a new key, and keeps its hash only. */
export async function runKeys(options: KeysOptions): Promise<void> {
  const { name, admin, adapters, requestsPerMinute, maxConcurrent, append: file } = options;
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
  if (file !== undefined) await append(file, line);
  if (options.json === true) sayJson({ key, line });
  else
    sayLine(
      labelled([
        ["key", `${key}  (shown this once)`],
        file === undefined ? ["line", JSON.stringify(line)] : ["added to", file],
      ]),
    );
}
