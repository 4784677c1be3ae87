// MaskBench: which JSON Schemas compile, whether their instances are told apart, and how long masks take.
import { appendFileSync, writeFileSync } from "node:fs";
import { CompiledGrammar, GrammarError, grammarFromSource, type Matcher } from "mixture-of-shards-grammar";
import { fail, printResult, readArguments, rounded } from "./arguments.ts";
import { type BenchVocabulary, readVocabulary } from "./grammar-vocabulary.ts";
import { type Entry, readEntries } from "./maskbench-data.ts";

const HELP = `usage: bench:maskbench -- --data DIR [--model DIR|FILE.gguf|made:SIZE] [--every 1] [--out FILE.jsonl] [--json]

Compiles the schemas of DIR/schemas.jsonl.gz, and gives each instance token by token to a matcher. Times are of this thread.

  --model M           the vocabulary: that of a model, or one made of the schemas' text (made:49152)
  --every N           every Nth schema; --first N: the first of them to take; --time: seconds, then the rest is left out
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
}

const given = readArguments(HELP, {
  values: ["data", "model", "every", "first", "time", "out"],
  flags: ["json"],
});
const data = given.text("data") ?? fail(HELP);
const every = given.number("every", 1);
const first = given.number("first", 0);
const time = given.number("time", 86_400);
const out = given.text("out");

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

function run({ name, schema, tests }: Entry, { vocabulary, encode }: BenchVocabulary): Line {
  const masks: number[] = [];
  const [rejected, accepted, failed] = [[] as number[], [] as number[], [] as string[]];
  const start = performance.now();
  try {
    const source = { type: "json_schema", schema, whitespace: "flexible" } as const;
    const grammar = grammarFromSource(source);
    const compile = microseconds(start);
    const compiled = new CompiledGrammar(grammar, vocabulary);
    compiled.matcher().mask();
    const firstMask = microseconds(start);
    for (const [i, { valid, data: instance }] of tests.entries()) {
      try {
        const isTaken = takes(compiled.matcher(), encode(pythonJson(instance)), masks);
        if (isTaken !== valid) (valid ? rejected : accepted).push(i);
      } catch (error) {
        failed.push(String(error));
      }
    }
    return { name, compile, first: firstMask, masks, rejected, accepted, failed };
  } catch (error) {
    const compile = microseconds(start);
    const keyword = error instanceof GrammarError ? (error.keyword ?? error.code) : "bug";
    return { name, error: String(error), keyword, compile, masks, rejected, accepted, failed };
  }
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
    refusals: counted(lines.flatMap(({ keyword }) => (keyword === undefined ? [] : [keyword]))),
    compile: times(lines.map(({ compile }) => compile)),
    first_mask: times(compiled.flatMap(({ first: time_ }) => (time_ === undefined ? [] : [time_]))),
    masks: masks.length,
    mask: times(masks),
  },
  given.flag("json"),
);
