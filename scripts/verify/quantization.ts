// What quantising a base costs: perplexity on answers and inputs, and how long greedy answers stay the same.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeExample, IGNORED, readDataset } from "#data";
import { capacityFor, createModelRunner, prepareWeights } from "#inference";
import { QUANTIZATION, type QuantizationName } from "#models";
import { type BaseModel, loadModel } from "#recipes";
import { fail, readArguments } from "../../bench/arguments.ts";
import { argmax } from "../../src/inference/sampler.ts";
import { createScorer, type Scorer, type Sequence } from "./quantized-scorer.ts";

const HELP = `usage: npm run verify:quantization -- --model PATH --gsm8k FILE --bbh FOLDER [options]

Perplexities of the base with float32, int8 and int4 weights, on answers of GSM8K (question as the chat template shows
it, the answer's tokens count) and on the texts of inputs of BBH (all tokens but the first count), their ratios to
float32, and the first place at which a greedy answer differs from that of float32.

  --model PATH     GGUF file or model folder
  --gsm8k FILE     test.jsonl, lines with question and answer
  --bbh FOLDER     one JSON file a task, with examples[].input
  --examples N     of each (100)
  --prompts N      greedy answers to the last questions of GSM8K's file (20)
  --tokens N       of a greedy answer (64)
  --only int8|int4 one of the two
  --json           one JSON object`;

/** Longer texts are cut off here. */
const LONGEST = 1024;

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

async function readTexts({ text }: BaseModel, { gsm8k, bbh, examples, prompts }: Wanted): Promise<Texts> {
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

/** Greedy answers of the float32 base, one after the other. */
async function greedyAnswers(
  { model, text }: BaseModel,
  prompts: Texts["prompts"],
  maxTokens: number,
): Promise<readonly Sequence[]> {
  const { config, weights } = model;
  const maxLength = maxTokens + Math.max(...prompts.map((ids) => ids.length));
  const base = await prepareWeights(config, weights);
  await using runner = await createModelRunner(base, { maxLength, adapters: false });
  runner.cache.resize(1, capacityFor(maxLength));
  const next = async (tokens: readonly number[]): Promise<number> => {
    const [logits] = await runner.run({ from: 0, count: 1, tokens: [tokens] });
    return argmax(logits?.[0] ?? new Float32Array(0));
  };
  const endTokens = new Set([...config.eosTokens, ...text.tokenizer.eosTokens]);
  const answers: Sequence[] = [];
  for (const prompt of prompts) {
    runner.cache.truncate(0, 0);
    const ids = [...prompt];
    for (let id = await next(prompt); !endTokens.has(id); id = await next([id])) {
      ids.push(id);
      if (ids.length === prompt.length + maxTokens) break;
    }
    answers.push({ ids, from: prompt.length });
  }
  return answers;
}

async function perplexity(scorer: Scorer, sequences: readonly Sequence[]): Promise<number> {
  let total = 0;
  let count = 0;
  for (const sequence of sequences) {
    const losses = await scorer.losses(sequence);
    total += losses.reduce((sum, loss) => sum + loss, 0);
    count += losses.length;
  }
  return Math.exp(total / count);
}

/** The place of the first token at which greedy choice would leave the given answer; null where it never does. */
async function firstDifference(scorer: Scorer, answer: Sequence): Promise<number | null> {
  const choices = await scorer.choices(answer);
  const differs = choices.findIndex((id, i) => id !== answer.ids[answer.from + i]);
  return differs === -1 ? null : differs;
}

async function measure(
  base: BaseModel,
  name: QuantizationName | "float32",
  { texts, answers }: { readonly texts: Texts; readonly answers: readonly Sequence[] },
) {
  await using scorer = await createScorer(base.model, name === "float32" ? null : QUANTIZATION[name]);
  const differences: (number | null)[] = [];
  for (const answer of answers) differences.push(await firstDifference(scorer, answer));
  return {
    name,
    gsm8k: await perplexity(scorer, texts.gsm8k),
    bbh: await perplexity(scorer, texts.bbh),
    quantizeSeconds: scorer.quantizeSeconds,
    differences,
  };
}

const given = readArguments(HELP, {
  values: ["model", "gsm8k", "bbh", "examples", "prompts", "tokens", "only"],
  flags: ["json"],
});
const required = (name: string): string => given.text(name) ?? fail(`--${name} is needed; see --help`);
const [path, gsm8k, bbh] = [required("model"), required("gsm8k"), required("bbh")];
const tokens = given.number("tokens", 64);
const base = await loadModel(path, { baseDtype: "float32" });
const texts = await readTexts(base, {
  gsm8k,
  bbh,
  examples: given.number("examples", 100),
  prompts: given.number("prompts", 20),
});
const answers = await greedyAnswers(base, texts.prompts, tokens);
const float32 = await measure(base, "float32", { texts, answers });
const results = [float32];
const wanted = given.text("only");
for (const name of ["int8", "int4"] as const)
  if (wanted === undefined || wanted === name) results.push(await measure(base, name, { texts, answers }));
const rows = results.map((result) => ({
  ...result,
  settings: result.name === "float32" ? null : QUANTIZATION[result.name],
  gsm8kRatio: result.gsm8k / float32.gsm8k,
  bbhRatio: result.bbh / float32.bbh,
}));
if (given.flag("json")) console.log(JSON.stringify({ model: base.model.name, tokens, rows }));
else
  for (const { name, gsm8k: answersOf, bbh: inputsOf, gsm8kRatio, bbhRatio, differences, ...row } of rows) {
    const equal = differences.filter((place) => place === null).length;
    const perplexities = `GSM8K ${answersOf.toFixed(4)} (×${gsm8kRatio.toFixed(4)})  BBH ${inputsOf.toFixed(4)} (×${bbhRatio.toFixed(4)})`;
    console.log(
      `${name.padEnd(8)} ${perplexities}  quantised in ${row.quantizeSeconds.toFixed(1)} s\n` +
        `         ${equal} of ${differences.length} greedy answers are equal; first differing tokens: ${differences.map((place) => place ?? "–").join(" ")}`,
    );
  }
