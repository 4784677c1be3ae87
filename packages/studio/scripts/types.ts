// Types of the API for the page, from the OpenAPI document of a server with the service's routes.
// usage: npm run studio:types, which studio:build does first
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { OpenAPIHono } from "@hono/zod-openapi";
import openapi, { astToString, type OpenAPI3 } from "openapi-typescript";
import { ROUTES } from "../../server/src/app.ts";
import type { ServerEnv } from "../../server/src/context.ts";
import { addServiceRoutes, type ServiceEnv } from "../../service/src/api/index.ts";

const SCHEMA_FILE = join(import.meta.dirname, "../src/api/schema.d.ts");

/** The types of all routes, as TypeScript. */
async function schemaTypes(): Promise<string> {
  const app = new OpenAPIHono<ServerEnv>();
  for (const addTo of ROUTES) addTo(app);
  // only a request reads what the routes are given
  addServiceRoutes(app, {} as ServiceEnv);
  const document = (await (await app.request("/openapi.json")).json()) as OpenAPI3;
  const types = astToString(await openapi(document, { alphabetize: true }));
  return `// Made by npm run studio:types from the server's OpenAPI document.\n${types}`;
}

writeFileSync(SCHEMA_FILE, await schemaTypes());
