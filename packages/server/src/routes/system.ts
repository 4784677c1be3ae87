// GET /v1/system: what the server does now, for a page. It reads what /metrics reads, so that no number is counted twice.
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import { MosError } from "mixture-of-shards-core/common";
import { seesAll } from "../auth.ts";
import type { ServerContext } from "../context.ts";
import { needsAdmin } from "../errors.ts";
import { route } from "../route.ts";

const byName = (what: string) => z.record(z.string(), z.int()).describe(`${what} by name.`);

const limitedBytes = z.object({ bytes: z.int(), limit_bytes: z.int() });

const workerSchema = z.object({
  name: z.string(),
  models: z.array(z.string()).describe("The bases that it trains."),
  version: z.string(),
  started_at: z.number(),
  seen_at: z.number().describe("Its last heartbeat."),
  is_alive: z.boolean(),
  job: z
    .object({
      id: z.string(),
      tenant: z.string(),
      model: z.string(),
      step: z.int().describe("Steps until its last checkpoint."),
      steps: z.int().nullable(),
    })
    .nullable()
    .describe("What it trains now."),
});

/** Schema of the workers and jobs of a service. */
export const trainingSchema = z.object({
  workers: z.array(workerSchema),
  queue: z.array(
    z.object({
      tenant: z.string(),
      queued: z.int(),
      held: z.int().describe("Jobs that wait for other jobs of their tenant."),
      running: z.int(),
      paused: z.int(),
      oldest_seconds: z.number().describe("Waiting time of the oldest queued job."),
    }),
  ),
});

/** Workers and jobs of a service, as the API shows them. Times in seconds since 1970. */
export type TrainingState = z.output<typeof trainingSchema>;

const systemSchema = z
  .object({
    object: z.literal("system"),
    version: z.string(),
    model: z.string(),
    started_at: z.int(),
    uptime_seconds: z.number(),
    batch: z.object({
      slots: z.int(),
      active: z.int(),
      prefilling: z.int(),
      adapters: byName("Running requests of adapters"),
    }),
    queue: z.object({ waiting: z.int(), tenants: byName("Waiting requests of tenants") }),
    tokens_per_second: z.number().describe("Tokens of answers, over the last 10 seconds."),
    token_history: z.array(z.int()).describe("Tokens of answers in each of the last 60 seconds."),
    tokens: z
      .object({ prompt: z.int(), cached: z.int(), completion: z.int() })
      .describe("Since the engine started: prompt tokens computed and from the prefix cache, and answers."),
    memory: z.object({
      base_bytes: z.int().nullable().describe("As planned when the model was opened."),
      cache: limitedBytes.extend({ used_bytes: z.int().describe("What holds tokens.") }),
      adapters: limitedBytes.extend({ registered: z.int(), resident: z.int() }),
      active_adapters: limitedBytes.extend({ active: z.int() }),
      grammars: z.object({ resident: z.int(), bytes: z.int() }),
      processes: z.array(z.object({ name: z.enum(["server", "engine"]), bytes: z.int() })),
    }),
    caches: z.object({
      adapters: z.object({ hits: z.int(), misses: z.int(), evictions: z.int() }),
      grammars: z.object({ hits: z.int(), compiled: z.int() }),
    }),
    training: trainingSchema
      .nullable()
      .describe("Null where no jobs are trained, and while their database does not answer."),
  })
  .openapi("System");

const RATE_SECONDS = 10;

/** Milliseconds after which the answer goes on without the service's database. */
const TRAINING_TIMEOUT = 2000;

async function readTraining({ extension }: ServerContext): Promise<TrainingState | null> {
  const state = extension?.health?.training?.().catch((error: unknown) => {
    if (error instanceof MosError && error.code === "network") return undefined;
    throw error;
  });
  return (await Promise.race([state, sleep(TRAINING_TIMEOUT, undefined, { ref: false })])) ?? null;
}

async function systemJson(server: ServerContext): Promise<z.output<typeof systemSchema>> {
  const [version, stats, training] = await Promise.all([
    server.version,
    server.engine.stats(),
    readTraining(server),
  ]);
  const { cache, adapters, grammars, process: worker } = stats;
  const base = server.engine.model.plan?.parts.find(({ name }) => name === "base");
  const history = server.metrics.tokenRate();
  const recent = history.slice(-RATE_SECONDS).reduce((sum, tokens) => sum + tokens, 0);
  return {
    object: "system",
    version: version ?? "unknown",
    model: server.modelName,
    started_at: server.createdAt,
    uptime_seconds: Math.max(0, server.now() / 1000 - server.createdAt),
    batch: {
      slots: stats.maxBatch,
      active: stats.running,
      prefilling: stats.prefilling,
      adapters: stats.runningAdapters,
    },
    queue: { waiting: stats.waiting, tenants: stats.waitingTenants },
    tokens_per_second: recent / RATE_SECONDS,
    token_history: [...history],
    tokens: { prompt: stats.promptTokens, cached: stats.cachedTokens, completion: stats.completionTokens },
    memory: {
      base_bytes: base === undefined ? null : Math.round(base.bytes),
      cache: { bytes: cache.bytes, used_bytes: cache.usedBytes, limit_bytes: cache.limitBytes },
      adapters: {
        registered: adapters.registered,
        resident: adapters.resident,
        bytes: adapters.residentBytes,
        limit_bytes: adapters.residentLimit,
      },
      active_adapters: {
        active: adapters.active,
        bytes: adapters.activeBytes,
        limit_bytes: adapters.activeLimit,
      },
      grammars: { resident: grammars.resident, bytes: grammars.residentBytes },
      processes: [
        { name: "server", bytes: process.memoryUsage.rss() },
        // the same one where the engine has no process of its own
        ...(worker.pid === process.pid ? [] : [{ name: "engine" as const, bytes: worker.bytes }]),
      ],
    },
    caches: {
      adapters: { hits: adapters.hits, misses: adapters.misses, evictions: adapters.evictions },
      grammars: { hits: grammars.hits, compiled: grammars.compiled },
    },
    training,
  };
}

export const systemRoute = route({
  method: "get",
  path: "/v1/system",
  summary: "Report batch, queue, memory and workers (administrators)",
  ok: [systemSchema, "The server at this moment."],
  answer: async ({ server, key }) => {
    // it names tenants and adapters
    if (!seesAll(server, key))
      throw needsAdmin("the state of the server names all tenants; use an admin key");
    server.engineWatch.check();
    return await systemJson(server);
  },
});
