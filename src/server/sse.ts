// Answers that are sent while they are made. Server-sent events, as OpenAI's clients read them: one JSON object in each,
// [DONE] at the end.
import { reasonOf } from "#core";
import type { RequestContext } from "./context.ts";
import { GRACE } from "./limits.ts";

const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
} as const;

/** Streams chunks as the answer to a request. */
export function streamChunks(context: RequestContext, chunks: AsyncGenerator<object, void>) {
  return streamBody(context, eventsOf(context, chunks), HEADERS);
}

/** An error in the middle becomes an event, too, since the status was sent long before. */
async function* eventsOf(
  { var: { server, record } }: RequestContext,
  chunks: AsyncGenerator<object, void>,
): AsyncGenerator<string, void> {
  const event = (data: string): string => `data: ${data}\n\n`;
  try {
    for await (const chunk of chunks) yield event(JSON.stringify(chunk));
    yield event("[DONE]");
  } catch (thrown) {
    const error = server.engineWatch.explain(thrown);
    record.error = reasonOf(error);
    yield event(JSON.stringify(server.answerTo(error).body));
  }
}

/**
 * Sends texts with the status 200, made as fast as they are read. The request and its record end with them, however they
 * end; when the request is cancelled, a reader that is slow has two seconds for the rest.
 */
export function streamBody(
  context: RequestContext,
  texts: AsyncGenerator<string, void>,
  headers: Record<string, string>,
) {
  const { record, running } = context.var;
  record.isStream = true;
  const encoder = new TextEncoder();
  let isOver = false;
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    record.isAborted = context.req.raw.signal.aborted;
    running.stop();
    running.end();
    record.end?.();
  };
  /** Closes the connection, or without one of its own fails the body, since an answer that only ends would look whole. */
  const drop = (controller: ReadableStreamDefaultController, reason: string): void => {
    if (isOver) return;
    record.error = reason;
    end();
    const outgoing = context.env?.outgoing;
    if (outgoing === undefined) controller.error(new Error(reason));
    else {
      outgoing.destroy();
      controller.close();
    }
  };
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const cutOff = (): void => drop(controller, "the client reads too slowly");
      running.signal.addEventListener("abort", () => void setTimeout(cutOff, GRACE).unref(), { once: true });
    },
    async pull(controller) {
      try {
        const { done, value } = await texts.next();
        if (isOver) return;
        if (done !== true) return controller.enqueue(encoder.encode(value));
        end();
        controller.close();
      } catch (error) {
        drop(controller, String(error));
      }
    },
    cancel() {
      end();
      void texts.return().catch(() => undefined);
    },
  });
  return context.body(body, 200, headers);
}
