// Where the state of a service is kept: PGlite in a folder, or PostgreSQL.
export { type Database, type Queryable, storable, watchFailures } from "./database.ts";
export { expectKnownTables, migrate, oneAtATime } from "./migrations.ts";
export { openPglite } from "./pglite.ts";
export { openPostgres } from "./postgres.ts";
