import { stat } from "node:fs/promises";
import { decodeText } from "#core";
import { readBytes } from "#storage";
import type { ServerLog } from "./context.ts";
import { findKey, type KeyRing, parseKeys } from "./key-ring.ts";

export interface KeyFileOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly log: Pick<ServerLog, "info" | "error">;
}

/** How often the file is looked at, in milliseconds. */
const LOOK_EVERY = 1000;

const place = (path: string) => ({ code: "bad_config", where: path }) as const;

/** Size and times tell whether a file was written to or replaced. */
async function stampOf(path: string): Promise<string> {
  const { mtimeNs, ctimeNs, size, ino } = await stat(path, { bigint: true });
  return `${mtimeNs} ${ctimeNs} ${size} ${ino}`;
}

const readKeys = async (path: string): Promise<ReturnType<typeof parseKeys>> =>
  parseKeys(decodeText(await readBytes(path, place(path)), place(path)), path);

/**
 * The keys of a file, which is read again when it has changed: a removed or revoked key is refused a second later. A
 * file that cannot be read then leaves the keys as they are, and the log says so.
 *
 * @throws MosError `not_found`, `storage` or `bad_config` where it cannot be read at the start.
 */
export async function openKeyFile(path: string, { now, log }: KeyFileOptions): Promise<KeyRing> {
  let stamp = await stampOf(path).catch(() => "");
  let keys = await readKeys(path);
  let lookedAt = now();
  const look = async (): Promise<void> => {
    try {
      const current = await stampOf(path);
      if (current === stamp) return;
      keys = await readKeys(path);
      stamp = current;
      log.info({ keys: keys.length }, "the key file was read again");
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.error({ reason }, "the key file cannot be read; the keys stay as they were");
    }
  };
  return {
    async find(token) {
      if (now() - lookedAt >= LOOK_EVERY) {
        lookedAt = now();
        await look();
      }
      return findKey(keys, token);
    },
  };
}
