import { MosError } from "mixture-of-shards";
import pg from "pg";
import { type Database, type Queryable, type Row, storableValues } from "./database.ts";

/** Codes of failed or lost connections: the same statement may succeed later. */
const CONNECTION =
  /^(08|57P|25P03|53300|ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE|EHOST|ENET)|terminated|timeout exceeded when trying to connect|Client has encountered a connection error/i;

/** Host of a URL, without its password. */
function describeHost(url: string): string {
  try {
    const { host, pathname } = new URL(url);
    return `${host}${pathname}`;
  } catch {
    return "the database";
  }
}

function readable(cause: unknown, url: string): unknown {
  if (!(cause instanceof Error)) return cause;
  const code = "code" in cause ? String(cause.code) : "";
  if (!CONNECTION.test(code) && !(code === "" && CONNECTION.test(cause.message))) return cause;
  const reason = cause.message || code;
  return new MosError("network", `PostgreSQL at ${describeHost(url)} cannot be reached: ${reason}`, {
    cause,
  });
}

const { builtins } = pg.types;
/** Counts and byte sizes stay far below 2^53. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((id: number, format: "text") =>
    id === builtins.INT8 ? Number : pg.types.getTypeParser(id, format)) as typeof pg.types.getTypeParser,
};

/** Several statements give a list of results. */
const lastRows = (found: pg.QueryResult | readonly pg.QueryResult[]): readonly Row[] => {
  const last = Array.isArray(found) ? found.at(-1) : found;
  return last?.rows ?? [];
};

const queryable = (client: pg.PoolClient): Queryable => ({
  query: async (text, values) =>
    lastRows(await client.query(text, values === undefined ? [] : storableValues(values))),
});

/**
 * A pool of connections to PostgreSQL, opened when they are needed. `idleSeconds` end an idle transaction, whose process may have been
 * stopped: it must not keep its locks.
 *
 * @throws MosError `bad_option` for what is not a URL, `network` where the database does not answer.
 */
export async function openPostgres(
  url: string,
  { connections = 8, idleSeconds = 30 } = {},
): Promise<Database> {
  if (!/^postgres(ql)?:\/\//.test(url))
    throw new MosError(
      "bad_option",
      "databaseUrl: give a URL such as postgres://user:password@host/database",
    );
  const pool = new pg.Pool({
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 60_000,
    application_name: "mixture-of-shards",
    types,
  });
  pool.on("error", () => undefined); // of an idle connection, which the pool replaces
  /** Works with one connection. One that failed in the middle is not used again. */
  const withClient = async <T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> => {
    let client: pg.PoolClient | undefined;
    try {
      client = await pool.connect();
      client.on("error", ignore);
      const result = await work(client);
      client.off("error", ignore);
      client.release();
      return result;
    } catch (cause) {
      client?.release(true);
      throw readable(cause, url);
    }
  };
  const database: Database = {
    kind: "postgres",
    check: async () => undefined,
    query: (text, values) => withClient((client) => queryable(client).query(text, values)),
    transaction: (work) =>
      withClient(async (client) => {
        await client.query(`begin; set local idle_in_transaction_session_timeout = '${idleSeconds} s'`);
        try {
          const result = await work(queryable(client));
          await client.query("commit");
          return result;
        } catch (error) {
          await client.query("rollback").catch(() => undefined);
          throw error;
        }
      }),
    [Symbol.asyncDispose]: () => pool.end(),
  };
  try {
    await database.query("select 1");
  } catch (error) {
    await database[Symbol.asyncDispose]();
    throw error;
  }
  return database;
}

/** The statement that runs has the same error. */
const ignore = (): void => undefined;
