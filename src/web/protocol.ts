// Messages between a page and its worker. A call has a number; its events come with that number, and then its result or error.
import { AsyncQueue, decodeError, encodeError, MosError, type SentError } from "#core";

/** A call of a method by its name. */
export interface CallRequest {
  readonly id: number;
  readonly method: string;
  readonly argument: unknown;
}

/** What a page sends. */
export type Request =
  | CallRequest
  /** The signal of a call is aborted. */
  | { readonly id: number; readonly abort: true }
  /** Nobody reads the events of a call any more. */
  | { readonly id: number; readonly leave: true };

/** What a worker sends. */
export type Reply =
  | { readonly id: number; readonly event: unknown }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: SentError };

/** What a call is answered by: events, and a result. */
export type Answer = AsyncGenerator<unknown, unknown>;

/** Where messages come from and go to: a worker, the scope of one, or a port. */
export interface Channel {
  /** Sends a message, whose `transfer` is moved rather than copied. */
  postMessage(message: unknown, transfer?: readonly unknown[]): void;
  addEventListener(type: "message", listener: (message: { readonly data: unknown }) => void): void;
}

/** What a worker can do, by name. */
export type Methods = Readonly<Record<string, (argument: never, signal: AbortSignal) => Answer>>;

/** A call without events. */
// biome-ignore lint/correctness/useYield: it has none
export async function* result<Result>(work: () => Promise<Result>): AsyncGenerator<never, Result> {
  return await work();
}

/** Answers a call. */
export type Handler = (call: CallRequest, signal: AbortSignal) => Answer;

/** Answers the calls of a page. `turn` lets messages in between two events: a step of WebAssembly gives no turn by itself. */
export function serveCalls(channel: Channel, run: Handler, turn: () => Promise<void>): void {
  const running = new Map<number, { readonly stop: AbortController; left: boolean }>();
  const post = (reply: Reply): void => channel.postMessage(reply);
  const answer = async (request: CallRequest): Promise<void> => {
    const { id } = request;
    const call = { stop: new AbortController(), left: false };
    running.set(id, call);
    try {
      const events = run(request, call.stop.signal);
      for (;;) {
        const { done, value } = await events.next();
        if (done === true) return post({ id, result: value });
        post({ id, event: value });
        await turn();
        if (call.left) return void (await events.return(undefined));
      }
    } catch (error) {
      post({ id, error: encodeError(error) });
    } finally {
      running.delete(id);
    }
  };
  channel.addEventListener("message", ({ data }) => {
    const request = data as Request;
    if ("method" in request) return void answer(request);
    const call = running.get(request.id);
    if (call === undefined) return;
    if ("leave" in request) call.left = true;
    call.stop.abort();
  });
}

/** Calls methods of a worker. */
export interface Caller {
  /** The events of a call as they come, and its result. A loop that is left ends the call. */
  stream<Event, Result>(
    method: string,
    argument: unknown,
    signal?: AbortSignal | undefined,
  ): AsyncGenerator<Event, Result>;
  /** Ends all calls with an error. */
  fail(error: Error): void;
}

/** The other end of `serveCalls`. */
export function openCaller(channel: Channel): Caller {
  const calls = new Map<number, AsyncQueue<Reply>>();
  let [last, failure]: [number, Error | undefined] = [0, undefined];
  const post = (request: Request): void => channel.postMessage(request);
  channel.addEventListener("message", ({ data }) => {
    const reply = data as Reply;
    calls.get(reply.id)?.push(reply);
  });
  return {
    async *stream<Event, Result>(method: string, argument: unknown, signal?: AbortSignal) {
      if (failure !== undefined) throw failure;
      const id = ++last;
      const replies = new AsyncQueue<Reply>();
      calls.set(id, replies);
      const abort = (): void => post({ id, abort: true });
      const state = { isOpen: true };
      try {
        post({ id, method, argument });
        if (signal?.aborted === true) abort();
        signal?.addEventListener("abort", abort, { once: true });
        return yield* readReplies<Event, Result>(replies, state);
      } finally {
        signal?.removeEventListener("abort", abort);
        calls.delete(id);
        if (state.isOpen) post({ id, leave: true });
      }
    },
    fail(error) {
      failure = error;
      for (const replies of calls.values()) replies.close(error);
    },
  };
}

/** The events of a call up to its result; `state` says whether the worker still goes on with it. */
async function* readReplies<Event, Result>(
  replies: AsyncQueue<Reply>,
  state: { isOpen: boolean },
): AsyncGenerator<Event, Result> {
  for await (const reply of replies) {
    state.isOpen = "event" in reply;
    if ("event" in reply) yield reply.event as Event;
    else if ("error" in reply) throw decodeError(reply.error);
    else return reply.result as Result;
  }
  throw new MosError("cancelled", "the worker was closed");
}
