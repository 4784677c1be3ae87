// Database of a service: PGlite in a folder, or PostgreSQL.
export {
  type Database,
  findRow,
  isOwned,
  type ListOptions,
  lockTenant,
  missing,
  type Owner,
  ownerValues,
  type Page,
  type Queryable,
  queryRows,
  randomId,
  removeOldest,
  removeRow,
  selectPage,
  storable,
  watchFailures,
} from "./database.ts";
export { assertKnownTables, migrate } from "./migrations.ts";
export { compact, openPglite, openUpkeep, rewrite } from "./pglite.ts";
export { openPostgres } from "./postgres.ts";
