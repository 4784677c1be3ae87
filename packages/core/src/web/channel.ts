// What carries calls between a page and its worker.
import { type CallContext, type Channel, withProgress } from "#common";
import { nextTurn } from "#platform";

/** Where messages come from and go to: a worker, or the scope of one. */
export interface Port {
  /** Sends a message. */
  postMessage(message: unknown): void;
  addEventListener(type: "message", listener: (message: { readonly data: unknown }) => void): void;
}

export const portChannel = (port: Port): Channel => ({
  send: (message) => port.postMessage(message),
  receive: (listener) => port.addEventListener("message", ({ data }) => listener(data)),
});

/** Emits events, and gives their result. A step of WebAssembly lets no message in by itself, such as that a call is aborted. */
export const emitAll = <Event, Result>(
  events: AsyncIterable<Event, Result>,
  { emit }: CallContext<Event>,
): Promise<Result> =>
  withProgress(events, async (event) => {
    emit(event);
    await nextTurn();
  });
