// Limits of requests, connections and keys, and the list of running requests.
import type { ApiKey } from "./auth.ts";
import { ApiError, shuttingDown } from "./errors.ts";

/** The limits that a server has unless it is given others. Sizes in bytes, times in seconds. */
export const defaultLimits = {
  /** Limit of a request's body. */
  bodyBytes: 4_000_000,
  /** Limit of a form that uploads an adapter. */
  uploadBytes: 512_000_000,
  /** Choices of one request: prompts times n. */
  choices: 128,
  /** Texts of one request for embeddings. */
  inputs: 2048,
  /** Choices of one request that the engine has at a time. */
  choicesAtOnce: 16,
  /** Log-probabilities that one request may hold until its answer is sent, and all requests together. */
  logprobs: 2_000_000,
  logprobsInFlight: 8_000_000,
  /** Numbers of the embeddings that all requests hold together. */
  embeddingsInFlight: 64_000_000,
  /** Limit of all headers together. */
  headerBytes: 16_384,
  headerCount: 100,
  connections: 1024,
  /** The same for one address, which may be a proxy's. */
  connectionsPerAddress: 512,
  requestsPerConnection: 10_000,
  /** Until the headers have arrived. */
  headerSeconds: 10,
  /** Until a body of JSON has arrived. */
  requestSeconds: 120,
  /** Until any request has arrived: a file of hundreds of megabytes may come by a slow line. */
  uploadSeconds: 1800,
  /** From the start of a request to the end of its answer; 0 is for ever. */
  answerSeconds: 1800,
  /** Until a connection without a request is closed. */
  idleSeconds: 15,
  /** Until a client that does not read its answer is dropped. */
  stalledSeconds: 30,
};

export type ServerLimits = Readonly<typeof defaultLimits>;

/** As OpenAI writes times: `6h5m4s`. */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return `${hours > 0 ? `${hours}h` : ""}${hours > 0 || minutes > 0 ? `${minutes}m` : ""}${seconds % 60}s`;
}

/**
 * Limits how many requests a key sends: a token bucket for each key holds one minute's requests and refills steadily. The
 * function counts a request, and gives what is left, in OpenAI's headers: their time is that until a whole minute's requests are
 * allowed again. It throws ApiError 429 with the same headers, and the seconds until the next one is allowed.
 *
 * @param now Milliseconds since 1970.
 */
export function createRateLimiter(now: () => number) {
  const buckets = new Map<string, { readonly tokens: number; readonly filledAt: number }>();
  return (key: Pick<ApiKey, "name" | "requestsPerMinute">): Readonly<Record<string, string>> => {
    const { name, requestsPerMinute: limit } = key;
    if (limit === undefined) return {};
    const capacity = Math.max(1, limit);
    const bucket = buckets.get(name) ?? { tokens: capacity, filledAt: now() };
    const elapsed = Math.max(0, now() - bucket.filledAt);
    const tokens = Math.min(capacity, bucket.tokens + (elapsed / 60_000) * limit);
    const left = tokens < 1 ? tokens : tokens - 1;
    buckets.set(name, { tokens: left, filledAt: now() });
    const headers = {
      "x-ratelimit-limit-requests": String(limit),
      "x-ratelimit-remaining-requests": String(Math.floor(left)),
      "x-ratelimit-reset-requests": duration(((capacity - left) / limit) * 60_000),
    };
    if (tokens >= 1) return headers;
    throw new ApiError(`rate limit: ${limit} requests per minute; wait for the time in retry-after`, {
      status: 429,
      code: "rate_limit_exceeded",
      retryAfter: ((1 - tokens) / limit) * 60,
      headers,
    });
  };
}

/** Limits how many requests of a key run at the same time: each counts until the returned function is called. Throws ApiError 429. */
export function createConcurrencyLimiter() {
  const running = new Map<string, number>();
  return ({ name, maxConcurrent = Infinity }: Pick<ApiKey, "name" | "maxConcurrent">): (() => void) => {
    const count = running.get(name) ?? 0;
    if (count >= maxConcurrent)
      throw new ApiError(`this key may have ${maxConcurrent} concurrent requests; wait for one to finish`, {
        status: 429,
        code: "concurrency_limit_exceeded",
        retryAfter: 1,
      });
    running.set(name, count + 1);
    let hasLeft = false;
    return () => {
      if (hasLeft) return;
      hasLeft = true;
      const left = (running.get(name) ?? 1) - 1;
      if (left > 0) running.set(name, left);
      else running.delete(name);
    };
  };
}

/**
 * Limits how many numbers, such as log-probabilities, all requests hold together: those that one takes count until the returned
 * function is called. Throws ApiError 429.
 */
export function createBudget(limit: number, what: string) {
  let taken = 0;
  return (amount: number): (() => void) => {
    if (taken + amount > limit)
      throw new ApiError(
        `running requests hold ${taken} of ${limit} ${what}, which leaves no room for the ${amount} of this one; retry later, or ask for fewer`,
        { status: 429, code: "busy", retryAfter: 5 },
      );
    taken += amount;
    return () => {
      taken -= amount;
    };
  };
}

/** Time for cancelled requests to end and for written answers to reach their clients, in milliseconds. */
export const GRACE = 2000;

/** The longest delay that a timer can have. */
const MAX_DELAY = 2 ** 31 - 1 - GRACE;

/** @returns 503 for an answer that the server ends. */
export const cutOff = (): ApiError =>
  shuttingDown("the answer was cut off because the server is shutting down; retry the request");

/** The requests that are being answered, and whether new ones are accepted. */
export type InFlight = ReturnType<typeof createInFlight>;
/** A request that is being answered. */
export type RunningRequest = ReturnType<InFlight["begin"]>;

/** @param seconds Time limit of a request; 0 is for ever. */
export function createInFlight(seconds = 0) {
  const running = new Set<AbortController>();
  let draining = false;
  let leaving = false;
  let whenIdle: () => void = () => undefined;
  return {
    get draining(): boolean {
      return draining;
    },
    /** True if clients should go elsewhere, although requests may still be accepted. */
    get leaving(): boolean {
      return leaving || draining;
    },
    leave(): void {
      leaving = true;
    },
    get count(): number {
      return running.size;
    },
    /** @throws ApiError 503 while draining. */
    begin(client: AbortSignal) {
      if (draining) throw shuttingDown();
      const controller = new AbortController();
      /** Cancels the request: the client has left. */
      const stop = (): void => controller.abort();
      if (client.aborted) stop();
      client.addEventListener("abort", stop);
      running.add(controller);
      const limit = Math.min(seconds * 1000, MAX_DELAY);
      const expire = (): void => {
        const message = `the request exceeded the time limit of ${seconds} s; ask for less, or retry later`;
        controller.abort(new ApiError(message, { status: 504, code: "request_timeout" }));
      };
      const timer = limit > 0 ? setTimeout(expire, limit) : undefined;
      const works: (() => void)[] = [];
      /** The first call counts. */
      const end = (): void => {
        if (!running.delete(controller)) return;
        client.removeEventListener("abort", stop);
        clearTimeout(timer);
        for (const work of works) work();
        if (running.size === 0) whenIdle();
      };
      return {
        /** Fires when the client has left, and with an ApiError when time is over: the request's, or the server's to drain. */
        signal: controller.signal as AbortSignal,
        stop,
        end,
        /** Has work done at its end. */
        atEnd: (work: () => void): void => void works.push(work),
      };
    },
    /**
     * Accepts no more requests, waits for those that run, and cancels them after `seconds`. Those that do not end then,
     * as their body is still arriving, get two seconds more.
     */
    async drain(seconds: number): Promise<void> {
      draining = true;
      if (running.size === 0) return;
      const idle = new Promise<void>((resolve) => {
        whenIdle = resolve;
      });
      const delay = Math.min(seconds * 1000, MAX_DELAY);
      const stop = setTimeout(() => {
        for (const controller of running) controller.abort(cutOff());
      }, delay);
      const giveUp = setTimeout(whenIdle, delay + GRACE);
      await idle;
      clearTimeout(stop);
      clearTimeout(giveUp);
    },
  };
}
