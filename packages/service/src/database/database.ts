// SQL of PostgreSQL's dialect behind two functions, by either of two drivers, and rows as typed values. Times come from the
// database alone.
import { randomBytes } from "node:crypto";
import { MosError } from "mixture-of-shards";
import { parseWith } from "mixture-of-shards-core/common";
import type { z } from "zod";

/** A row by column. Parse it before use. */
export type Row = Readonly<Record<string, unknown>>;

/** Runs statements, within a transaction or not. */
export interface Queryable {
  /** The rows of one statement with `$1`, `$2` … as values; of several statements without values, those of the last. */
  query(text: string, values?: readonly unknown[]): Promise<readonly Row[]>;
}

/** A database that is open. Disposing it waits for what runs. */
export interface Database extends Queryable, AsyncDisposable {
  /** "pglite" has one connection and is held by one process. */
  readonly kind: "pglite" | "postgres";
  /** Commits what `work` did, or nothing of it where it throws. */
  transaction<T>(work: (transaction: Queryable) => Promise<T>): Promise<T>;
  /** @throws MosError `storage` where its folder, if it has one here, is not there or cannot be written. */
  check(): Promise<void>;
}

/** The same database, whose statements and transactions run within `around`. */
export const wrapDatabase = (
  database: Database,
  around: <T>(work: () => Promise<T>) => Promise<T>,
): Database => ({
  kind: database.kind,
  query: (text, values) => around(() => database.query(text, values)),
  transaction: (work) => around(() => database.transaction(work)),
  check: () => database.check(),
  [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
});

/** The same database, which says when it could not be reached. */
export const watchFailures = (database: Database, onFailure: () => void): Database =>
  wrapDatabase(database, async (work) => {
    try {
      return await work();
    } catch (error) {
      if (error instanceof MosError && error.code === "network") onFailure();
      throw error;
    }
  });

/** The text as PostgreSQL keeps it: without zero bytes and lone surrogates. */
export const storable = (text: string): string => text.replaceAll(/[\0\p{Surrogate}]/gu, "\uFFFD");

/** Values of a statement: a text that no row can have is found nowhere, rather than an error. */
export const storableValues = (values: readonly unknown[]): unknown[] =>
  values.map((value) => (typeof value === "string" ? storable(value) : value));

/** A table or view, with the columns that are read. */
export interface Table<T> {
  readonly name: string;
  readonly schema: z.ZodType<T>;
  /** One row, for messages: "file". */
  readonly item: string;
}

/** The rows of a table that a statement returns. */
export async function queryRows<T>(
  on: Queryable,
  { schema, name }: Table<T>,
  ...statement: Parameters<Queryable["query"]>
): Promise<readonly T[]> {
  const rows = await on.query(...statement);
  return rows.map((row) => parseWith(schema, row, { code: "bad_data", where: name }));
}

/** The client: administrators see everything, others what is their tenant's. */
export interface Owner {
  readonly tenant: string;
  readonly isAdmin: boolean;
}

/** The condition that a row is the owner's, with `ownerValues` as the first values. */
export const isOwned = "(tenant = $1 or $2)";
export const ownerValues = ({ tenant, isAdmin }: Owner): readonly unknown[] => [tenant, isAdmin];

export const missing = (item: string, id: string): MosError =>
  new MosError("not_found", `there is no ${item} ${JSON.stringify(id.slice(0, 100))}`);

/** Any number; the lock's other half is the tenant's. */
const TENANT_LOCK = 7_205_420;

/** Until the transaction ends, nobody else counts what the tenant has. Locked after the rows of its jobs. */
export async function lockTenant(on: Queryable, tenant: string): Promise<void> {
  await on.query("select pg_advisory_xact_lock($1::integer, hashtext($2))", [TENANT_LOCK, tenant]);
}

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/** 24 letters and digits: as hard to guess as a key. */
export function randomId(prefix: string): string {
  const bytes = randomBytes(24);
  return `${prefix}${Array.from(bytes, (byte) => LETTERS[byte % LETTERS.length]).join("")}`;
}

/** One of an owner's rows. */
export interface RowId {
  readonly owner: Owner;
  readonly id: string;
}

/** @throws MosError `not_found` for a row that is missing or not the owner's. */
export async function findRow<T>(
  on: Queryable,
  table: Table<T>,
  { owner, id, condition = "true" }: RowId & { readonly condition?: string },
): Promise<T> {
  const text = `select * from ${table.name} where ${isOwned} and id = $3 and ${condition}`;
  const [row] = await queryRows(on, table, text, [...ownerValues(owner), id]);
  if (row === undefined) throw missing(table.item, id);
  return row;
}

/** @throws MosError `not_found` for a row that is missing or not the owner's. */
export async function removeRow(
  on: Queryable,
  { name, item }: Pick<Table<unknown>, "name" | "item">,
  { owner, id }: RowId,
): Promise<void> {
  const rows = await on.query(`delete from ${name} where ${isOwned} and id = $3 returning id`, [
    ...ownerValues(owner),
    id,
  ]);
  if (rows.length === 0) throw missing(item, id);
}

/** Removes a tenant's oldest rows, but none to keep, so that what stays has so many bytes at most. */
export async function removeOldest(
  on: Queryable,
  { name }: Pick<Table<unknown>, "name">,
  { tenant, bytes, keep = "false" }: { tenant: string; bytes: number; keep?: string },
): Promise<void> {
  await on.query(
    `delete from ${name} where tenant = $1 and not (${keep}) and number in (
       select number from (
         select number, sum(bytes) over (order by ${keep} desc, number desc) as total from ${name} where tenant = $1
       ) as summed where total > $2)`,
    [tenant, bytes],
  );
}

/** Start and length of a page. */
export interface ListOptions {
  /** The last id of the previous page. */
  readonly after?: string | undefined;
  readonly limit: number;
  /** By age; the newest come first by default. */
  readonly order?: "asc" | "desc" | undefined;
}

interface PageOptions extends ListOptions {
  /** Conditions on columns, with the values of `$1` and so on. */
  readonly where: string;
  readonly values: readonly unknown[];
}

/** A part of a list. */
export interface Page<T> {
  readonly rows: readonly T[];
  readonly hasMore: boolean;
}

/**
 * A page of a table that has the columns `id` and `number`.
 *
 * @throws MosError `bad_option` where `after` is no row of the list.
 */
export async function selectPage<T>(
  on: Queryable,
  table: Table<T>,
  { where, values, after, limit, order = "desc" }: PageOptions,
): Promise<Page<T>> {
  const next = values.length + 1;
  let start = "";
  const more: unknown[] = [];
  if (after !== undefined) {
    const [row] = await on.query(`select number from ${table.name} where ${where} and id = $${next}`, [
      ...values,
      after,
    ]);
    if (row === undefined)
      throw new MosError(
        "bad_option",
        `after: there is no item ${JSON.stringify(after.slice(0, 100))} in this list`,
      );
    start = `and number ${order === "desc" ? "<" : ">"} $${next}`;
    more.push(row["number"]);
  }
  const rows = await queryRows(
    on,
    table,
    `select * from ${table.name} where ${where} ${start} order by number ${order} limit $${next + more.length}`,
    [...values, ...more, limit + 1],
  );
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}
