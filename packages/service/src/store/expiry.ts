// When models expire, by the database's clock. What an alias stands for does not.
import type { Database } from "#database";
import { isOwned, type ModelRow, missing, type Owner, ownerValues, parseRows } from "./rows.ts";

/** A time in seconds since 1970, or seconds from now. */
export type Expiry = { readonly at: number } | { readonly after: number };

/** Models that expire. */
export interface ExpiryStore {
  /** Sets when a model expires; null for never. */
  setExpiry(owner: Owner, name: string, expiry: Expiry | null): Promise<ModelRow>;
  /** The models of an owner that expire. */
  expiringModels(owner: Owner): Promise<readonly ModelRow[]>;
  /** Seconds until each model expires that will, by the database's clock; less than 0 for those that have. */
  secondsLeft(): Promise<ReadonlyMap<string, number>>;
  /** Removes models that have expired. */
  removeExpiredModels(): Promise<void>;
}

export function openExpiry(database: Database): ExpiryStore {
  return {
    setExpiry: async (owner, name, expiry) => {
      const rows = await database.query(
        `update models set expires_at = coalesce(to_timestamp($4::float8), now() + make_interval(secs => $5::float8))
         where ${isOwned} and name = (select name from live_models where name = $3) returning *`,
        [
          ...[...ownerValues(owner), name],
          ...[expiry !== null && "at" in expiry ? expiry.at : null],
          ...[expiry !== null && "after" in expiry ? expiry.after : null],
        ],
      );
      const [model] = parseRows("models", rows);
      if (model === undefined) throw missing("model", name);
      return model;
    },
    expiringModels: async (owner) =>
      parseRows(
        "models",
        await database.query(
          `select * from live_models where ${isOwned} and expires_at is not null`,
          ownerValues(owner),
        ),
      ),
    secondsLeft: async () => {
      const rows = await database.query(
        `select name, extract(epoch from expires_at - now())::float8 as seconds from models
         where expires_at is not null and not exists (select from aliases where model = name)`,
      );
      return new Map(rows.map((row) => [String(row["name"]), Number(row["seconds"])]));
    },
    removeExpiredModels: () =>
      database.transaction(async (transaction) => {
        // locked before aliases are looked at again: none can be pointed to them meanwhile
        const rows = await transaction.query(
          `select name from models where expires_at <= now() and not exists (select from aliases where model = name)
           for update skip locked`,
        );
        await transaction.query(
          "delete from models where name = any($1) and not exists (select from aliases where model = name)",
          [rows.map(({ name }) => name)],
        );
      }),
  };
}
