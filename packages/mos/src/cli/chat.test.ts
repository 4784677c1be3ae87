import { expect, test } from "vitest";
import { parseLine, toMessages } from "./chat.ts";

test.each([
  ["", { type: "nothing" }],
  ["  When? ", { type: "say", text: "When?" }],
  ["/reset", { type: "reset" }],
  ["/quit", { type: "exit" }],
  ["/bye", { type: "exit" }],
  ["/system Be brief.", { type: "system", text: "Be brief." }],
  ["/system", { type: "system", text: undefined }],
  ["//etc is a folder", { type: "say", text: "/etc is a folder" }],
  ["/sytem x", { type: "unknown", name: "sytem" }],
])("%j", (line, command) => expect(parseLine(line)).toEqual(command));

test("the system message comes first, and only where there is one", () => {
  const turns = [{ role: "user", content: "Hi" }];
  expect(toMessages({ system: undefined, turns })).toEqual(turns);
  expect(toMessages({ system: "Be brief.", turns })).toEqual([
    { role: "system", content: "Be brief." },
    ...turns,
  ]);
});
