// The stores of a service, each of one kind of rows.
import type { Database } from "#database";
import { openAliases } from "./aliases.ts";
import { openContents } from "./contents.ts";
import { openFeedback } from "./feedback.ts";
import { openFiles } from "./files.ts";
import { openJobKeys } from "./job-keys.ts";
import { openJobs } from "./jobs.ts";
import { openModels } from "./models.ts";
import { openResponses } from "./responses.ts";
import { openUsage } from "./usage.ts";
import { openWebhooks } from "./webhooks.ts";

/** The stores of what owners see and change, one per kind. */
export type Stores = ReturnType<typeof openStores>;

/** Opens what the routes need of a database whose tables are there. */
export const openStores = (database: Database) => ({
  aliases: openAliases(database),
  contents: openContents(database),
  feedback: openFeedback(database),
  files: openFiles(database),
  jobKeys: openJobKeys(database),
  jobs: openJobs(database),
  models: openModels(database),
  responses: openResponses(database),
  usage: openUsage(database),
  webhooks: openWebhooks(database),
});
