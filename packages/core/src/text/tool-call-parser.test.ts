import { expect, test } from "vitest";
import { CALL_SYNTAXES } from "./call-syntax.ts";
import { NamedCallParser, ToolCallParser } from "./tool-call-parser.ts";

test("a key of a call is read once", () => {
  const reader = new ToolCallParser("arguments");
  const before = process.cpuUsage();
  for (const char of `{"${'\\"'.repeat(100_000)}": 1, "name": "look_up", "arguments": {}}`) reader.feed(char);
  expect([reader.name, reader.takeArguments()]).toEqual(["look_up", "{}"]);
  expect(process.cpuUsage(before).user).toBeLessThan(1e6);
});

test("long names of tools and arguments are read in time that grows with their length", () => {
  const form = CALL_SYNTAXES.find(({ name }) => name === "qwen3_5")?.form;
  if (form === undefined) throw new Error("no such way");
  const reader = new NamedCallParser(form, () => undefined);
  const before = process.cpuUsage();
  const [tool, parameter] = ["t".repeat(100_000), "p>".repeat(50_000)];
  for (const char of `<function=${tool}>\n<parameter=${parameter}>\n1\n</parameter>\n</function>`)
    reader.feed(char);
  expect([reader.name, reader.takeArguments()]).toEqual([tool, `{"${parameter}": 1}`]);
  expect(process.cpuUsage(before).user).toBeLessThan(1e6);
});
