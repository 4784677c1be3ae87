// Keys by which trainers ask models in the name of their job's tenant. Each ends with its slice.
import { randomBytes } from "node:crypto";
import { hashKey } from "mixture-of-shards/server";
import type { Database } from "#database";
import type { JobRow } from "./jobs.ts";

const PREFIX = "mos-job-";

/** Keys of running slices, in a database whose tables are there. */
export const openJobKeys = (database: Database) => ({
  /** A new key for a slice. Undefined where its lease is lost. */
  issue: async ({ id, slice, lease }: JobRow): Promise<string | undefined> => {
    const key = `${PREFIX}${randomBytes(32).toString("base64url")}`;
    const rows = await database.query(
      `update jobs set key_hash = $4
       where id = $1 and slice = $2 and lease = $3 and status = 'running' returning id`,
      [id, slice, lease, hashKey(key)],
    );
    return rows.length === 0 ? undefined : key;
  },
  /** The tenant whose job has this key now. */
  tenant: async (key: string): Promise<string | undefined> => {
    if (!key.startsWith(PREFIX)) return undefined;
    const [row] = await database.query(
      "select tenant from jobs where status = 'running' and lease_until > now() and key_hash = $1",
      [hashKey(key)],
    );
    return row === undefined ? undefined : String(row["tenant"]);
  },
});
