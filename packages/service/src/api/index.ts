// The routes of the service: OpenAI's files and fine-tuning jobs, and webhooks.
import type { ServerApp } from "mixture-of-shards/server";
import { aliasRoutes } from "./aliases.ts";
import { fileRoutes } from "./files.ts";
import { jobRoutes } from "./jobs.ts";
import { modelRoutes } from "./models.ts";
import { previewRoutes } from "./preview.ts";
import type { AddRoutes, ServiceEnv } from "./service-env.ts";
import { usageRoutes } from "./usage.ts";
import { webhookRoutes } from "./webhooks.ts";

export { seconds } from "./serializers.ts";
export { type ServiceEnv, withHttpErrors } from "./service-env.ts";

const ROUTES: readonly AddRoutes[] = [
  ...[fileRoutes, jobRoutes, previewRoutes, modelRoutes],
  ...[aliasRoutes, usageRoutes, webhookRoutes],
];

/** Adds all routes to a server. */
export function addServiceRoutes(app: ServerApp, service: ServiceEnv): void {
  for (const add of ROUTES) add(app, service);
}
