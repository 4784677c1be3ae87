// Database of a service: PGlite in a folder, or PostgreSQL.
export { type Database, type Queryable, storable, watchFailures } from "./database.ts";
export { assertKnownTables, migrate, withMigrationLock } from "./migrations.ts";
export { openPglite } from "./pglite.ts";
export { openPostgres } from "./postgres.ts";
