import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { commentedSources } from "../scripts/ci/setting-comments.ts";

test("the comments of settings are made of their rows; npm run options writes them", () => {
  for (const [path, source] of commentedSources()) expect(readFileSync(path, "utf8"), path).toBe(source);
});
