import { readFileSync } from "node:fs";
import { RECENT_NAMES } from "mixture-of-shards-core/models";
import { expect, test } from "vitest";
import { countedIn, MODELS_PAGE, modelTable } from "../scripts/ci/model-memory.ts";

test("the memory of published models is what is counted now (npm run counted)", { timeout: 900_000 }, () => {
  expect(countedIn(readFileSync(MODELS_PAGE, "utf8"))).toContain(`\n${modelTable(RECENT_NAMES)}\n`);
});
