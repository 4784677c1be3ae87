// Lines of training data out of the Berkeley Function Calling Leaderboard: its questions about functions that those of one category
// never name, with the calls that answer them. The category itself stays for `mos eval --tasks bfcl`.
//
//   pip download bfcl-eval==2026.3.23 --no-deps && unzip -q bfcl_eval-*.whl -d bfcl
//   node --conditions=source --import tsx scripts/bfcl-lines.ts bfcl --out lines.jsonl

import { parseArgs } from "node:util";
import type { ExampleInput } from "mixture-of-shards";
import { randomStream } from "mixture-of-shards-core/common";
import { CallChecker, readDataset } from "mixture-of-shards-core/data";
import { writeJsonLines } from "mixture-of-shards-core/files";
import {
  type BfclRow,
  bfclTool,
  readAnswer,
  readBfclRows,
} from "../packages/lab/src/evaluation/benchmarks/bfcl.ts";

const CATEGORIES = ["multiple", "live_simple", "live_multiple", "parallel", "parallel_multiple"];
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: "string", default: "bfcl-lines.jsonl" },
    /** Category whose functions are left out. */
    "kept-for-test": { type: "string", default: "simple_python" },
    /** Functions of a line besides those that are called, at most. */
    others: { type: "string", default: "1" },
    seed: { type: "string", default: "0" },
  },
});
const [folder] = positionals;
if (folder === undefined) throw new Error("give the folder of the unpacked bfcl-eval");

const random = randomStream(Number(values.seed), "lines of BFCL");
const tested = await readBfclRows(folder, values["kept-for-test"]);
const names = new Set(tested.flatMap(({ function: functions }) => functions.map(({ name }) => name)));
const questions = new Set(tested.map(questionOf));

const lines: ExampleInput[] = [];
for (const category of CATEGORIES)
  for (const row of await readBfclRows(folder, category)) {
    const isTested = row.function.some(({ name }) => names.has(name)) || questions.has(questionOf(row));
    if (!isTested) lines.push(toLine(row));
  }
// some possible answers are not of the type that the function declares
const checker = new CallChecker();
const { examples } = await readDataset(lines);
const sound = lines.filter((_, i) => {
  const example = examples[i];
  return example !== undefined && checker.findProblem(example) === undefined;
});
const order = random.permutation(sound.length);
await writeJsonLines(
  values.out,
  Array.from(order, (i) => sound[i]),
);
console.log(`${values.out}: ${sound.length} lines`);

function questionOf({ question: [messages] }: BfclRow): string {
  return messages.at(-1)?.content ?? "";
}

/** The question with its functions and the first possible answer, in which what may be left out is. */
function toLine({ question: [messages], function: functions, answer }: BfclRow): ExampleInput {
  const truth = readAnswer(answer, "possible_answer").ground_truth.flatMap((one) => Object.entries(one));
  const called = functions.filter(({ name }) => truth.some(([known]) => known === name));
  const rest = functions.filter((one) => !called.includes(one));
  const others = Array.from(random.permutation(rest.length), (i) => rest[i]).slice(0, Number(values.others));
  const offered = new Set([...called, ...others]);
  const asked = messages.map(({ role, content }) => ({
    role: role === "system" ? ("system" as const) : ("user" as const),
    content,
  }));
  return {
    messages: [
      ...asked,
      {
        role: "assistant" as const,
        tool_calls: truth.map(([name, given]) => ({
          function: { name: name.replaceAll(".", "_"), arguments: firstAnswer(given) },
        })),
      },
    ],
    tools: functions
      .filter((one) => offered.has(one))
      .map((one) => {
        const { type, ...tool } = bfclTool(one);
        return { type, function: tool };
      }),
  };
}

/** Parameters with their first values, but for those that may be left out. */
function firstAnswer(given: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, allowed]) => {
      if (!Array.isArray(allowed) || allowed.includes("")) return [];
      return [[name, firstValue(allowed[0])]];
    }),
  );
}

/** A value, whose dictionaries list the possible values of each key. */
function firstValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(firstValue);
  if (typeof value !== "object" || value === null || "toJSON" in value) return value;
  return firstAnswer(value as Readonly<Record<string, unknown>>);
}
