// MaskBench: which JSON Schemas compile, whether their instances are told apart, whether answers that masks lead end and are valid, and
// how long masks take.
import { appendFileSync, writeFileSync } from "node:fs";
import { randomStream } from "mixture-of-shards-core/common";
import { CompiledGrammar, GrammarError, grammarFromSource, type Matcher } from "mixture-of-shards-grammar";
import { randomAnswer } from "../packages/grammar/test/random-answer.ts";
import { fail, printResult, readArguments, rounded } from "./arguments.ts";
import { type BenchVocabulary, readVocabulary } from "./grammar-vocabulary.ts";
import { judgeOf } from "./json-judge.ts";
import { type Entry, readEntries } from "./maskbench-data.ts";

const HELP = `usage: bench:maskbench -- --data DIR [--model DIR|FILE.gguf|made:SIZE] [--every 1] [--answers 0] [--out FILE.jsonl] [--json]

Compiles the schemas of DIR/schemas.jsonl.gz, and gives each instance token by token to a matcher, with the mask before each token. Times
are of this thread. With --answers N, N answers of each schema are made of random tokens, all that a mask allows equally likely as by
logits that mean nothing, and after --tokens (60) tokens rather of those that close what is open; ajv judges them. Exits with 1 if a
schema that compiled fails in a mask, or an answer is not valid.

  --model M           the vocabulary: that of a model, or one made of the schemas' text (made:49152)
  --every N           every Nth schema; --first N: the first of them to take; --time: seconds, then the rest is left out
  --seed N            another seed for random answers (1)
  --out FILE          one JSON line for each schema`;

/** What came of one schema. Times in microseconds. */
interface Line {
  readonly name: string;
  readonly error?: string;
  readonly keyword?: string;
  readonly compile: number;
  readonly first?: number;
  readonly masks: readonly number[];
  /** Indices of valid instances that were refused, of invalid ones that were accepted, and of errors while matching. */
  readonly rejected: readonly number[];
  readonly accepted: readonly number[];
  readonly failed: readonly string[];
  /** Random answers that are valid, without an end, not judged as ajv cannot read the schema, and not valid. */
  readonly answers: { valid: number; endless: number; unjudged: number; readonly invalid: string[] };
}

const given = readArguments(HELP, {
  values: ["data", "model", "every", "first", "time", "out", "answers", "tokens", "seed"],
  flags: ["json"],
});
const data = given.text("data") ?? fail(HELP);
const every = given.number("every", 1);
const first = given.number("first", 0);
const time = given.number("time", 86_400);
const out = given.text("out");
const answers = given.number("answers", 0);
const budget = given.number("tokens", 60);
const random = randomStream(given.number("seed", 1), "maskbench-answers");

/** JSON as Python writes it, in which MaskBench's instances are. */
function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${pythonJson(item)}`);
  return `{${members.join(", ")}}`;
}

const microseconds = (start: number): number => rounded((performance.now() - start) * 1000, 1);

/** Whether a matcher takes the tokens of a text and may end there. */
function takes(matcher: Matcher, tokens: readonly number[], masks: number[]): boolean {
  for (const token of tokens) {
    const start = performance.now();
    const { words } = matcher.mask();
    masks.push(microseconds(start));
    if ((((words[token >> 5] ?? 0) >> (token & 31)) & 1) === 0) return false;
    matcher.accept(token);
  }
  return matcher.canEnd;
}

/** Has masks lead to random answers, and adds what comes of them. */
function answer(compiled: CompiledGrammar, schema: unknown, counts: Line["answers"]): void {
  const judge = judgeOf(schema);
  for (let i = 0; i < answers; i++) {
    const options = { vocabulary: compiled.vocabulary, random: () => random.uniform(), budget };
    const text = randomAnswer(compiled.matcher(), options);
    const problem = text === undefined ? undefined : judge?.(text);
    if (text === undefined) counts.endless++;
    else if (judge === undefined) counts.unjudged++;
    else if (problem === undefined) counts.valid++;
    else counts.invalid.push(`${problem}: ${text.slice(0, 500)}`);
  }
}

/** Does work that must not fail once a schema is compiled. */
function attempt(work: () => void, failed: string[]): void {
  try {
    work();
  } catch (error) {
    failed.push(String(error));
  }
}

function run({ name, schema, tests }: Entry, { vocabulary, encode }: BenchVocabulary): Line {
  const masks: number[] = [];
  const [rejected, accepted, failed] = [[] as number[], [] as number[], [] as string[]];
  const counts: Line["answers"] = { valid: 0, endless: 0, unjudged: 0, invalid: [] };
  const line = { name, masks, rejected, accepted, failed, answers: counts };
  const start = performance.now();
  let compiled: CompiledGrammar;
  let compile: number;
  try {
    const grammar = grammarFromSource({ type: "json_schema", schema, whitespace: "flexible" });
    compile = microseconds(start);
    compiled = new CompiledGrammar(grammar, vocabulary);
  } catch (error) {
    const keyword = error instanceof GrammarError ? (error.keyword ?? error.code) : "bug";
    return { ...line, error: String(error), keyword, compile: microseconds(start) };
  }
  attempt(() => compiled.matcher().mask(), failed);
  const firstMask = microseconds(start);
  for (const [i, { valid, data: instance }] of tests.entries())
    attempt(() => {
      const isTaken = takes(compiled.matcher(), encode(pythonJson(instance)), masks);
      if (isTaken !== valid) (valid ? rejected : accepted).push(i);
    }, failed);
  attempt(() => answer(compiled, schema, counts), failed);
  return { ...line, compile, first: firstMask };
}

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;

function times(numbers: readonly number[]): string {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = (share: number): number => rounded(percentile(sorted, share), 0);
  return `p50 ${at(0.5)}, p90 ${at(0.9)}, p95 ${at(0.95)}, p99 ${at(0.99)}, max ${at(1)} µs`;
}

const counted = (items: readonly string[]): string => {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([item, count]) => `${item} ${count}`)
    .join(", ");
};

const { entries, text } = await readEntries(data, { every, first });
const vocabulary = await readVocabulary(given.text("model") ?? "made:49152", text);
if (out !== undefined) writeFileSync(out, "");
const lines: Line[] = [];
const begin = performance.now();
for (const entry of entries) {
  if ((performance.now() - begin) / 1000 > time) break;
  const line = run(entry, vocabulary);
  lines.push(line);
  if (out !== undefined) appendFileSync(out, `${JSON.stringify({ ...line, masks: line.masks.length })}\n`);
}
const compiled = lines.filter(({ error }) => error === undefined);
const masks = compiled.flatMap((line) => line.masks);
const names = (chosen: readonly Line[]): string =>
  chosen
    .map(({ name }) => name)
    .slice(0, 20)
    .join(" ");
const rejecting = compiled.filter(({ rejected }) => rejected.length > 0);
const accepting = compiled.filter(({ accepted }) => accepted.length > 0);
const failing = compiled.filter(({ failed }) => failed.length > 0);
const wrong = compiled.filter((line) => line.answers.invalid.length > 0);
for (const { name, failed, answers: made } of [...failing, ...wrong])
  console.error([name, ...failed, ...made.invalid].join("\n  "));
const sumOf = (count: (made: Line["answers"]) => number): number =>
  compiled.reduce((sum, line) => sum + count(line.answers), 0);
printResult(
  {
    schemas: lines.length,
    vocabulary: vocabulary.name,
    vocabulary_seconds: rounded(vocabulary.buildSeconds, 2),
    compiled: compiled.length,
    compiled_share: rounded(compiled.length / lines.length, 4),
    valid_rejected: `${rejecting.length} schemas: ${names(rejecting)}`,
    invalid_accepted: `${accepting.length} schemas, ${accepting.flatMap((line) => line.accepted).length} instances: ${names(accepting)}`,
    failed_matching: `${failing.length} schemas: ${names(failing)}`,
    ...(answers > 0 && {
      answers_valid: sumOf(({ valid }) => valid),
      answers_invalid: `${wrong.length} schemas, ${sumOf(({ invalid }) => invalid.length)} answers: ${names(wrong)}`,
      answers_not_judged: sumOf(({ unjudged }) => unjudged),
      answers_without_end: sumOf(({ endless }) => endless),
    }),
    refusals: counted(lines.flatMap(({ keyword }) => (keyword === undefined ? [] : [keyword]))),
    compile: times(lines.map(({ compile }) => compile)),
    first_mask: times(compiled.flatMap(({ first: time_ }) => (time_ === undefined ? [] : [time_]))),
    masks: masks.length,
    mask: times(masks),
  },
  given.flag("json"),
);
process.exitCode = failing.length + wrong.length === 0 ? 0 : 1;
