// Answers of a JSON schema beside free ones: tokens per second, tokens of free rows in mixed batches, and pauses while grammars compile.

import { type EngineRequest, openEngine } from "mixture-of-shards-core/inference";
import {
  CompiledGrammar,
  type GrammarSource,
  grammarFromSource,
  Vocabulary,
} from "mixture-of-shards-grammar";
import { fail, median, printResult, readArguments, rounded } from "./arguments.ts";

const HELP = `usage: bench:structured -- --model DIR|FILE.gguf [--rows 8] [--new 96] [--rounds 5] [--compute-dtype int8] [--temperature 0] [--json]

free_tokens_per_s and constrained_tokens_per_s are medians of rounds that alternate, their ratio the median of the rounds' ratios.
mixed_equal tells whether free rows of a batch that is half constrained have the tokens that they have alone; in int8 rows round
differently with the batch, so ask for --compute-dtype float32 to test it. gap_ms and hostile_gap_ms are the median, the 99th percentile
and the longest time between two tokens of free rows, without and with schemas in the background that are hard to compile.
lone_steps_per_token are decode steps of one row alone, of which drafts spare some; forced_share are tokens that the schema left no choice.`;

const given = readArguments(HELP, {
  values: ["model", "rows", "new", "rounds", "compute-dtype", "temperature", "threads"],
  flags: ["json"],
});
const model = given.text("model") ?? fail(HELP);
const [rows, newTokens, rounds] = [
  given.number("rows", 8),
  given.number("new", 96),
  given.number("rounds", 5),
];
const temperature = given.number("temperature", 0);

/** Records with every kind of value, more of them than an answer has room for. */
const records: GrammarSource = {
  type: "json_schema",
  schema: {
    type: "array",
    minItems: 100,
    items: {
      type: "object",
      properties: {
        name: { type: "string", maxLength: 40 },
        age: { type: "integer", minimum: 0, maximum: 120 },
        email: { type: "string", format: "email" },
        role: { enum: ["reader", "editor", "administrator"] },
        tags: { type: "array", items: { type: "string", maxLength: 12 }, maxItems: 4 },
        score: { type: ["number", "null"] },
      },
      required: ["name", "age", "email", "role", "tags", "score"],
      additionalProperties: false,
    },
  },
};

const nested = (depth: number): object =>
  depth === 0
    ? { type: "string" }
    : { oneOf: [nested(depth - 1), { type: "array", items: nested(depth - 1) }, { minimum: depth }] };
const hostile: readonly GrammarSource[] = [
  { type: "json_schema", schema: nested(12) },
  { type: "json_schema", schema: { type: "string", maxLength: 1e9, pattern: "(a|a)*(b|a)*c" } },
  { type: "json_schema", schema: { enum: Array.from({ length: 50_000 }, (_, i) => `value ${i}`) } },
  { type: "json_schema", schema: { type: "string", pattern: "^(x{1,900}){1,900}$" } },
  {
    type: "json_schema",
    schema: { properties: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`p${i}`, {}])) },
  },
];

const computeDtype = given.text("compute-dtype");
await using engine = await openEngine({
  model,
  maxBatch: rows,
  threads: given.number("threads", 2),
  ...(computeDtype === undefined ? {} : { computeDtype: computeDtype === "float32" ? "float32" : "int8" }),
});
const { tokenizer } = engine.text;

const TOPICS = [
  "a library",
  "a bakery",
  "a school",
  "a harbour",
  "a hospital",
  "a museum",
  "a farm",
  "a station",
];
const promptOf = (row: number): readonly number[] =>
  tokenizer.encode(
    engine.text.template.render(
      [{ role: "user", content: `List the people of ${TOPICS[row % TOPICS.length]} as JSON records.` }],
      { addGenerationPrompt: true },
    ),
  );
const requestOf = (row: number, grammar?: GrammarSource): EngineRequest => ({
  prompt: promptOf(row),
  maxTokens: newTokens,
  seed: row,
  sampling: { temperature, topK: 0, topP: 1 },
  ...(grammar === undefined ? { ignoreEos: true } : { grammar }),
});

interface Row {
  readonly ids: readonly number[];
  /** Milliseconds. */
  readonly times: readonly number[];
}

async function answer(request: EngineRequest): Promise<Row> {
  const [ids, times]: [number[], number[]] = [[], []];
  for await (const event of engine.submit(request)) {
    if (event.type !== "token") continue;
    ids.push(event.id);
    times.push(performance.now());
  }
  return { ids, times };
}

/** Rows side by side, of which `isConstrained` have the schema. */
async function batch(isConstrained: (row: number) => boolean) {
  const began = performance.now();
  const all = await Promise.all(
    Array.from({ length: rows }, (_, row) =>
      answer(requestOf(row, isConstrained(row) ? records : undefined)),
    ),
  );
  const tokens = all.reduce((sum, { ids }) => sum + ids.length, 0);
  return { all, perSecond: (1000 * tokens) / (performance.now() - began) };
}

const percentile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))] ??
  Number.NaN;
const gapsOf = (all: readonly Row[]): readonly number[] =>
  all.flatMap(({ times }) => times.slice(1).map((time, i) => time - (times[i] as number)));
const gapText = (gaps: readonly number[]): string =>
  [median(gaps), percentile(gaps, 0.99), Math.max(...gaps)].map((gap) => rounded(gap, 1)).join(" / ");

/** Free rows while requests with hard schemas come one after another. */
async function gapsUnder(sources: readonly GrammarSource[]): Promise<readonly number[]> {
  let isDone = false;
  const disturb = async (): Promise<void> => {
    for (let i = 0; !isDone && sources.length > 0; i++) {
      const source = sources[i % sources.length] as GrammarSource;
      await answer({ ...requestOf(0, source), maxTokens: 3 }).catch(() => undefined);
    }
  };
  const disturbing = disturb();
  const all = await Promise.all(Array.from({ length: rows / 2 }, (_, row) => answer(requestOf(row))));
  isDone = true;
  await disturbing;
  return gapsOf(all);
}

/** Decode steps of a lone row over its tokens: drafts, of forced text among others, spare the rest. */
async function stepShare(grammar?: GrammarSource): Promise<number> {
  const before = await engine.stats();
  const { ids } = await answer(requestOf(0, grammar));
  return ((await engine.stats()).steps - before.steps) / ids.length;
}

/** The share of tokens whose bytes were the only ones possible. */
async function forcedShare(all: readonly Row[]): Promise<number> {
  const vocabulary = await Vocabulary.build({
    size: engine.model.vocabularySize,
    bytesOf: (id) => tokenizer.idToBytes(id),
    specialName: (id) => (tokenizer.isSpecial(id) ? tokenizer.idToToken(id) : undefined),
    endTokens: engine.model.endTokens,
  });
  const compiled = new CompiledGrammar(grammarFromSource(records), vocabulary);
  let [forced, tokens] = [0, 0];
  for (const { ids } of all) {
    const matcher = compiled.matcher();
    for (const id of ids) {
      if (matcher.forcedBytes().length >= tokenizer.idToBytes(id).length) forced++;
      matcher.accept(id);
      tokens++;
    }
  }
  return forced / tokens;
}

await batch((row) => row % 2 === 1); // compiles the schema, and warms up
const [free, constrained]: [number[], number[]] = [[], []];
let last: readonly Row[] = [];
for (let round = 0; round < rounds; round++) {
  free.push((await batch(() => false)).perSecond);
  const { all, perSecond } = await batch(() => true);
  constrained.push(perSecond);
  last = all;
}
const mixed = await batch((row) => row % 2 === 1);
const freeRows = mixed.all.filter((_, row) => row % 2 === 0);
const alone: Row[] = [];
for (let row = 0; row < rows; row += 2) alone.push(await answer(requestOf(row)));
const isEqual = freeRows.every(({ ids }, i) => ids.join() === alone[i]?.ids.join());
const { grammars } = await engine.stats();
const gaps = gapsOf(freeRows);
const quiet = await gapsUnder([]);
const disturbed = await gapsUnder(hostile);
const after = (await engine.stats()).grammars;
printResult(
  {
    rows,
    compute_dtype: engine.model.computeDtype,
    free_tokens_per_s: rounded(median(free), 1),
    constrained_tokens_per_s: rounded(median(constrained), 1),
    ratio: rounded(median(constrained.map((one, i) => one / (free[i] as number))), 3),
    mixed_tokens_per_s: rounded(mixed.perSecond, 1),
    mixed_equal: isEqual,
    mixed_gap_ms: gapText(gaps),
    gap_ms: gapText(quiet),
    hostile_gap_ms: gapText(disturbed),
    hostile_compiled: after.compiled - grammars.compiled,
    hostile_refused: Object.values(after.refused).reduce((sum, one) => sum + one, 0),
    masks: grammars.masks,
    match_us_per_token: rounded((1e6 * grammars.matchSeconds) / ((rounds + 1) * rows * newTokens), 1),
    lone_steps_per_token: rounded(await stepShare(), 3),
    lone_constrained_steps_per_token: rounded(await stepShare(records), 3),
    forced_share: rounded(await forcedShare(last), 3),
  },
  given.flag("json"),
);
