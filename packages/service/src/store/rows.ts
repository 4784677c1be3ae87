// Rows as values, and pages of them.
import { MosError } from "mixture-of-shards";
import { parseWith } from "mixture-of-shards/cli";
import { z } from "zod";
import type { Queryable } from "#database";

/** Who asks: an administrator sees everything, others what is their tenant's. */
export interface Owner {
  readonly tenant: string;
  readonly isAdmin: boolean;
}

/** The condition that a row is the owner's, with `ownerValues` as the first values. */
export const isOwned = "(tenant = $1 or $2)";
export const ownerValues = ({ tenant, isAdmin }: Owner): readonly unknown[] => [tenant, isAdmin];

export const missing = (what: string, id: string): MosError =>
  new MosError("not_found", `there is no ${what} ${JSON.stringify(id.slice(0, 100))}`);

/** Where a list goes on. */
export interface ListOptions {
  readonly after?: string | undefined;
  readonly limit: number;
}

const files = z.record(z.string(), z.string());

const fileSchema = z.object({
  id: z.string(),
  tenant: z.string(),
  purpose: z.string(),
  filename: z.string(),
  bytes: z.number(),
  digest: z.string(),
  status: z.enum(["processed", "error"]),
  status_details: z.string().nullable(),
  created_at: z.date(),
  expires_at: z.date().nullable(),
});
/** An uploaded file, or one that a job made. */
export type FileRow = z.output<typeof fileSchema>;

const jobSchema = z.object({
  id: z.string(),
  tenant: z.string(),
  model: z.string(),
  status: z.enum(["queued", "running", "paused", "succeeded", "failed", "cancelled"]),
  request: z.record(z.string(), z.unknown()),
  // of a newer version, with more in it
  plan: z.looseObject({
    adapter: z.record(z.string(), z.unknown()),
    settings: z.record(z.string(), z.unknown()),
  }),
  initial: files.nullable(),
  training_file: z.string(),
  training_digest: z.string(),
  validation_file: z.string().nullable(),
  validation_digest: z.string().nullable(),
  metadata: z.record(z.string(), z.string()).nullable(),
  priority: z.number(),
  max_running_jobs: z.number().nullable(),
  max_steps: z.number().nullable(),
  max_tokens: z.number().nullable(),
  slice: z.number(),
  lease: z.number(),
  failures: z.number(),
  restarts: z.number(),
  wanted: z.enum(["pause"]).nullable(),
  run: files.nullable(),
  step: z.number(),
  steps: z.number().nullable(),
  trained_tokens: z.number().nullable(),
  seconds: z.number(),
  error: z.object({ code: z.string(), message: z.string(), param: z.string().nullable() }).nullable(),
  fine_tuned_model: z.string().nullable(),
  result_file: z.string().nullable(),
  created_at: z.date(),
  finished_at: z.date().nullable(),
});
/** A job as it stands. */
export type JobRow = z.output<typeof jobSchema>;

const ENDED: ReadonlySet<string> = new Set(["succeeded", "failed", "cancelled"]);
/** What has come to its end stays as it is. */
export const hasEnded = ({ status }: Pick<JobRow, "status">): boolean => ENDED.has(status);

const eventSchema = z.object({
  id: z.string(),
  level: z.enum(["info", "warn", "error"]),
  type: z.enum(["message", "metrics"]),
  message: z.string(),
  data: z.record(z.string(), z.unknown()).nullable(),
  created_at: z.date(),
  number: z.number(),
});
/** What happened in a job. */
export type EventRow = z.output<typeof eventSchema>;

const checkpointSchema = z.object({
  id: z.string(),
  job: z.string(),
  step: z.number(),
  model: z.string(),
  metrics: z.record(z.string(), z.number()),
  created_at: z.date(),
});
/** A checkpoint whose model can be used. */
export type CheckpointRow = z.output<typeof checkpointSchema>;

const modelSchema = z.object({
  name: z.string(),
  tenant: z.string(),
  job: z.string().nullable(),
  files,
  created_at: z.date(),
  expires_at: z.date().nullable(),
});
/** A model that was published. */
export type ModelRow = z.output<typeof modelSchema>;

const aliasSchema = z.object({
  id: z.string(),
  tenant: z.string(),
  version: z.number(),
  model: z.string(),
  created_at: z.date(),
  changed_at: z.date(),
});
/** A name for a model that can be another one tomorrow. */
export type AliasRow = z.output<typeof aliasSchema>;

const webhookSchema = z.object({
  id: z.string(),
  tenant: z.string(),
  url: z.string(),
  description: z.string().nullable(),
  events: z.array(z.string()),
  secret: z.string(),
  created_at: z.date(),
  disabled_at: z.date().nullable(),
});
/** Where a tenant is told of its jobs. */
export type WebhookRow = z.output<typeof webhookSchema>;

const deliverySchema = z.object({
  id: z.string(),
  webhook: z.string(),
  tenant: z.string(),
  event: z.string(),
  type: z.string(),
  job: z.string(),
  status: z.enum(["waiting", "delivered", "failed"]),
  attempts: z.number(),
  due_at: z.date().nullable(),
  response_status: z.number().nullable(),
  error: z.string().nullable(),
  created_at: z.date(),
  finished_at: z.date().nullable(),
});
/** What a webhook is told, and how that went. */
export type DeliveryRow = z.output<typeof deliverySchema>;

const SCHEMAS = {
  files: fileSchema,
  jobs: jobSchema,
  events: eventSchema,
  checkpoints: checkpointSchema,
  models: modelSchema,
  aliases: aliasSchema,
  webhooks: webhookSchema,
  webhook_deliveries: deliverySchema,
};
type Rows = { readonly [T in keyof typeof SCHEMAS]: z.output<(typeof SCHEMAS)[T]> };

/** Rows of a table that a statement gave. */
export const parseRows = <T extends keyof Rows>(table: T, rows: readonly unknown[]): readonly Rows[T][] =>
  rows.map((row) =>
    parseWith(SCHEMAS[table] as unknown as z.ZodType<Rows[T]>, row, { code: "bad_data", where: table }),
  );

/** Which rows of a table, from which one on. */
export interface PageOptions {
  /** Conditions on columns, with the values of `$1` and so on. */
  readonly where: string;
  readonly values: readonly unknown[];
  /** The last row of the page before. */
  readonly after?: string | undefined;
  readonly limit: number;
  /** By age; the newest come first by default. */
  readonly order?: "asc" | "desc";
}

/** A part of a list. */
export interface Page<T> {
  readonly rows: readonly T[];
  readonly hasMore: boolean;
}

/**
 * A page of a table.
 *
 * @throws MosError `bad_option` where `after` is no row of the list.
 */
export async function selectPage<T extends Exclude<keyof Rows, "models">>(
  database: Queryable,
  table: T,
  { where, values, after, limit, order = "desc" }: PageOptions,
): Promise<Page<Rows[T]>> {
  const next = values.length + 1;
  let start = "";
  const more: unknown[] = [];
  if (after !== undefined) {
    const [row] = await database.query(`select number from ${table} where ${where} and id = $${next}`, [
      ...values,
      after,
    ]);
    if (row === undefined)
      throw new MosError("bad_option", `after: ${JSON.stringify(after.slice(0, 100))} is not in this list`);
    start = `and number ${order === "desc" ? "<" : ">"} $${next}`;
    more.push(row["number"]);
  }
  const rows = await database.query(
    `select * from ${table} where ${where} ${start} order by number ${order} limit $${next + more.length}`,
    [...values, ...more, limit + 1],
  );
  return { rows: parseRows(table, rows.slice(0, limit)), hasMore: rows.length > limit };
}
