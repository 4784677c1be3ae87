import { expect, test } from "vitest";
import { ToolCallParser } from "./tool-call-parser.ts";

test("a key of a call is read once", () => {
  const reader = new ToolCallParser("arguments");
  const before = process.cpuUsage();
  for (const char of `{"${'\\"'.repeat(100_000)}": 1, "name": "look_up", "arguments": {}}`) reader.feed(char);
  expect([reader.name, reader.takeArguments()]).toEqual(["look_up", "{}"]);
  expect(process.cpuUsage(before).user).toBeLessThan(1e6);
});
