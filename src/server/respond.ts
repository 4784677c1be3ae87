import type { Context } from "hono";
import type { Answering } from "./answering.ts";
import type { ServerEnv } from "./context.ts";
import { eventStream, STREAM_HEADERS } from "./sse.ts";

/** Sends chunks as server-sent events; the request and its record end with them. */
export function respondStream(
  context: Context<ServerEnv>,
  answering: Answering,
  chunks: AsyncGenerator<object, void>,
): Response {
  const record = context.get("record");
  record.isStream = true;
  const body = eventStream(chunks, {
    onEnd: (error) => {
      record.isAborted = context.req.raw.signal.aborted;
      if (error !== undefined) record.error = error instanceof Error ? error.message : String(error);
      answering.running.stop();
      answering.running.end();
      record.end?.();
    },
  });
  return context.body(body, 200, STREAM_HEADERS);
}
