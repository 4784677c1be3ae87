// The routes of the service: OpenAI's files and fine-tuning jobs.
import type { ServerApp } from "mixture-of-shards/server";
import { fileRoutes } from "./files.ts";
import { jobRoutes } from "./jobs.ts";
import { modelRoutes } from "./models.ts";
import type { AddRoutes, ServiceEnv } from "./service-env.ts";
import { usageRoutes } from "./usage.ts";

export type { ServiceEnv } from "./service-env.ts";

const ROUTES: readonly AddRoutes[] = [fileRoutes, jobRoutes, modelRoutes, usageRoutes];

/** Adds all routes to a server. */
export function addServiceRoutes(app: ServerApp, service: ServiceEnv): void {
  for (const add of ROUTES) add(app, service);
}
