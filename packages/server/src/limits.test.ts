import { expect, test } from "vitest";
import { createBudget, createConcurrencyLimiter, createRateLimiter } from "./limits.ts";

const key = { name: "k", requestsPerMinute: 60, maxConcurrent: 2 };

test("a minute's requests at once, then steadily", () => {
  let now = 0;
  const limiter = createRateLimiter(() => now);
  for (let i = 0; i < 60; i++) limiter(key);
  expect(() => limiter(key)).toThrowError(/60 requests per minute/);
  now += 999;
  expect(() => limiter(key)).toThrowError();
  now += 1;
  limiter(key);
  expect(() => limiter(key)).toThrowError();
});

test("what is left of a minute's requests is said in OpenAI's headers, also with a refusal", () => {
  let now = 0;
  const limiter = createRateLimiter(() => now);
  const headers = (remaining: string, reset: string) => ({
    "x-ratelimit-limit-requests": "2",
    "x-ratelimit-remaining-requests": remaining,
    "x-ratelimit-reset-requests": reset,
  });
  const slow = { name: "slow", requestsPerMinute: 2 };
  expect(limiter(slow)).toEqual(headers("1", "30s"));
  now += 15_000;
  expect(limiter(slow)).toEqual(headers("0", "45s"));
  expect(() => limiter(slow)).toThrowError(
    expect.objectContaining({
      details: expect.objectContaining({ retryAfter: 15, headers: headers("0", "45s") }),
    }),
  );
  expect(limiter({ name: "free", requestsPerMinute: undefined })).toEqual({});
});

test("a request that has ended makes room once", () => {
  const limiter = createConcurrencyLimiter();
  const leave = limiter(key);
  limiter(key);
  expect(() => limiter(key)).toThrowError(/2 concurrent requests/);
  leave();
  leave();
  limiter(key);
  expect(() => limiter(key)).toThrowError();
});

test("a budget is taken by all requests together, and given back", () => {
  const budget = createBudget(10, "log-probabilities");
  const giveBack = budget(7);
  expect(() => budget(4)).toThrowError(/hold 7 of 10 log-probabilities/);
  budget(3);
  giveBack();
  budget(7);
  expect(() => budget(1)).toThrowError();
});
