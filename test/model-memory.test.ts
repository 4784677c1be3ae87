import { readFileSync } from "node:fs";
import { RECENT_NAMES } from "mixture-of-shards-core/models";
import { expect, test } from "vitest";
import { countedIn, MODELS_PAGE, modelTable } from "../scripts/ci/model-memory.ts";

const table = countedIn(readFileSync(MODELS_PAGE, "utf8"));

test("each published model has a row, with what is counted now for one of them (npm run counted)", () => {
  expect([...table.matchAll(/ `(?!--)([^`]+)` \|$/gm)].map(([, name]) => name)).toEqual(RECENT_NAMES);
  const [head, rule, row] = modelTable(["lfm2.5-230m"]).split("\n");
  for (const line of [head, rule, row]) expect(table.split("\n")).toContain(line);
});
