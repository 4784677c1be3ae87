// Remote calls over a channel: a call has events, one result or error, and a signal. What carries the messages is the channel's.

import { errorText, MosError } from "mixture-of-shards-graph/common";
import { onAbort, withProgress } from "./concurrency.ts";
import { AsyncQueue } from "./queue.ts";

/** One end of a connection: messages arrive in order. */
export interface Channel {
  send(message: unknown): void;
  /** Called once. */
  receive(listener: (message: unknown) => void): void;
}

/** An error on its way between processes or threads: an unexpected one has a stack and no code. */
type SentError = Pick<Error, "message" | "stack"> & Partial<Pick<MosError, "code" | "retryAfter">>;

/** What is sent of an error: a clone would lose its code. */
const encodeError = (error: unknown): SentError =>
  error instanceof MosError
    ? { code: error.code, message: error.message, retryAfter: error.retryAfter }
    : { message: errorText(error), ...(error instanceof Error ? { stack: error.stack } : {}) };

/** The error that was sent: a MosError, or an Error where it was unexpected. */
function decodeError({ code, message, stack, retryAfter }: SentError): Error {
  if (code === undefined) return Object.assign(new Error(message), { stack });
  const [line = "", hint] = message.split(/\n(.*)/s);
  return new MosError(code, line, { hint, retryAfter });
}

/** A message of a caller. Nothing comes back of a call without an id. */
type Request =
  | { readonly type: "call"; readonly id?: number; readonly method: string; readonly argument: unknown }
  /** The signal of the call is aborted, or its reader has left. */
  | { readonly type: "abort"; readonly id: number }
  /** The reader has handled the event that the method delivered. */
  | { readonly type: "handled"; readonly id: number; readonly answer: unknown };

type Reply =
  | { readonly type: "event"; readonly id: number; readonly event: unknown; readonly isDelivery: boolean }
  | { readonly type: "result"; readonly id: number; readonly value: unknown }
  | { readonly type: "failure"; readonly id: number; readonly error: SentError };

/** The context of a method's call. */
export interface CallContext<Event> {
  /** Aborted with the signal of the call, and when the caller is gone. */
  readonly signal: AbortSignal;
  /** Sends an event. */
  emit(event: Event): void;
  /** Sends an event, and waits until the reader has handled it: gives the argument of the reader's next `next`. */
  deliver(event: Event): Promise<unknown>;
}

type Method = (...args: never[]) => unknown;
/** Methods by name: each takes one argument and the context of its call. */
export type Methods = Readonly<Record<string, Method>>;
type EventOf<M> = M extends (args: never, context: CallContext<infer E>) => unknown ? E : never;
/** What a call gives: events, and a result. */
export type CallEvents<M extends Method> = AsyncGenerator<EventOf<M>, Awaited<ReturnType<M>>, unknown>;

/** Options of a call. */
export interface CallOptions {
  /** Aborts the signal of the method. */
  readonly signal?: AbortSignal | undefined;
}

/** Answers the calls of a channel; `onEnd` is told when one has ended. Gives the calls that run. */
export function serveCalls(
  channel: Channel,
  run: (method: string, argument: never, context: CallContext<unknown>) => unknown,
  onEnd: () => void = () => undefined,
) {
  /** `deliveries` go on with a call when each of them is handled, in order. */
  const calls = new Map<number, { stop: AbortController; deliveries: ((answer: unknown) => void)[] }>();
  const send = (reply: Reply): void => channel.send(reply);
  const answer = async (id: number, method: string, argument: unknown): Promise<void> => {
    const stop = new AbortController();
    const deliveries: ((answer: unknown) => void)[] = [];
    calls.set(id, { stop, deliveries });
    const context: CallContext<unknown> = {
      signal: stop.signal,
      emit: (event) => send({ type: "event", id, event, isDelivery: false }),
      deliver: (event) =>
        new Promise((resolve) => {
          deliveries.push(resolve);
          send({ type: "event", id, event, isDelivery: true });
        }),
    };
    try {
      send({ type: "result", id, value: await run(method, argument as never, context) });
    } catch (error) {
      send({ type: "failure", id, error: encodeError(error) });
    }
    calls.delete(id);
    onEnd();
  };
  channel.receive((message) => {
    const request = message as Request;
    if (request.type === "abort") calls.get(request.id)?.stop.abort();
    else if (request.type === "handled") calls.get(request.id)?.deliveries.shift()?.(request.answer);
    else if (request.type === "call") {
      const { id, method, argument } = request;
      // its method takes no context
      if (id === undefined) run(method, argument as never, undefined as never);
      else void answer(id, method, argument);
    }
  });
  return {
    get size() {
      return calls.size;
    },
    /** Aborts the signals of all. */
    abort() {
      for (const { stop } of calls.values()) stop.abort();
    },
  };
}

/** Calls the methods that are served at the other end of a channel. */
export class Caller<M extends Methods, Options extends CallOptions = CallOptions> {
  readonly #channel: Channel;
  readonly #calls = new Map<number, AsyncQueue<Reply>>();
  #lastId = 0;
  #failure: unknown;

  constructor(channel: Channel) {
    this.#channel = channel;
    channel.receive((message) => {
      const reply = message as Reply;
      this.#calls.get(reply.id)?.push(reply);
    });
  }

  /**
   * Calls a method that has a result and no events.
   *
   * @throws what the method throws: MosError, or Error for what is unexpected; what the calls have failed with.
   */
  async call<N extends keyof M & string>(
    method: N,
    argument: Parameters<M[N]>[0],
    options?: Options,
  ): Promise<Awaited<ReturnType<M[N]>>> {
    return await withProgress(this.stream(method, argument, options));
  }

  /** Calls a method: its events, then its result. Throws like `call`. A reader who leaves aborts the signal of the method. */
  async *stream<N extends keyof M & string>(
    method: N,
    argument: Parameters<M[N]>[0],
    { signal }: Pick<Options, "signal"> = {},
  ): CallEvents<M[N]> {
    const id = ++this.#lastId;
    const replies = new AsyncQueue<Reply>();
    if (this.#failure !== undefined) replies.close(this.#failure);
    this.#calls.set(id, replies);
    const abort = (): void => this.#send({ type: "abort", id });
    try {
      this.#send({ type: "call", id, method, argument });
      using _signal = onAbort(signal, abort);
      for await (const reply of replies) {
        if (reply.type === "result") return reply.value as Awaited<ReturnType<M[N]>>;
        if (reply.type === "failure") throw decodeError(reply.error);
        const answer = yield reply.event as EventOf<M[N]>;
        if (reply.isDelivery) this.#send({ type: "handled", id, answer });
      }
      throw this.#failure;
    } finally {
      abort(); // where the reader has left
      this.#calls.delete(id);
    }
  }

  /** Calls a method without waiting for its end: nothing comes back, and an error ends the process. */
  notify<N extends keyof M & string>(method: N, argument: Parameters<M[N]>[0]): void {
    this.#send({ type: "call", method, argument });
  }

  /** Ends all calls, and those to come, with an error. */
  fail(error: unknown): void {
    this.#failure ??= error;
    for (const replies of this.#calls.values()) replies.close(error);
  }

  #send(request: Request): void {
    this.#channel.send(request);
  }
}
