import { expect, test } from "vitest";
import { EXITS, parseLine, toMessages } from "./chat.ts";

test.each([
  ["", undefined, ""],
  ["  When? ", undefined, "When?"],
  ["/reset", "reset", ""],
  ["/system Be brief.\nAlways.", "system", "Be brief.\nAlways."],
  ["/system", "system", ""],
  ["//etc is a folder", undefined, "/etc is a folder"],
  ["/sytem x", "sytem", "x"],
  ["/", "", ""],
])("%j", (line, command, text) => expect(parseLine(line)).toEqual({ command, text }));

test.each(["/quit", "/bye ", "/exit"])("%s exits", (line) => {
  expect(EXITS).toContain(parseLine(line).command);
});

test("the system message comes first, and only where there is one", () => {
  const turns = [{ role: "user", content: "Hi" }];
  expect(toMessages({ system: undefined, turns })).toEqual(turns);
  expect(toMessages({ system: "Be brief.", turns })).toEqual([
    { role: "system", content: "Be brief." },
    ...turns,
  ]);
});
