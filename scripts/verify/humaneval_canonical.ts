// HumanEval's own solutions through the program checker: all must pass. With --completion, one text as the answer to all.
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { createProgramChecker, humanEvalProgram } from "mixture-of-shards-lab";
import { z } from "zod";
import { fail, readArguments } from "../../bench/arguments.ts";

const HELP = `usage: npm run verify:humaneval -- --data FOLDER|HumanEval.jsonl.gz [--python PATH] [--completion TEXT]

Runs the canonical solution of every problem with its tests, in Pyodide or in the system's Python, and prints how many pass;
any that fails is named with the reason and ends this with 1. With --completion, that text is the answer to every problem
(\\n is a new line): nothing is expected of it, and the problems it solves are named.

  --workers N (2)   --seconds S (3)`;

const row = z.object({
  task_id: z.string(),
  prompt: z.string(),
  canonical_solution: z.string(),
  test: z.string(),
  entry_point: z.string(),
});

const given = readArguments(HELP, {
  values: ["data", "python", "completion", "workers", "seconds"],
  flags: [],
});
const data = given.text("data") ?? fail(HELP);
const completion = given.text("completion")?.replaceAll("\\n", "\n");
const file = (await stat(data)).isDirectory() ? join(data, "HumanEval.jsonl.gz") : data;
const problems = gunzipSync(await readFile(file))
  .toString("utf8")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => row.parse(JSON.parse(line)));

const start = performance.now();
await using checker = await createProgramChecker({
  python: given.text("python"),
  workers: given.number("workers", 2),
  seconds: given.number("seconds", 3),
});
const loaded = performance.now();
const results = await Promise.all(
  problems.map(async (problem) => {
    const { prompt, test, entry_point: entryPoint } = problem;
    const answer = completion ?? problem.canonical_solution;
    const program = humanEvalProgram({ prompt, completion: answer, test, entryPoint });
    return { name: problem.task_id, ...(await checker.check(program)) };
  }),
);
const end = performance.now();

const passed = results.filter((result) => result.passed).length;
for (const { name, reason } of results.filter((result) => result.passed === (completion !== undefined)))
  console.log(`${name} ${reason}`);
console.log(`${passed}/${problems.length}`);
console.log(
  `first ready after ${((loaded - start) / 1000).toFixed(1)} s, checked in ${((end - loaded) / 1000).toFixed(1)} s`,
);
if (completion === undefined && passed < problems.length) process.exitCode = 1;
