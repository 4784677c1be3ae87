import { MosError } from "mixture-of-shards/core";
import postgres from "postgres";
import type { Database, Queryable, Row } from "./database.ts";

/** What a connection could not be made for, or lost by: the same statement may succeed later. */
const CONNECTION = /^(CONNECTION_|CONNECT_TIMEOUT|ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE|08|57P0|53300)/;

/** Where a URL leads, without its password. */
function hostOf(url: string): string {
  try {
    const { host, pathname } = new URL(url);
    return `${host}${pathname}`;
  } catch {
    return "the database";
  }
}

function readable(cause: unknown, url: string): unknown {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  if (!CONNECTION.test(code)) return cause;
  const reason = cause instanceof Error ? cause.message || code : code;
  return new MosError("network", `PostgreSQL at ${hostOf(url)} cannot be reached: ${reason}`, { cause });
}

/**
 * A pool of connections to PostgreSQL, opened when they are needed.
 *
 * @throws MosError `bad_option` for what is not a URL, `network` where the database does not answer.
 */
export async function openPostgres(
  url: string,
  { connections = 8 }: { readonly connections?: number } = {},
): Promise<Database> {
  if (!/^postgres(ql)?:\/\//.test(url))
    throw new MosError(
      "bad_option",
      "databaseUrl: give a URL such as postgres://user:password@host/database",
    );
  const sql = postgres(url, {
    max: connections,
    connect_timeout: 10,
    idle_timeout: 60,
    onnotice: () => undefined,
    connection: { application_name: "mixture-of-shards", TimeZone: "UTC" },
    types: {
      // counts and byte sizes stay far below 2^53
      bigint: { to: 20, from: [20], parse: Number, serialize: String },
      // a text is JSON already, as for the other driver
      json: {
        to: 3802,
        from: [114, 3802],
        parse: (text: string) => JSON.parse(text),
        serialize: (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value)),
      },
    },
  });
  const queryable = (on: postgres.Sql | postgres.TransactionSql): Queryable => ({
    query: async (text, values = []) => {
      const found = await on
        .unsafe(text, values.map((value) => value ?? null) as never[], { prepare: values.length > 0 })
        .catch((cause: unknown) => {
          throw readable(cause, url);
        });
      return lastRows(found);
    },
  });
  const database: Database = {
    kind: "postgres",
    query: async (text, values) => {
      if (values !== undefined) return queryable(sql).query(text, values);
      // several statements, which may be a transaction of their own
      await using connection = await reserve(sql, url);
      return await queryable(connection.sql).query(text);
    },
    transaction: async (work) => {
      try {
        return (await sql.begin((transaction) => work(queryable(transaction)))) as Awaited<
          ReturnType<typeof work>
        >;
      } catch (cause) {
        throw readable(cause, url);
      }
    },
    [Symbol.asyncDispose]: () => sql.end({ timeout: 5 }),
  };
  try {
    await database.query("select 1");
  } catch (error) {
    await database[Symbol.asyncDispose]();
    throw error;
  }
  return database;
}

async function reserve(sql: postgres.Sql, url: string) {
  const reserved = await sql.reserve().catch((cause: unknown) => {
    throw readable(cause, url);
  });
  return { sql: reserved, [Symbol.asyncDispose]: async () => reserved.release() };
}

/** Several statements give a list of results. */
function lastRows(found: readonly unknown[]): readonly Row[] {
  const last = found.at(-1);
  return Array.isArray(last) ? (last as Row[]) : (found as readonly Row[]);
}
