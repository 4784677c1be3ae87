// Whether the process is up, and whether it takes requests: what supervisors and load balancers ask.
import type { Context } from "hono";
import type { ServerContext, ServerEnv } from "./context.ts";

/** 503 where the engine's process is gone, which only another start mends. A busy one is up. */
export function answerHealth({ engineWatch }: ServerContext, context: Context<ServerEnv>): Response {
  return engineWatch.isGone ? context.json({ status: "broken" }, 503) : context.json({ status: "up" });
}

/** 503 while draining, too. */
export function answerReady({ activity, engineWatch }: ServerContext, context: Context<ServerEnv>): Response {
  if (activity.draining) return context.json({ status: "draining" }, 503);
  return engineWatch.isGone ? context.json({ status: "broken" }, 503) : context.json({ status: "ready" });
}
