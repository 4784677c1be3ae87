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
