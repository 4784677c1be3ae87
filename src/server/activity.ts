import { Refusal } from "./refusal.ts";

/** A request that the server works on. */
export interface Running {
  /** Fires when the client has gone, or the server's patience at its end. */
  readonly signal: AbortSignal;
  /** The client has gone: nobody reads the answer. */
  stop(): void;
  end(): void;
}

/** The requests that run, and whether new ones are taken. */
export interface Activity {
  readonly draining: boolean;
  readonly count: number;
  /** @throws Refusal 503 while draining. */
  begin(client: AbortSignal): Running;
  /**
   * Takes no more, waits for those that run, and stops what runs after so many seconds. Who does not hear that, since
   * its body is still coming, is waited for two seconds more.
   */
  drain(seconds: number): Promise<void>;
}

/** Milliseconds in which what was stopped has to end. */
const LAST_WORDS = 2000;

/** Timers count no further. */
const LONGEST_WAIT = 2 ** 31 - 1 - LAST_WORDS;

export function createActivity(): Activity {
  const running = new Set<AbortController>();
  let draining = false;
  let whenIdle: () => void = () => undefined;
  return {
    get draining() {
      return draining;
    },
    get count() {
      return running.size;
    },
    begin(client) {
      if (draining)
        throw new Refusal("the server is shutting down; send the request again", {
          status: 503,
          reason: "shutting_down",
          retryAfter: 5,
          headers: { connection: "close" },
        });
      const controller = new AbortController();
      const stop = (): void => controller.abort();
      if (client.aborted) stop();
      client.addEventListener("abort", stop);
      running.add(controller);
      const end = (): void => {
        client.removeEventListener("abort", stop);
        running.delete(controller);
        if (running.size === 0) whenIdle();
      };
      return { signal: controller.signal, stop, end };
    },
    async drain(seconds) {
      draining = true;
      if (running.size === 0) return;
      const idle = new Promise<void>((resolve) => {
        whenIdle = resolve;
      });
      const patience = Math.min(seconds * 1000, LONGEST_WAIT);
      const stop = setTimeout(() => {
        for (const controller of running) controller.abort();
      }, patience);
      const leave = setTimeout(whenIdle, patience + LAST_WORDS);
      await idle;
      clearTimeout(stop);
      clearTimeout(leave);
    },
  };
}
