// Usage of tenants, by hour and model. Training is added in the transaction in which a slice ends, and so exactly once;
// requests are added up in memory and written together.
import { z } from "zod";
import { type Database, isOwned, type Owner, ownerValues, type Queryable, queryRows } from "#database";
import type { JobRow } from "./jobs.ts";

const usage = {
  name: "usage",
  item: "usage",
  schema: z.object({
    /** The start of its hour or day, in seconds since 1970. */
    start: z.number(),
    tenant: z.string(),
    model: z.string().nullable(),
    requests: z.number(),
    prompt_tokens: z.number(),
    cached_tokens: z.number(),
    completion_tokens: z.number(),
    serving_seconds: z.number(),
    trained_tokens: z.number(),
    training_seconds: z.number(),
  }),
};
/** Usage of a tenant in an hour or a day. */
export type UsageRow = z.output<typeof usage.schema>;

/** What is counted of requests, with the types of the columns. */
const SERVED = {
  requests: "bigint",
  prompt_tokens: "bigint",
  cached_tokens: "bigint",
  completion_tokens: "bigint",
  serving_seconds: "double precision",
} as const;
const COUNTS = Object.keys(SERVED) as readonly (keyof typeof SERVED)[];
const countedAs = (toSql: (name: keyof typeof SERVED) => string): string => COUNTS.map(toSql).join(", ");

/** A request that was answered, or several of a tenant's to one model. */
export type Served = Pick<UsageRow, "tenant" | keyof typeof SERVED> & { readonly model: string };

/** Range and unit of a usage query. Times in seconds since 1970, by UTC. */
export interface UsageOptions {
  /** Seconds of an hour or a day. */
  readonly width: number;
  /** Rounded down; without it, the last `limit` hours or days. */
  readonly start?: number | undefined;
  /** The first moment that is not looked at; at most now. */
  readonly end?: number | undefined;
  /** The most hours or days. */
  readonly limit: number;
  readonly byModel: boolean;
  /** Filters by this tenant. */
  readonly tenant?: string | undefined;
}

/** Pairs of tenant and model in memory while the database is away; more models of a tenant are counted together. */
const MAX_PENDING = 10_000;
const OTHER = "other";

const HOUR = "date_trunc('hour', now(), 'UTC')";

/** Usage of a database whose tables are there. */
export function openUsage(database: Database) {
  let waiting = new Map<string, Served>();
  const add = (served: Served): void => {
    const { tenant } = served;
    const usageKey = (model: string): string => JSON.stringify([tenant, model]);
    const isNamed = waiting.has(usageKey(served.model)) || waiting.size < MAX_PENDING;
    const model = isNamed ? served.model : OTHER;
    const before = waiting.get(usageKey(model));
    waiting.set(usageKey(model), before === undefined ? { ...served, model } : addUsage(before, served));
  };
  return {
    speed: (model: string): Promise<number | undefined> => measureSpeed(database, model),
    /** Hours or days, those without use, too, and the start of the next page. */
    read: (owner: Owner, options: UsageOptions) => readUsage(database, owner, options),
    /** Adds requests in memory until `write`. */
    add,
    /** Writes what was added. Where that fails it is kept for the next time. */
    write: async (): Promise<void> => {
      if (waiting.size === 0) return;
      const batch = [...waiting.values()];
      waiting = new Map();
      try {
        await writeBatch(database, batch);
      } catch (error) {
        for (const served of batch) add(served);
        throw error;
      }
    },
  };
}

const addUsage = (a: Served, b: Served): Served => ({
  ...a,
  ...Object.fromEntries(COUNTS.map((name) => [name, a[name] + b[name]])),
});

/** In the order of the key, so that servers that write the same rows wait for each other in one direction. */
async function writeBatch(on: Queryable, batch: readonly Served[]): Promise<void> {
  await on.query(
    `insert into usage (tenant, model, hour, ${countedAs((name) => name)})
     select tenant, model, ${HOUR}, ${countedAs((name) => name)} from jsonb_to_recordset($1::text::jsonb)
       as served (tenant text, model text, ${countedAs((name) => `${name} ${SERVED[name]}`)}) order by tenant, model
     on conflict (tenant, hour, model) do update set
       ${countedAs((name) => `${name} = usage.${name} + excluded.${name}`)}`,
    [JSON.stringify(batch)],
  );
}

/** Adds what a slice has trained and kept. `job` is its row from before. */
export async function addTrained(
  on: Queryable,
  { tenant, model, trained_tokens }: JobRow,
  { trainedTokens, seconds }: { readonly trainedTokens: number; readonly seconds: number },
): Promise<void> {
  await on.query(
    `insert into usage (tenant, model, hour, trained_tokens, training_seconds) values ($1, $2, ${HOUR}, $3, $4)
     on conflict (tenant, hour, model) do update set
       trained_tokens = usage.trained_tokens + excluded.trained_tokens,
       training_seconds = usage.training_seconds + excluded.training_seconds`,
    [tenant, model, Math.max(0, trainedTokens - (trained_tokens ?? 0)), seconds],
  );
}

/** Rows of hours and tenants, the latest first, from which the speed of training is taken. */
const MEASURED_ROWS = 20;

/** Tokens per second of the latest training of a base, whoever's it was; undefined where there was none in 90 days. */
async function measureSpeed(on: Queryable, model: string): Promise<number | undefined> {
  const [row] = await on.query(
    `select sum(trained_tokens)::float8 / nullif(sum(training_seconds), 0) as speed from (
       select trained_tokens, training_seconds from usage
       where hour > now() - interval '90 days' and model = $1 and trained_tokens > 0
       order by hour desc limit $2) as latest`,
    [model, MEASURED_ROWS],
  );
  const speed = Number(row?.["speed"] ?? 0);
  return speed > 0 ? speed : undefined;
}

async function readUsage(
  on: Queryable,
  owner: Owner,
  { width, start, end = Number.POSITIVE_INFINITY, limit, byModel, tenant }: UsageOptions,
) {
  const [clock] = await on.query("select floor(extract(epoch from now()))::bigint as now", []);
  const now = Number(clock?.["now"]);
  const until = Math.min(end, now + 1);
  const first = Math.floor((start ?? now - (limit - 1) * width) / width) * width;
  const count = Math.max(0, Math.min(limit, Math.ceil((until - first) / width)));
  const starts = Array.from({ length: count }, (_, i) => first + i * width);
  const next = first + count * width;
  const rows = await queryRows(
    on,
    usage,
    `select floor(extract(epoch from hour) / $3::bigint)::bigint * $3::bigint as start, tenant, ${byModel ? "model" : "null"} as model,
       ${countedAs((name) => `sum(${name})::${SERVED[name]} as ${name}`)},
       sum(trained_tokens)::bigint as trained_tokens, sum(training_seconds) as training_seconds
     from usage where ${isOwned} and ($4::text is null or tenant = $4)
       and hour >= to_timestamp($5) and hour < to_timestamp($6)
     group by 1, 2, 3 order by 1, 2, 3`,
    [...ownerValues(owner), width, tenant ?? null, first, Math.min(next, until)],
  );
  return { starts, rows, next: next < until ? next : undefined };
}
