import { expect, test } from "vitest";
import { createBudget, createConcurrencyLimiter, createRateLimiter } from "./limits.ts";

const key = { name: "k", requestsPerMinute: 60, maxConcurrent: 2 };

test("a minute's requests at once, then steadily", () => {
  let now = 0;
  const limiter = createRateLimiter(() => now);
  for (let i = 0; i < 60; i++) limiter.count(key);
  expect(() => limiter.count(key)).toThrowError(/60 requests per minute/);
  now += 999;
  expect(() => limiter.count(key)).toThrowError();
  now += 1;
  limiter.count(key);
  expect(() => limiter.count(key)).toThrowError();
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
  expect(limiter.count(slow)).toEqual(headers("1", "30s"));
  now += 15_000;
  expect(limiter.count(slow)).toEqual(headers("0", "45s"));
  expect(() => limiter.count(slow)).toThrowError(
    expect.objectContaining({
      details: expect.objectContaining({ retryAfter: 15, headers: headers("0", "45s") }),
    }),
  );
  expect(limiter.count({ name: "free", requestsPerMinute: undefined })).toEqual({});
});

test("a request that has ended makes room once", () => {
  const limiter = createConcurrencyLimiter();
  const leave = limiter.enter(key);
  limiter.enter(key);
  expect(() => limiter.enter(key)).toThrowError(/2 concurrent requests/);
  leave();
  leave();
  limiter.enter(key);
  expect(() => limiter.enter(key)).toThrowError();
});

test("a budget is taken by all requests together, and given back", () => {
  const budget = createBudget(10, "log-probabilities");
  const giveBack = budget.take(7);
  expect(() => budget.take(4)).toThrowError(/hold 7 of 10 log-probabilities/);
  budget.take(3);
  giveBack();
  budget.take(7);
  expect(() => budget.take(1)).toThrowError();
});
