import { PGlite } from "@electric-sql/pglite";
import { MosError, reasonOf } from "mixture-of-shards/core";
import { type Database, type Queryable, storableValues } from "./database.ts";
import { holdFolder } from "./hold-folder.ts";

/**
 * PostgreSQL inside this process, kept in a folder or, without one, in memory. Only one process may have the folder open.
 * A killed process loses nothing that was committed. It does not wait for the disk, so a power failure may lose the last
 * changes; PostgreSQL does.
 *
 * @throws MosError `bad_option` where another process has the folder, `storage` where it cannot be used.
 */
export async function openPglite(folder?: string): Promise<Database> {
  const hold = folder === undefined ? undefined : await holdFolder(folder);
  try {
    const pglite = await PGlite.create(folder === undefined ? {} : { dataDir: folder });
    await pglite.query("set time zone 'UTC'");
    return databaseOf(pglite, async () => {
      await pglite.close();
      await hold?.[Symbol.asyncDispose]();
    });
  } catch (cause) {
    await hold?.[Symbol.asyncDispose]();
    const reason = reasonOf(cause);
    throw new MosError("storage", `${folder ?? "memory"}: the database cannot be opened: ${reason}`, {
      cause,
    });
  }
}

/** PGlite writes its own JSON; a value that is JSON already is text for it. */
type Statements = Pick<PGlite, "query" | "exec">;

const queryable = (on: Statements): Queryable => ({
  query: async (text, values) => {
    if (values !== undefined)
      return (await on.query<Record<string, unknown>>(text, storableValues(values))).rows;
    try {
      return (await on.exec(text)).at(-1)?.rows ?? [];
    } catch (error) {
      await on.exec("rollback"); // several statements may have begun a transaction
      throw error;
    }
  },
});

function databaseOf(pglite: PGlite, close: () => Promise<void>): Database {
  return {
    kind: "pglite",
    ...queryable(pglite),
    transaction: async (work) => pglite.transaction((transaction) => work(queryable(transaction))),
    [Symbol.asyncDispose]: close,
  };
}
