// Aliases: a tenant's own names for models. One row says for all servers what a name stands for.
import { MosError } from "mixture-of-shards";
import { z } from "zod";
import {
  type Database,
  findRow,
  type ListOptions,
  missing,
  type Page,
  type Queryable,
  queryRows,
  removeRow,
  selectPage,
} from "#database";
import { modelTenant } from "./models.ts";

const aliases = {
  name: "aliases",
  item: "alias",
  schema: z.object({
    id: z.string(),
    tenant: z.string(),
    version: z.number(),
    model: z.string(),
    created_at: z.date(),
    changed_at: z.date(),
  }),
};
const changes = {
  name: "alias_changes",
  item: "change of an alias",
  schema: aliases.schema.pick({ version: true, model: true, changed_at: true }),
};

/** A name for a model that can be another one tomorrow. */
export type AliasRow = z.output<typeof aliases.schema>;

/** An alias by whose it is and its name. */
export interface AliasId {
  readonly tenant: string;
  readonly id: string;
}

/** Change of an alias. */
export interface AliasChange {
  readonly model: string;
  /** The version that the alias is at, 0 for one that does not exist; left out, the last change wins. */
  readonly expected?: number | undefined;
}

/** Names that a model of the database never has. */
export const isAliasName = (name: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name);

/** Aliases of a tenant; lists of models show them all. */
export const MAX_ALIASES = 1000;

/** Aliases of a database whose tables are there. */
export function openAliases(database: Database) {
  const own = ({ tenant, id }: AliasId) => ({ owner: { tenant, isAdmin: false }, id });
  return {
    /** Current model of an alias. */
    target: async ({ tenant, id }: AliasId): Promise<string | undefined> => {
      if (!isAliasName(id)) return undefined;
      const text = "select * from aliases where tenant = $1 and id = $2";
      return (await queryRows(database, aliases, text, [tenant, id]))[0]?.model;
    },
    find: (alias: AliasId): Promise<AliasRow> => findRow(database, aliases, own(alias)),
    list: (tenant: string, page: ListOptions): Promise<Page<AliasRow>> =>
      selectPage(database, aliases, { where: "tenant = $1", values: [tenant], ...page }),
    /**
     * Makes an alias or switches it. One that stands for the model already stays as it is. Undefined where it is not at the
     * expected version.
     *
     * @throws MosError `not_found` for a fine-tuned model that the tenant does not have, `bad_option` for too many aliases.
     */
    set: (alias: AliasId, change: AliasChange): Promise<AliasRow | undefined> =>
      database.transaction((transaction) => setAlias(transaction, alias, change)),
    /** The last hundred models of an alias, the current one first. */
    history: async (alias: AliasId) => {
      const text = "select * from alias_changes where tenant = $1 and alias = $2 order by version desc";
      const rows = await queryRows(database, changes, text, [alias.tenant, alias.id]);
      if (rows.length === 0) throw missing("alias", alias.id);
      return rows;
    },
    remove: (alias: AliasId): Promise<void> => removeRow(database, aliases, own(alias)),
  };
}

async function setAlias(
  on: Queryable,
  { tenant, id }: AliasId,
  { model, expected }: AliasChange,
): Promise<AliasRow | undefined> {
  // a row to lock, also of an alias that two servers make at once
  const key = [tenant, id];
  await on.query("insert into aliases (tenant, id, model) values ($1, $2, $3) on conflict do nothing", [
    ...key,
    model,
  ]);
  const locked = "select * from aliases where tenant = $1 and id = $2 for update";
  const [before] = await queryRows(on, aliases, locked, key);
  if (before === undefined) throw missing("alias", id); // deleted in this moment
  if (expected !== undefined && expected !== before.version) {
    await on.query("delete from aliases where tenant = $1 and id = $2 and version = 0", key);
    return undefined;
  }
  const isNew = before.version === 0;
  if (!isNew && before.model === model) return before;
  if (isNew) await checkRoom(on, tenant);
  await holdModel(on, tenant, model);
  const change =
    "update aliases set version = version + 1, model = $3, changed_at = now() where tenant = $1 and id = $2 returning *";
  return (await queryRows(on, aliases, change, [...key, model]))[0];
}

async function checkRoom(on: Queryable, tenant: string): Promise<void> {
  const [row] = await on.query("select count(*)::integer as count from aliases where tenant = $1", [tenant]);
  if (Number(row?.["count"]) > MAX_ALIASES)
    throw new MosError("bad_option", `too many aliases (${MAX_ALIASES}); delete one first`);
}

/** A fine-tuned model stays until the alias has been switched to it. Other models are not the database's. */
async function holdModel(on: Queryable, tenant: string, model: string): Promise<void> {
  if (modelTenant(model) === undefined) return;
  await on.query("select name from models where name = $1 for share", [model]);
  const rows = await on.query("select name from live_models where name = $1 and tenant = $2", [
    model,
    tenant,
  ]);
  if (rows.length === 0) throw missing("model", model);
}
