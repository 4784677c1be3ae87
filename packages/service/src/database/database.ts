// SQL of PostgreSQL's dialect behind two functions, by either of two drivers. Times come from the database alone.
import { MosError } from "mixture-of-shards";

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

/** The same database, which says when it could not be reached. */
export function watchFailures(database: Database, onFailure: () => void): Database {
  const watched = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      if (error instanceof MosError && error.code === "network") onFailure();
      throw error;
    }
  };
  return {
    kind: database.kind,
    query: (text, values) => watched(database.query(text, values)),
    transaction: (work) => watched(database.transaction(work)),
    check: () => database.check(),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}
/** The text as PostgreSQL keeps it: without zero bytes and lone surrogates. */
export const storable = (text: string): string => text.replaceAll(/[\0\p{Surrogate}]/gu, "\uFFFD");

/** Values of a statement: a text that no row can have is found nowhere, rather than an error. */
export const storableValues = (values: readonly unknown[]): unknown[] =>
  values.map((value) => (typeof value === "string" ? storable(value) : value));
