// Responses that clients refer to later: each tenant's, within bytes and days. Older ones give way to newer ones.

import type { ResponseLimits, ResponseStore, StoredResponse } from "mixture-of-shards/server";
import { z } from "zod";
import { type Database, lockTenant, type Queryable, queryRows, removeOldest } from "#database";

const responses = {
  name: "responses",
  item: "response",
  // JSON as text, which holds what the server has checked before: jsonb has no zero characters, which a model may write
  schema: z.object({ body: z.string().transform((body): StoredResponse => JSON.parse(body)) }),
};

/** Stored responses of a database whose tables are there. */
export function openResponses(database: Database) {
  const find = async (tenant: string, condition: string, id: string): Promise<StoredResponse | undefined> => {
    const text = `select body from responses where tenant = $1 and ${condition} and expires_at > now() order by number desc limit 1`;
    return (await queryRows(database, responses, text, [tenant, id]))[0]?.body;
  };
  return {
    /** Removes those whose time is over. */
    removeExpired: async (): Promise<void> => {
      await database.query("delete from responses where expires_at <= now()");
    },
    /** The store of a server with these limits. */
    within: (limits: ResponseLimits): ResponseStore => ({
      put: (tenant, response) =>
        database.transaction((transaction) => put(transaction, { tenant, response, limits })),
      get: (tenant, id) => find(tenant, "id = $2", id),
      item: async (tenant, id) => {
        const found = await find(tenant, "$2 = any (items)", id);
        const items = [...(found?.input ?? []), ...(found?.output ?? [])];
        return items.find((item) => item.id === id) as Awaited<ReturnType<ResponseStore["item"]>>;
      },
      delete: async (tenant, id) => {
        const rows = await database.query(
          "delete from responses where tenant = $1 and id = $2 and expires_at > now() returning id",
          [tenant, id],
        );
        return rows.length > 0;
      },
    }),
  };
}

async function put(
  on: Queryable,
  { tenant, response, limits }: { tenant: string; response: StoredResponse; limits: ResponseLimits },
): Promise<void> {
  const body = JSON.stringify(response);
  const bytes = Buffer.byteLength(body);
  await lockTenant(on, tenant);
  await on.query("delete from responses where tenant = $1 and id = $2", [tenant, response.id]);
  if (bytes > limits.bytes) return;
  const items = [...response.input, ...response.output].map(({ id }) => id);
  await on.query(
    `insert into responses (tenant, id, items, body, bytes, expires_at)
     values ($1, $2, $3, $4, $5, now() + make_interval(days => $6))`,
    [tenant, response.id, items, body, bytes, limits.days],
  );
  await removeOldest(on, responses, { tenant, bytes: limits.bytes });
}
