// Answers that are sent while they are made. Server-sent events, as OpenAI's clients read them: one JSON object in each,
// [DONE] at the end.
import { errorText } from "#core";
import type { RequestContext } from "./context.ts";
import { GRACE, type RunningRequest } from "./limits.ts";

const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
} as const;

/** An event without data: it shows whether the client is still there. */
const EMPTY = ": \n\n";

/** Milliseconds in which a client reads what was sent last, if nothing else limits the request. */
const READ_WITHIN = 60_000;

/**
 * Streams objects as the answer to a request, each as an event, and [DONE]; `undefined` is an event without data.
 *
 * @param onEnd Called when the answer has ended, however it ends.
 */
export function streamEvents(
  context: RequestContext,
  objects: AsyncGenerator<object | undefined, void>,
  onEnd?: () => void,
) {
  return streamBody(context, eventTexts(context, objects), { headers: HEADERS, onEnd });
}

/** An error in the middle becomes an event, too, since the status was sent long before. */
async function* eventTexts(
  { var: { server, record } }: RequestContext,
  objects: AsyncGenerator<object | undefined, void>,
): AsyncGenerator<string, void> {
  const event = (data: string): string => `data: ${data}\n\n`;
  try {
    for await (const one of objects) yield one === undefined ? EMPTY : event(JSON.stringify(one));
    yield event("[DONE]");
  } catch (thrown) {
    const error = server.engineWatch.explain(thrown);
    record.error = errorText(error);
    yield event(JSON.stringify(server.answerTo(error).body));
  }
}

const TOO_SLOW = "the client reads too slowly";

/**
 * Sends texts with the status 200, made as fast as they are read. The request and its record end with them, however they
 * end. When the request is cancelled, a reader that is slow has two seconds for the rest; a request that may run for ever,
 * as only those with GET do, ends when its reader takes nothing for a minute.
 */
export function streamBody(
  context: RequestContext,
  texts: AsyncGenerator<string, void>,
  { headers, onEnd }: { readonly headers: Record<string, string>; readonly onEnd?: (() => void) | undefined },
) {
  const { record } = context.var;
  const running = context.get("running") as RunningRequest | undefined;
  record.isStream = true;
  const encoder = new TextEncoder();
  let isOver = false;
  let idle: NodeJS.Timeout | undefined;
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    record.isAborted = context.req.raw.signal.aborted;
    clearTimeout(idle);
    running?.stop();
    running?.end();
    onEnd?.();
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
      const cutOff = (): void => drop(controller, TOO_SLOW);
      running?.signal.addEventListener("abort", () => void setTimeout(cutOff, GRACE).unref(), { once: true });
    },
    async pull(controller) {
      clearTimeout(idle);
      try {
        const { done, value } = await texts.next();
        if (isOver) return;
        if (done !== true) {
          if (running === undefined) idle = setTimeout(() => drop(controller, TOO_SLOW), READ_WITHIN).unref();
          return controller.enqueue(encoder.encode(value));
        }
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
