// npm run verify:configs -- CASES.jsonl… [--verbose]
// Random config.json files and what transformers computes with them (config_grammar.py) against this engine: equal, or
// refused by name on one side. Exits with 1 where a number differs in silence.
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type ConfigCase, type Outcome, runCase } from "../../packages/core/test/config-cases.ts";

const folder = await mkdtemp(join(tmpdir(), "mos-configs-"));
const counts = new Map<string, number>();
const add = (key: string): void => void counts.set(key, (counts.get(key) ?? 0) + 1);
const failures: (readonly [ConfigCase, Outcome])[] = [];
const verbose = process.argv.includes("--verbose");
let largest = 0;
let farthest: ConfigCase["config"] = {};

for (const file of process.argv.slice(2).filter((argument) => !argument.startsWith("--")))
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const found = JSON.parse(line) as ConfigCase;
    const outcome = await runCase(folder, found);
    const by = found.refused === undefined ? "" : " as transformers does";
    add(outcome.kind === "refused" ? `refused${by}` : outcome.kind);
    if (outcome.kind === "equal" && outcome.difference >= largest)
      [largest, farthest] = [outcome.difference, found.config];
    if (outcome.kind === "different") failures.push([found, outcome]);
    if (verbose && outcome.kind === "alone")
      console.log(`alone: ${outcome.message} ${JSON.stringify(found.config)}`);
    if (verbose && outcome.kind === "refused" && by === "") console.log(`refused: ${outcome.message}`);
  }
await rm(folder, { recursive: true });

for (const [{ config }, outcome] of failures.slice(0, 20))
  console.log(`${JSON.stringify(outcome)} ${JSON.stringify(config)}`);
console.log(
  Object.fromEntries(counts),
  `largest relative difference of equal ones: ${largest.toExponential(1)}`,
);
if (verbose) console.log(`farthest of them: ${JSON.stringify(farthest)}`);
if (failures.length > 0) process.exitCode = 1;
