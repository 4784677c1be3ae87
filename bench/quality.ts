// What a default that rounds changes: perplexity, and answers of greedy decoding (see docs/explanation/benchmarks.md).
import { basename } from "node:path";
import { type Example, readDataset } from "mixture-of-shards-core/data";
import {
  type Engine,
  type EngineOptions,
  openEngine,
  unpackLogprobs,
} from "mixture-of-shards-core/inference";
import { fail, printResult, readArguments, rounded } from "./arguments.ts";

const HELP = `usage: bench:quality -- --model DIR|FILE.gguf --data FILE.jsonl [--adapter FOLDER] [--max-examples 40] [--new 48] [--json]

Compares products in int8 with float32; with --adapter, an adapter in memory in bfloat16 with float32. Printed: the
perplexity of the examples relative to float32, the share of their tokens whose likeliest successor is the same, and how
many greedy answers of --new tokens are the same (0: none are asked for).`;

const given = readArguments(HELP, {
  values: ["model", "data", "adapter", "max-examples", "new", "threads"],
  flags: ["json"],
});
const model = given.text("model") ?? fail(HELP);
const data = given.text("data") ?? fail(HELP);
const adapter = given.text("adapter");
const newTokens = given.number("new", 48);
const { examples } = await readDataset(data);
const chosen = examples.slice(0, given.number("max-examples", 40));

/** The example's text without its answer, and the whole of it. */
function texts(example: Example): { readonly question: string; readonly whole: string } {
  if (example.kind === "chat") {
    const lines = example.turns.map(({ content }) => content);
    return { question: lines.slice(0, -1).join("\n"), whole: lines.join("\n") };
  }
  if (example.kind === "completion")
    return { question: example.prompt, whole: example.prompt + example.completion };
  if (example.kind !== "text") throw new Error(`the data hold a ${example.kind}`);
  return { question: example.text.slice(0, example.text.length / 2), whole: example.text };
}

/** Of one example: the log-probability and the likeliest choice at each token, and the greedy answer. */
interface Found {
  readonly logprobs: readonly number[];
  readonly likeliest: readonly (number | undefined)[];
  readonly answer: string;
}

async function read(engine: Engine, example: Example): Promise<Found> {
  const { tokenizer } = engine.text;
  const { question, whole } = texts(example);
  const request = { adapter: adapter === undefined ? null : "measured", tenant: "bench" };
  const found = { logprobs: [] as number[], likeliest: [] as (number | undefined)[], answer: "" };
  const prompt = tokenizer.encode(whole);
  for await (const event of engine.submit({ ...request, prompt, promptLogprobs: 1, maxTokens: 1 }))
    if (event.type === "prompt")
      // nothing predicts the first token
      for (const { logprob, top } of unpackLogprobs(event).slice(1)) {
        found.logprobs.push(logprob ?? Number.NaN);
        found.likeliest.push(top[0]?.id);
      }
  if (newTokens === 0) return found;
  for await (const event of engine.submit({
    ...request,
    prompt: tokenizer.encode(question),
    maxTokens: newTokens,
  }))
    if (event.type === "token" || event.type === "finish") found.answer += event.text;
  return found;
}

async function measure(
  options: Pick<EngineOptions, "computeDtype" | "adapterDtype">,
): Promise<readonly Found[]> {
  const adapters = adapter === undefined ? {} : { adapters: { measured: adapter } };
  await using engine = await openEngine({
    model,
    threads: given.number("threads", 2),
    ...adapters,
    ...options,
  });
  const found: Found[] = [];
  for (const example of chosen) found.push(await read(engine, example));
  return found;
}

const exact = await measure({ computeDtype: "float32", adapterDtype: "float32" });
const rounding: Parameters<typeof measure>[0] =
  adapter === undefined ? { computeDtype: "int8" } : { computeDtype: "float32", adapterDtype: "bfloat16" };
const other = await measure(rounding);

const mean = (all: readonly Found[]): number => {
  const logprobs = all.flatMap((one) => one.logprobs);
  return logprobs.reduce((sum, x) => sum + x, 0) / logprobs.length;
};
const likeliest = (all: readonly Found[]) => all.flatMap((one) => one.likeliest);
const [before, after] = [likeliest(exact), likeliest(other)];
printResult(
  {
    model: basename(model),
    ...rounding,
    examples: chosen.length,
    tokens: before.length,
    perplexity: rounded(Math.exp(-mean(exact)), 3),
    perplexity_ratio: rounded(Math.exp(mean(exact) - mean(other)), 5),
    same_likeliest: rounded(before.filter((id, i) => id === after[i]).length / before.length, 4),
    same_answers: exact.filter(({ answer }, i) => answer === other[i]?.answer).length,
  },
  given.flag("json"),
);
