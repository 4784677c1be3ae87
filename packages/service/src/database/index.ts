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
  parseRows,
  type Queryable,
  randomId,
  removeOldest,
  removeRow,
  selectPage,
  storable,
  watchFailures,
} from "./database.ts";
export { assertKnownTables, migrate } from "./migrations.ts";
export { openPglite } from "./pglite.ts";
export { openPostgres } from "./postgres.ts";
export { compact, openUpkeep } from "./upkeep.ts";
