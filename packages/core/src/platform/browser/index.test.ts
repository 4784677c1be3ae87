import { expect, test } from "vitest";
import * as node from "../node/index.ts";
import * as browser from "./index.ts";

test("a browser has all that Node has", () => {
  expect(Object.keys(browser)).toEqual(expect.arrayContaining(Object.keys(node)));
});
