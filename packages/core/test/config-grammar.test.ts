// Tens of the config.json files that scripts/verify/config_grammar.py makes by the thousand, with transformers' logits:
// what this engine computes is the same, or it says by name what it does not run.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runs } from "../../../test/runs.ts";
import { type ConfigCase, type Outcome, runCase } from "./config-cases.ts";

const text = gunzipSync(await readFile("test/fixtures/configs.jsonl.gz")).toString();
const cases = text
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as ConfigCase)
  .filter((_, i) => i % (2 / runs(2)) === 0);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-configs-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("no config computes something else than with transformers in silence", async () => {
  const outcomes: Outcome[] = [];
  for (const found of cases) outcomes.push(await runCase(folder, found));
  const different = cases.filter((_, i) => outcomes[i]?.kind === "different").map(({ config }) => config);
  expect(different).toEqual([]);
  expect(outcomes.filter(({ kind }) => kind === "alone")).toEqual([]);
  expect(outcomes.filter(({ kind }) => kind === "equal").length).toBeGreaterThan(runs(40));
});
