// Rows of models: what was published, and which contents rows name.
import type { Database } from "#database";
import type { Files } from "#objects";
import { isOwned, missing, type Owner, rowsOf, valuesOf } from "./rows.ts";

/** Published models. */
export interface ModelStore {
  removeModel(owner: Owner, name: string): Promise<void>;
  /** The models that have to be in the folder of adapters, by name. */
  published(): Promise<ReadonlyMap<string, Files>>;
  /** The files of one of the owner's. */
  model(owner: Owner, name: string): Promise<Files>;
  /** The files of one of them, whoever's it is. */
  filesOfModel(name: string): Promise<Files | undefined>;
  /** Which of these contents a row names. */
  used(digests: readonly string[]): Promise<ReadonlySet<string>>;
}

export function openModels(database: Database): ModelStore {
  return {
    removeModel: async (owner, name) => {
      const rows = await database.query(`delete from models where ${isOwned} and name = $3 returning name`, [
        ...valuesOf(owner),
        name,
      ]);
      if (rows.length === 0) throw missing("model", name);
    },
    published: async () => {
      const rows = rowsOf("models", await database.query("select * from models"));
      return new Map(rows.map(({ name, files }) => [name, files]));
    },
    model: async (owner, name) => {
      const rows = await database.query(`select * from models where ${isOwned} and name = $3`, [
        ...valuesOf(owner),
        name,
      ]);
      const [model] = rowsOf("models", rows);
      if (model === undefined) throw missing("model", name);
      return model.files;
    },
    filesOfModel: async (name) =>
      rowsOf("models", await database.query("select * from models where name = $1", [name]))[0]?.files,
    used: async (digests) => {
      const rows = await database.query(
        `select digest from unnest($1::text[]) as given (digest) where
           exists (select 1 from files where files.digest = given.digest)
           or exists (select 1 from jobs where status in ('queued', 'running', 'paused')
             and (training_digest = given.digest or validation_digest = given.digest))
           or exists (select 1 from jobs, jsonb_each_text(coalesce(run, '{}') || coalesce(initial, '{}'))
             where status in ('queued', 'running', 'paused') and value = given.digest)
           or exists (select 1 from models, jsonb_each_text(models.files) where value = given.digest)`,
        [digests],
      );
      return new Set(rows.map(({ digest }) => String(digest)));
    },
  };
}
