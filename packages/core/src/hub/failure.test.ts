import { expect, test } from "vitest";
import { retryAdvice } from "./failure.ts";

test.each([
  [400, false],
  [404, false],
  [408, true],
  [425, true],
  [426, false],
  [429, true],
  [499, false],
  [500, true],
  [503, true],
])("an answer of the status %i may be repeated: %s", (status, transient) => {
  expect(retryAdvice(new Response(null, { status }), 60)).toEqual({ transient });
});

test.each([
  ["7", 7],
  ["2.5", 2.5],
  ["600", 60],
  ["Tue, 01 Dec 2026 10:00:09 GMT", 9],
  ["Tue, 01 Dec 2026 09:00:00 GMT", 0],
])("Retry-After: %s", (after, waitSeconds) => {
  const headers = { "retry-after": after, date: "Tue, 01 Dec 2026 10:00:00 GMT" };
  expect(retryAdvice(new Response(null, { status: 503, headers }), 60)).toEqual({
    transient: true,
    waitSeconds,
  });
});
