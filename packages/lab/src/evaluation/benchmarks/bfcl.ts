// The Berkeley Function Calling Leaderboard's single-turn categories in Python: a question, functions, and the calls that answer it.
// Asked twice over: `bfcl` constrains an answer to calls of the functions, `bfcl_free` reads what the model writes by itself.

import { type LoadedText, MosError } from "mixture-of-shards";
import { parseJson, parseWith } from "mixture-of-shards-core/common";
import { answerFormat } from "mixture-of-shards-core/text";
import { z } from "zod";
import {
  GREEDY,
  type QuestionOptions,
  type QuestionSet,
  type TextBenchmark,
  type Verdict,
} from "../benchmark.ts";
import { benchmarkFileExists, digestRows, missingData, readRows, readText } from "../data.ts";
import { chooseShots, type Draft, finishQuestions, type RenderTools } from "../questions.ts";
import { averageGroups, summarizeGroups, summarizeScores } from "../scoring.ts";
import {
  answerSchema,
  areRightCalls,
  type BfclCall,
  type BfclFunction,
  functionSchema,
  parsePython,
  toolName,
} from "./bfcl-rules.ts";

const METRIC = "ast";

const benchmark = <Name extends "bfcl" | "bfcl_free">(name: Name): TextBenchmark<Name> => ({
  name,
  metric: { "open-instruct": METRIC, "lm-eval": METRIC },
  scale: 1,
  source: {
    instructions:
      "its data come with bfcl-eval on PyPI: pip download bfcl-eval==2026.3.23 --no-deps; unzip bfcl_eval-*.whl -d bfcl; then --data bfcl",
  },
  read: readBfcl,
  questions: (folder, options) => makeQuestions(name, folder, options),
  references: z.tuple([z.string(), z.string()]),
  scorers: { "open-instruct": scoreCalls, "lm-eval": scoreCalls },
  summarise(scored) {
    const groups = summarizeGroups(scored);
    const overall = summarizeScores(scored);
    return {
      overall: groups.size < 2 ? overall : { ...overall, ...averageGroups([...groups.values()]) },
      groups,
    };
  },
});

/** Answers are constrained to calls: one, or at least one in the parallel categories. */
export const bfcl = benchmark("bfcl");
/** Answers are free, as with the tool choice "auto" of a server that only parses. */
export const bfclFree = benchmark("bfcl_free");

// --- data

/** The categories, and the number of their questions. */
const CATEGORIES = { simple_python: 400, multiple: 200, parallel: 200, parallel_multiple: 200 } as const;
type Category = keyof typeof CATEGORIES;
const CATEGORY_NAMES = Object.keys(CATEGORIES) as readonly Category[];

const message = z.object({ role: z.string(), content: z.string() });
const questionRow = z.object({
  id: z.string(),
  question: z.tuple([z.array(message).min(1)]),
  function: z.array(functionSchema).min(1),
});
const answerRow = z.object({ id: z.string(), ground_truth: answerSchema });

/** A question with its functions, and the line of its possible answers, in which 1.0 is not 1. */
export type BfclRow = Readonly<z.output<typeof questionRow>> & { readonly answer: string };

/** Folder in the package of the leaderboard. */
const FOLDER = ["bfcl_eval", "data"];

/** Reads questions of a category with their answers. Throws `not_found`, `bad_data`, `storage`. */
export async function readBfclRows(folder: string, category: string): Promise<readonly BfclRow[]> {
  const file = `BFCL_v4_${category}.json`;
  const questions = await readRows({ folder, parts: [...FOLDER, file] }, questionRow);
  const answers = await readText({ folder, parts: [...FOLDER, "possible_answer", file] });
  const lines = answers.split("\n").filter((line) => line.trim() !== "");
  const known = new Map(lines.map((line) => [readAnswer(line, `possible_answer/${file}`).id, line]));
  return questions.map((question) => {
    const answer = known.get(question.id);
    if (answer !== undefined) return { ...question, answer };
    throw new MosError("bad_data", `${file}: there is no answer of ${question.id} in possible_answer`);
  });
}

/** The possible answers to a question, from their line. Throws `bad_data`. */
export function readAnswer(line: string, where: string): z.output<typeof answerRow> {
  const place = { code: "bad_data", where } as const;
  parseJson(line, place);
  return parseWith(answerRow, parsePython(line), place);
}

/** Reads those categories that are in the folder. Throws `not_found`, `bad_data`, `storage`. */
export async function readBfcl(folder: string) {
  const rows = new Map<Category, readonly BfclRow[]>();
  for (const category of CATEGORY_NAMES)
    if (await benchmarkFileExists({ folder, parts: [...FOLDER, `BFCL_v4_${category}.json`] }))
      rows.set(category, await readBfclRows(folder, category));
  if (rows.size === 0)
    throw missingData(`${folder}: no questions of BFCL found`, "bfcl_eval/data/BFCL_v4_simple_python.json");
  return {
    rows,
    counts: CATEGORY_NAMES.map((name) => ({
      what: `questions of BFCL's ${name}`,
      found: rows.get(name)?.length ?? 0,
      expected: CATEGORIES[name],
    })),
    digest: digestRows(Object.fromEntries(rows)),
  };
}

// --- functions as tools: Python's types in JSON Schema

/** Types of JSON Schema; "any" is checked as a text. */
const TYPES: Readonly<Record<string, string>> = {
  dict: "object",
  float: "number",
  tuple: "array",
  any: "string",
};
type Schema = Readonly<Record<string, unknown>>;

const isSchema = (value: unknown): value is Schema =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Keywords that mean in JSON Schema what they do in the benchmark. */
const KEPT = ["description", "enum", "default", "required", "minimum", "maximum"] as const;

function toSchema(given: Schema): Schema {
  const { type, properties, items } = given;
  const schema: Record<string, unknown> = {};
  if (typeof type === "string") schema["type"] = TYPES[type] ?? type;
  for (const keyword of KEPT) if (given[keyword] !== undefined) schema[keyword] = given[keyword];
  if (isSchema(properties)) {
    schema["properties"] = Object.fromEntries(
      Object.entries(properties).map(([name, one]) => [name, isSchema(one) ? toSchema(one) : one]),
    );
    schema["additionalProperties"] = false; // the rules refuse them
  }
  if (isSchema(items)) schema["items"] = toSchema(items);
  return schema;
}

/** A function of the benchmark as a tool, whose name has no dots. */
export function bfclTool({
  name,
  description,
  parameters,
}: BfclFunction): Extract<RenderTools[number], { readonly type: "function" }> {
  return {
    type: "function",
    name: toolName(name),
    ...(typeof description === "string" ? { description } : {}),
    parameters: toSchema(parameters),
  };
}

// --- prompts

async function makeQuestions(
  name: "bfcl" | "bfcl_free",
  folder: string,
  options: QuestionOptions,
): Promise<QuestionSet> {
  const reason = "a question comes with its functions only";
  const shots = chooseShots(options, { benchmark: name, default: 0, min: 0, max: 0, reason });
  const data = await readBfcl(folder);
  const drafts = [...data.rows].flatMap(([category, rows]) =>
    rows.map((row) => makeDraft(row, { name, category, text: options.text })),
  );
  return {
    ...(await finishQuestions(
      { benchmark: "bfcl", data, drafts, output: FREE, shots }, // both are asked the same ones of --limit
      { ...options, format: "model" },
    )),
    format: "model",
  };
}

const FREE = { ...GREEDY, maxTokens: 256, stop: [] } as const;

function makeDraft(
  { id, question, function: functions, answer }: BfclRow,
  {
    name,
    category,
    text,
  }: { readonly name: "bfcl" | "bfcl_free"; readonly category: Category; readonly text: LoadedText },
): Draft {
  const tools = functions.map(bfclTool);
  return {
    id: `${name}/${id}`,
    group: category,
    references: [JSON.stringify(functions), answer],
    prompt: () => ({ messages: question[0], leadIn: "", plain: "", tools }),
    output(prompt) {
      const parallel = category.startsWith("parallel");
      const format = answerFormat(text, { tools, toolChoice: { mode: "required" }, parallel }, prompt);
      const constraint = name === "bfcl" ? { grammar: format.grammar } : {};
      const maxTokens = parallel ? 512 : FREE.maxTokens;
      return { ...FREE, maxTokens, ...constraint, read: (written) => readCalls(format.parser(), written) };
    },
  };
}

/** An answer as an assistant's message in JSON. */
function readCalls(parser: ReturnType<ReturnType<typeof answerFormat>["parser"]>, answer: string): string {
  const calls: { readonly name: string; arguments: string }[] = [];
  let content = "";
  for (const delta of [...parser.push(answer), ...parser.finish()]) {
    if (delta.type === "text") content += delta.text;
    else if (delta.type === "call") calls.push({ name: delta.name, arguments: "" });
    else if (delta.type === "arguments") {
      const call = calls.at(-1);
      if (call !== undefined) call.arguments += delta.text;
    }
  }
  return JSON.stringify({ content, tool_calls: calls });
}

// --- scoring

const prediction = z.object({
  tool_calls: z.array(z.object({ name: z.string(), arguments: z.string() })),
});

/** The calls of a prediction, an assistant's message in JSON; undefined where it is none, or their arguments are not JSON. */
function predictedCalls(text: string): readonly BfclCall[] | undefined {
  try {
    return prediction.parse(JSON.parse(text)).tool_calls.map(({ name, arguments: given }) => ({
      name,
      arguments: z.record(z.string(), z.unknown()).parse(parsePython(given)),
    }));
  } catch {
    return undefined;
  }
}

/** References: the functions, and the line of possible answers. */
function scoreCalls(text: string, [functions = "", answer = ""]: readonly string[]): Verdict {
  const place = { code: "bad_data", where: "BFCL: the first reference" } as const;
  const known = parseWith(z.array(functionSchema), parseJson(functions, place), place);
  const { ground_truth: truth } = readAnswer(answer, "BFCL: the second reference");
  const calls = predictedCalls(text);
  const isRight = calls !== undefined && areRightCalls(calls, truth, known);
  return {
    extracted: calls === undefined ? "" : JSON.stringify(calls),
    scores: { [METRIC]: Number(isRight) },
  };
}
