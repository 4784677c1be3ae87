// Texts that random tokens make under the masks of MaskBench's schemas, judged by ajv.
import { Ajv, type ErrorObject } from "ajv";
import { Ajv2019 } from "ajv/dist/2019.js";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { CompiledGrammar, GrammarError, grammarFromSource, type Matcher } from "mixture-of-shards-grammar";
import { type Random, randomStream } from "#core";
import { fail, printResult, readArguments, rounded } from "./arguments.ts";
import { type BenchVocabulary, readVocabulary } from "./grammar-vocabulary.ts";
import { readEntries } from "./maskbench-data.ts";

const HELP = `usage: bench:maskbench-texts -- --data DIR [--model DIR|FILE.gguf|made:SIZE] [--schemas 500] [--texts 67] [--json]

Every token is drawn from those that the mask allows, all equally likely, as by logits that mean nothing. After --tokens (60)
tokens, those that close what is open are preferred, so that most texts end. Exits with 1 if a text is not valid.

  --seed N (1)        --time SECONDS: no more schemas after them`;

const given = readArguments(HELP, {
  values: ["data", "model", "schemas", "texts", "tokens", "seed", "time"],
  flags: ["json"],
});
const data = given.text("data") ?? fail(HELP);
const [schemas, texts, budget] = [
  given.number("schemas", 500),
  given.number("texts", 67),
  given.number("tokens", 60),
];
const time = given.number("time", 86_400);
const random = randomStream(given.number("seed", 1), "maskbench-texts");

/** Tokens after the budget, until a text is given up. */
const MORE = 400;
/** Texts that close what may be open, the shortest first. */
const CLOSING = ['"', "}", "]", '"}', "}}", '":', ":", ",", "0", "1", "a", "-", "T", "Z", "e", "\\"];

type Validate = ((value: unknown) => boolean) & { errors?: ErrorObject[] | null };

/** The judge of a schema, by its draft; undefined where ajv cannot compile it. */
function judge(schema: unknown): Validate | undefined {
  const draft =
    typeof schema === "object" && schema !== null && "$schema" in schema ? String(schema.$schema) : "";
  // without a precision, ajv finds no number above 1e21 to be a multiple, as it compares with parseInt("1e+21"), which is 1
  const options = { strict: false, logger: false, validateFormats: true, multipleOfPrecision: 10 } as const;
  const newer = draft.includes("2019") ? Ajv2019 : Ajv2020;
  const ajv = /draft-0[3-7]/.test(draft) ? new Ajv(options) : new newer(options);
  addFormats.default(ajv);
  try {
    const { $schema: _, ...rest } = schema as Record<string, unknown>;
    return ajv.compile(rest) as Validate;
  } catch {
    return undefined;
  }
}

/** One of the allowed tokens. */
function draw(words: Uint32Array, count: number, source: Random): number {
  let left = Math.floor(source.uniform() * count);
  for (const [i, word] of words.entries()) {
    if (word === 0) continue;
    for (let bit = 0; bit < 32; bit++) if (((word >>> bit) & 1) === 1 && left-- === 0) return 32 * i + bit;
  }
  throw new Error("the mask has fewer tokens than it counts");
}

/** A text that random tokens make; undefined where it does not end. */
function makeText(
  matcher: Matcher,
  { vocabulary, bytesOf }: BenchVocabulary,
  closing: readonly number[],
): string | undefined {
  const [end = -1] = vocabulary.endTokens;
  const pieces: Uint8Array[] = [];
  for (let i = 0; i < budget + MORE; i++) {
    const { words, count } = matcher.mask();
    const isAllowed = (token: number): boolean => (((words[token >> 5] ?? 0) >>> (token & 31)) & 1) === 1;
    const isLate = i >= budget;
    const closer = isLate && random.uniform() < 0.9 ? [end, ...closing].find(isAllowed) : undefined;
    const token = closer ?? draw(words, count, random);
    if (vocabulary.endTokens.includes(token)) return Buffer.concat(pieces).toString();
    matcher.accept(token);
    pieces.push(bytesOf(token));
  }
  return undefined;
}

function verdict(text: string, validate: Validate): string | undefined {
  try {
    return validate(JSON.parse(text)) ? undefined : JSON.stringify(validate.errors?.[0]);
  } catch (error) {
    return String(error);
  }
}

const { entries, text: corpus } = await readEntries(data, { every: 1, first: 0 });
const vocabulary = await readVocabulary(given.text("model") ?? "made:49152", corpus);
const closing = CLOSING.flatMap((text) => {
  const bytes = Buffer.from(text);
  for (let id = 0; id < vocabulary.vocabulary.size; id++)
    if (bytes.equals(vocabulary.bytesOf(id))) return [id];
  return [];
});
const every = Math.max(1, Math.floor(entries.length / schemas));
const counts = { schemas: 0, refused: 0, not_judged: 0, ended: 0, not_ended: 0, invalid: 0, failed: 0 };
const begin = performance.now();
for (const { name, schema } of entries.filter((_, i) => i % every === 0).slice(0, schemas)) {
  if ((performance.now() - begin) / 1000 > time) break;
  const validate = judge(schema);
  counts.schemas++;
  if (validate === undefined) {
    counts.not_judged++;
    continue;
  }
  try {
    const grammar = grammarFromSource({ type: "json_schema", schema, whitespace: "flexible" });
    const compiled = new CompiledGrammar(grammar, vocabulary.vocabulary);
    for (let i = 0; i < texts; i++) {
      const text = makeText(compiled.matcher(), vocabulary, closing);
      counts[text === undefined ? "not_ended" : "ended"]++;
      const problem = text === undefined ? undefined : verdict(text, validate);
      if (problem === undefined) continue;
      counts.invalid++;
      console.error(`${name}: ${problem}\n  ${text?.slice(0, 500)}`);
    }
  } catch (error) {
    if (error instanceof GrammarError && error.code !== "bad_token") counts.refused++;
    else {
      counts.failed++;
      console.error(`${name}: ${String(error)}`);
    }
  }
}
printResult(
  { vocabulary: vocabulary.name, ...counts, seconds: rounded((performance.now() - begin) / 1000, 1) },
  given.flag("json"),
);
process.exitCode = counts.invalid + counts.failed === 0 ? 0 : 1;
