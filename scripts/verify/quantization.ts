// What serving a quantised base costs: perplexity on answers and inputs, and how long greedy answers stay the same.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeExample, IGNORED, readDataset } from "#data";
import { type Engine, openEngine, type TokenLogprob } from "#inference";
import { type BaseDtype, loadText } from "#models";
import type { LoadedText } from "#text";
import { fail, readArguments } from "../../bench/arguments.ts";

const HELP = `usage: npm run verify:quantization -- --model PATH --gsm8k FILE --bbh FOLDER [options]

Perplexities of the base as the engine computes it with the base dtypes float32, int8 and int4, on answers of GSM8K
(question as the chat template shows it, the answer's tokens count) and on the texts of inputs of BBH (all tokens but the
first count), their ratios to float32, and the first place at which a greedy answer differs from that of float32.

  --model PATH     GGUF file or model folder
  --gsm8k FILE     test.jsonl, lines with question and answer
  --bbh FOLDER     one JSON file a task, with examples[].input
  --examples N     of each (100)
  --prompts N      greedy answers to the last questions of GSM8K's file (20)
  --tokens N       of a greedy answer (64)
  --only NAMES     base dtypes, with commas between them (int8,int4)
  --json           one JSON object`;

/** Longer texts are cut off here. */
const LONGEST = 1024;

/** Token ids, and the first one that counts; those from there on are predicted by those before. */
interface Sequence {
  readonly ids: readonly number[];
  readonly from: number;
}

interface Texts {
  readonly gsm8k: readonly Sequence[];
  readonly bbh: readonly Sequence[];
  readonly prompts: readonly (readonly number[])[];
}

interface Wanted {
  readonly gsm8k: string;
  readonly bbh: string;
  readonly examples: number;
  readonly prompts: number;
}

async function readInputs(folder: string): Promise<readonly (readonly string[])[]> {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".json")).sort();
  const tasks: string[][] = [];
  for (const file of files) {
    const task = JSON.parse(await readFile(join(folder, file), "utf8")) as { examples: { input: string }[] };
    tasks.push(task.examples.map(({ input }) => input));
  }
  return tasks;
}

/** Tasks take turns, so that all of them count. */
function takeTurns(tasks: readonly (readonly string[])[], count: number): readonly string[] {
  const taken: string[] = [];
  for (let i = 0; taken.length < count && tasks.some((task) => i < task.length); i++)
    for (const task of tasks) if (taken.length < count && i < task.length) taken.push(task[i] as string);
  return taken;
}

async function readTexts(text: LoadedText, { gsm8k, bbh, examples, prompts }: Wanted): Promise<Texts> {
  const dataset = await readDataset(gsm8k);
  const encode = (example: (typeof dataset.examples)[number]): Sequence => {
    const { ids, labels } = encodeExample(example, { ...text, maxLength: LONGEST });
    return { ids: [...ids], from: labels.findIndex((label) => label !== IGNORED) };
  };
  const inputs = takeTurns(await readInputs(bbh), examples);
  return {
    gsm8k: dataset.examples.slice(0, examples).map(encode),
    bbh: inputs.map((input) => ({ ids: text.tokenizer.encode(input).slice(0, LONGEST), from: 1 })),
    prompts: dataset.examples.slice(-prompts).map((example) => {
      const { ids, from } = encode(example);
      return ids.slice(0, from);
    }),
  };
}

/** What the engine says of the tokens of a sequence that count. */
async function score(engine: Engine, { ids, from }: Sequence): Promise<readonly TokenLogprob[]> {
  for await (const event of engine.submit({ prompt: ids, maxTokens: 0, promptLogprobs: 1 }))
    if (event.type === "prompt") return event.logprobs.slice(from);
  throw new Error("the engine did not score the prompt");
}

async function greedyAnswer(engine: Engine, prompt: readonly number[], maxTokens: number): Promise<Sequence> {
  const ids = [...prompt];
  for await (const event of engine.submit({ prompt, maxTokens, sampling: { temperature: 0 } }))
    if (event.type === "token") ids.push(event.id);
  return { ids, from: prompt.length };
}

async function perplexity(engine: Engine, sequences: readonly Sequence[]): Promise<number> {
  let total = 0;
  let count = 0;
  for (const sequence of sequences) {
    const tokens = await score(engine, sequence);
    total -= tokens.reduce((sum, { logprob }) => sum + (logprob ?? 0), 0);
    count += tokens.length;
  }
  return Math.exp(total / count);
}

/** The place of the first token at which greedy choice would leave the given answer; null where it never does. */
async function firstDifference(engine: Engine, answer: Sequence): Promise<number | null> {
  const differs = (await score(engine, answer)).findIndex(({ id, top }) => top[0]?.id !== id);
  return differs === -1 ? null : differs;
}

const given = readArguments(HELP, {
  values: ["model", "gsm8k", "bbh", "examples", "prompts", "tokens", "only"],
  flags: ["json"],
});
const required = (name: string): string => given.text(name) ?? fail(`--${name} is needed; see --help`);
const [model, gsm8k, bbh] = [required("model"), required("gsm8k"), required("bbh")];
const tokens = given.number("tokens", 64);
const names = (given.text("only") ?? "int8,int4").split(",") as readonly BaseDtype[];
const texts = await readTexts(await loadText(model), {
  gsm8k,
  bbh,
  examples: given.number("examples", 100),
  prompts: given.number("prompts", 20),
});
const answers: Sequence[] = [];

async function measure(baseDtype: BaseDtype) {
  await using engine = await openEngine({ model, baseDtype, maxLength: 2 * LONGEST });
  if (answers.length === 0)
    for (const prompt of texts.prompts) answers.push(await greedyAnswer(engine, prompt, tokens));
  const differences: (number | null)[] = [];
  for (const answer of answers) differences.push(await firstDifference(engine, answer));
  return {
    baseDtype,
    gsm8k: await perplexity(engine, texts.gsm8k),
    bbh: await perplexity(engine, texts.bbh),
    differences,
  };
}

const float32 = await measure("float32");
const results = [float32];
for (const name of names) results.push(await measure(name));
const rows = results.map((result) => ({
  ...result,
  gsm8kRatio: result.gsm8k / float32.gsm8k,
  bbhRatio: result.bbh / float32.bbh,
}));
if (given.flag("json")) console.log(JSON.stringify({ model, tokens, rows }));
else
  for (const row of rows) {
    const equal = row.differences.filter((place) => place === null).length;
    console.log(
      `${row.baseDtype.padEnd(8)} GSM8K ${row.gsm8k.toFixed(4)} (×${row.gsm8kRatio.toFixed(4)})  BBH ${row.bbh.toFixed(4)} (×${row.bbhRatio.toFixed(4)})\n` +
        `         ${equal} of ${answers.length} greedy answers are equal; first differing tokens: ${row.differences.map((place) => place ?? "–").join(" ")}`,
    );
  }
