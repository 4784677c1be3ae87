// Rows of models: what was published.
import { MosError } from "mixture-of-shards";
import type { Database } from "#database";
import type { Files } from "#objects";
import { isOwned, missing, type Owner, ownerValues, parseRows } from "./rows.ts";

/** Published models. */
export interface ModelStore {
  /** @throws MosError `bad_option` for a model that an alias stands for. */
  removeModel(owner: Owner, name: string): Promise<void>;
  /** The models that have to be in the folder of adapters, by name. */
  published(): Promise<ReadonlyMap<string, Files>>;
  /** The files of one of the owner's. */
  model(owner: Owner, name: string): Promise<Files>;
  /** The files of one of them, whoever's it is. */
  modelFiles(name: string): Promise<Files | undefined>;
}

export function openModels(database: Database): ModelStore {
  return {
    removeModel: (owner, name) =>
      database.transaction(async (transaction) => {
        // locked before aliases are looked at: none can be pointed to it meanwhile
        const found = await transaction.query(
          `select name from models where ${isOwned} and name = $3 for update`,
          [...ownerValues(owner), name],
        );
        if (found.length === 0) throw missing("model", name);
        const [alias] = await transaction.query("select id from aliases where model = $1 limit 1", [name]);
        if (alias !== undefined)
          throw new MosError(
            "bad_option",
            `the alias ${alias["id"]} points to this model; switch or delete it first`,
          );
        await transaction.query("delete from models where name = $1", [name]);
      }),
    published: async () => {
      const rows = parseRows("models", await database.query("select * from live_models"));
      return new Map(rows.map(({ name, files }) => [name, files]));
    },
    model: async (owner, name) => {
      const rows = await database.query(`select * from live_models where ${isOwned} and name = $3`, [
        ...ownerValues(owner),
        name,
      ]);
      const [model] = parseRows("models", rows);
      if (model === undefined) throw missing("model", name);
      return model.files;
    },
    modelFiles: async (name) =>
      parseRows("models", await database.query("select * from live_models where name = $1", [name]))[0]
        ?.files,
  };
}
