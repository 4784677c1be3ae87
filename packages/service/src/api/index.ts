// The routes of the service: OpenAI's files and fine-tuning jobs, and webhooks.
import type { ServerApp } from "mixture-of-shards/server";
import { aliasRoutes } from "./aliases.ts";
import { feedbackRoutes } from "./feedback.ts";
import { fileRoutes } from "./files.ts";
import { graderRoutes } from "./graders.ts";
import { importRoutes, modelRoutes } from "./import.ts";
import { jobEventRoutes } from "./job-events.ts";
import { jobRoutes } from "./jobs.ts";
import { lessonRoutes } from "./lessons.ts";
import { previewRoutes } from "./preview.ts";
import type { AddRoutes, ServiceEnv } from "./routes.ts";
import { usageRoutes } from "./usage.ts";
import { webhookRoutes } from "./webhooks.ts";

export { type ServiceEnv, seconds, withHttpErrors } from "./routes.ts";
export { jobRuns } from "./runs.ts";

const ROUTES: readonly AddRoutes[] = [
  ...[fileRoutes, jobRoutes, jobEventRoutes, previewRoutes, modelRoutes, importRoutes, graderRoutes],
  ...[aliasRoutes, feedbackRoutes, lessonRoutes, usageRoutes, webhookRoutes],
];

/** Adds all routes to a server. */
export function addServiceRoutes(app: ServerApp, service: ServiceEnv): void {
  for (const add of ROUTES) add(app, service);
}
