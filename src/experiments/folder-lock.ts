import { rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { MosError } from "#core";
import { readJson, storageError, systemCode } from "#formats";

const LOCK = "running.json";
const holderSchema = z.object({ pid: z.int().positive(), host: z.string() });

/** What a crash has left. A process of our own number is one from before a restart. */
function isGone({ pid, host }: z.output<typeof holderSchema>): boolean {
  if (host !== hostname()) return false;
  if (pid === process.pid) return true;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return systemCode(error) === "ESRCH";
  }
}

/**
 * Keeps other processes from running an experiment in a folder, until disposed of: two would train the same cells into
 * the same files. Throws MosError `bad_option` where one does, `storage`.
 */
export async function lockFolder(folder: string): Promise<AsyncDisposable> {
  const path = join(folder, LOCK);
  const take = async (): Promise<boolean> => {
    try {
      await writeFile(path, JSON.stringify({ pid: process.pid, host: hostname() }), { flag: "wx" });
      return true;
    } catch (error) {
      if (systemCode(error) === "EEXIST") return false;
      throw storageError(error, path);
    }
  };
  if (!(await take())) {
    const holder = await readJson(path, holderSchema, { code: "bad_data" }).catch(() => undefined);
    if (holder !== undefined && isGone(holder)) await rm(path, { force: true });
    if (!(await take()))
      throw new MosError(
        "bad_option",
        `the folder ${folder} is in use${holder === undefined ? "" : ` by process ${holder.pid} on ${holder.host}`}: ` +
          `wait for it, or choose another --out. If nothing runs there any more, remove ${path}`,
      );
  }
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}
