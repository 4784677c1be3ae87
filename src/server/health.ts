// Whether the process is up, and whether it takes requests: what supervisors and load balancers ask.
import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "hono";
import type { ServerContext, ServerEnv } from "./context.ts";

/** In milliseconds. An engine that is busy answers between steps; one that is gone says so at once. */
const PATIENCE = 250;

async function isBroken({ engine }: ServerContext): Promise<boolean> {
  const answered = engine.stats().then(
    () => false,
    () => true,
  );
  return Promise.race([answered, sleep(PATIENCE, false, { ref: false })]);
}

/** 503 where the engine's process is gone, which only another start mends. */
export async function answerHealth(server: ServerContext, context: Context<ServerEnv>): Promise<Response> {
  return (await isBroken(server)) ? context.json({ status: "broken" }, 503) : context.json({ status: "up" });
}

/** 503 while draining, too. */
export async function answerReady(server: ServerContext, context: Context<ServerEnv>): Promise<Response> {
  if (server.activity.draining) return context.json({ status: "draining" }, 503);
  return (await isBroken(server))
    ? context.json({ status: "broken" }, 503)
    : context.json({ status: "ready" });
}
