// Server-sent events, as OpenAI's clients read them: one JSON object in each, [DONE] at the end.
import { answerTo } from "./refusal.ts";

export interface StreamOptions {
  /** The stream is over: done, failed, or its reader has gone. Called once. */
  readonly onEnd: (error?: unknown) => void;
}

/**
 * A stream of events that is made as fast as it is read. What goes wrong in the middle is an event, too, since the
 * status has gone out long before.
 */
export function eventStream(
  chunks: AsyncGenerator<object, void>,
  { onEnd }: StreamOptions,
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
      } catch (error) {
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

export const STREAM_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
} as const;
