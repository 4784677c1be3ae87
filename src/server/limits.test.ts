import { expect, test } from "vitest";
import { createConcurrencyLimiter, createRateLimiter } from "./limits.ts";

const key = { name: "k", requestsPerMinute: 60, maxConcurrent: 2 };

test("a minute's requests at once, then steadily", () => {
  let now = 0;
  const limiter = createRateLimiter(() => now);
  for (let i = 0; i < 60; i++) limiter.count(key);
  expect(() => limiter.count(key)).toThrowError(/60 requests a minute/);
  now += 999;
  expect(() => limiter.count(key)).toThrowError();
  now += 1;
  limiter.count(key);
  expect(() => limiter.count(key)).toThrowError();
});

test("a request that has ended makes room once", () => {
  const limiter = createConcurrencyLimiter();
  const leave = limiter.enter(key);
  limiter.enter(key);
  expect(() => limiter.enter(key)).toThrowError(/2 requests at a time/);
  leave();
  leave();
  limiter.enter(key);
  expect(() => limiter.enter(key)).toThrowError();
});
