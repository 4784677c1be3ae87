import { expect, test } from "vitest";
import { jsonLine, textLine } from "./log.ts";

const date = new Date(2026, 0, 2, 12, 4, 31);
const request = {
  request: "req_1",
  key: "acme",
  method: "POST",
  path: "/v1/chat/completions",
  status: 200,
  model: "tiny",
  promptTokens: 7,
  completionTokens: 19,
  seconds: 0.5432,
};
const text = (fields: object, message: string, level: "info" | "warn" | "error" = "info"): string =>
  textLine({ level, fields, message, date });

test("a terminal gets lines for people", () => {
  expect(text(request, "request")).toBe("12:04:31 POST /v1/chat/completions 200 acme 19 tok 0.54 s");
  const refused = { ...request, key: undefined, status: 401, completionTokens: 0, error: "invalid_api_key" };
  expect(text(refused, "request")).toBe("12:04:31 POST /v1/chat/completions 401 0.54 s invalid_api_key");
  expect(text({}, "stopped")).toBe("12:04:31 stopped");
  expect(text({ running: 2, reason: undefined }, "draining")).toBe("12:04:31 draining (running 2)");
  expect(text({ adapter: "a", reason: "rank 9" }, "this adapter cannot be served", "warn")).toBe(
    "12:04:31 warning: this adapter cannot be served (adapter a, reason rank 9)",
  );
});

test("what a client wrote moves no cursor", () => {
  expect(text({ ...request, path: "/a\n12:04:32 \u001b[2J" }, "request", "error")).toBe(
    "12:04:31 error: POST /a 12:04:32  [2J 200 acme 19 tok 0.54 s",
  );
});

test("programs get JSON", () => {
  expect(JSON.parse(jsonLine({ level: "warn", fields: { reason: "r" }, message: "m", date }))).toEqual({
    level: 40,
    time: date.getTime(),
    reason: "r",
    msg: "m",
  });
});
