// Server-sent events, as OpenAI's clients read them: one JSON object in each, [DONE] at the end.
import type { RequestContext } from "./context.ts";
import { answerTo } from "./errors.ts";

const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
} as const;

/** Streams chunks as the answer to a request. The request and its record end with the stream, however it ends. */
export function streamChunks(context: RequestContext, chunks: AsyncGenerator<object, void>) {
  const { server, record, running } = context.var;
  record.isStream = true;
  const body = eventStream(chunks, {
    explain: server.engineWatch.explain,
    onEnd: (error) => {
      record.isAborted = context.req.raw.signal.aborted;
      if (error !== undefined) record.error = error instanceof Error ? error.message : String(error);
      running.stop();
      running.end();
      record.end?.();
    },
  });
  return context.body(body, 200, HEADERS);
}

interface StreamOptions {
  /** Finds the reason for an error. */
  readonly explain: (error: unknown) => unknown;
  /** The stream is over: done, failed, or its reader has left. Called once. */
  readonly onEnd: (error?: unknown) => void;
}

/**
 * The events' bytes, made as fast as they are read. An error in the middle becomes an event, too, since the status was
 * sent long before.
 */
function eventStream(
  chunks: AsyncGenerator<object, void>,
  { explain, onEnd }: StreamOptions,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let isOver = false;
  const end = (error?: unknown): void => {
    if (isOver) return;
    isOver = true;
    onEnd(error);
  };
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const send = (data: string): void => {
        if (!isOver) controller.enqueue(encoder.encode(`data: ${data}\n\n`));
      };
      try {
        const { done, value } = await chunks.next();
        if (done !== true) return send(JSON.stringify(value));
        send("[DONE]");
        if (!isOver) controller.close();
        end();
      } catch (thrown) {
        const error = explain(thrown);
        send(JSON.stringify(answerTo(error).body));
        if (!isOver) controller.close();
        end(error);
      }
    },
    cancel() {
      end();
      void chunks.return().catch(() => undefined);
    },
  });
}
