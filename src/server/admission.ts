import type { ApiKey } from "./key-ring.ts";
import { Refusal } from "./refusal.ts";

/** Limits of each key: how often, and how much at a time. */
export interface Admission {
  /** Counts a request. @throws Refusal 429 with the seconds until the next one. */
  count(key: ApiKey): void;
  /** Takes a place among the requests that run; the function gives it back. @throws Refusal 429. */
  enter(key: ApiKey): () => void;
}

interface Bucket {
  tokens: number;
  filledAt: number;
}

/** A bucket for each key: it holds a minute's requests and fills steadily. */
export function createAdmission(now: () => number): Admission {
  const buckets = new Map<string, Bucket>();
  const running = new Map<string, number>();
  return {
    count({ name, requestsPerMinute: limit }) {
      if (limit === undefined) return;
      const capacity = Math.max(1, limit);
      const bucket = buckets.get(name) ?? { tokens: capacity, filledAt: now() };
      const elapsed = Math.max(0, now() - bucket.filledAt);
      const tokens = Math.min(capacity, bucket.tokens + (elapsed / 60_000) * limit);
      buckets.set(name, { tokens: tokens < 1 ? tokens : tokens - 1, filledAt: now() });
      if (tokens < 1)
        throw new Refusal(
          `this key may send ${limit} requests a minute; wait for the seconds of retry-after`,
          {
            status: 429,
            reason: "rate_limit_exceeded",
            retryAfter: ((1 - tokens) / limit) * 60,
          },
        );
    },
    enter({ name, maxConcurrent = Number.POSITIVE_INFINITY }) {
      const count = running.get(name) ?? 0;
      if (count >= maxConcurrent)
        throw new Refusal(`this key may have ${maxConcurrent} requests at a time; wait for one to end`, {
          status: 429,
          reason: "concurrency_limit_exceeded",
          retryAfter: 1,
        });
      running.set(name, count + 1);
      let isIn = true;
      return () => {
        if (!isIn) return;
        isIn = false;
        const left = (running.get(name) ?? 1) - 1;
        if (left > 0) running.set(name, left);
        else running.delete(name);
      };
    },
  };
}
