import { afterEach, expect, test } from "vitest";
import { childOptions } from "./child-options.ts";

const { execArgv } = process;
afterEach(() => {
  process.execArgv = execArgv;
});

test.each([
  [["-e", "run()", "--no-warnings"]],
  [["--no-warnings", "--input-type=module", "--eval", "run()"]],
  [["--input-type", "module", "--no-warnings", "-p", "-e", "run()"]],
  [["--no-warnings", "--eval=run()", "--input-type=module"]],
])("a child does not run the script of the command line: %s", (options) => {
  process.execArgv = options;
  expect(childOptions("entry.js")).toEqual(["--no-warnings"]);
});

test("a child that runs a source has the loader of this process, or one", () => {
  process.execArgv = ["--import", "file:///tsx/loader.mjs", "-e", "run()"];
  expect(childOptions("entry.ts")).toEqual(["--import", "file:///tsx/loader.mjs"]);
  process.execArgv = [];
  expect(childOptions("entry.ts")).toEqual(["--conditions=source", "--import", "tsx"]);
});
