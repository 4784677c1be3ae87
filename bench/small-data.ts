// What forty questions and answers of an invented company teach, with no option and with others (see docs/how-to/train.md).
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { makeTemporaryFolder } from "mixture-of-shards-core/files";
import { type Engine, openEngine } from "mixture-of-shards-core/inference";
import { markdownTable } from "../packages/lab/src/evaluation/results.ts";
import { fail, readArguments } from "./arguments.ts";
import { runForJson } from "./child.ts";

const HELP = `usage: bench:small-data -- --model DIR|FILE.gguf [--runs="|--epochs 30 --batch-size 1"] [--data FILE]

Trains on bench/small-data/train.jsonl once for each part of --runs, which are options of mos train between vertical bars;
left out, with no option, and with 30 passes in rows of 512 tokens. Then an engine with its own defaults answers, greedily,
the forty questions and forty others about the same facts, which bench/small-data/paraphrases.jsonl has with the words that
a right answer contains. Printed: how many answers to the first are right word for word, and how many to the others contain
those words.`;

const given = readArguments(HELP, { values: ["model", "runs", "data"], flags: [] });
const model = given.text("model") ?? fail(HELP);
const folder = "bench/small-data";
const data = given.text("data") ?? join(folder, "train.jsonl");

const readLines = async <T>(path: string): Promise<readonly T[]> =>
  (await readFile(path, "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

interface Line {
  readonly messages: readonly [{ readonly content: string }, { readonly content: string }];
}
interface Paraphrase {
  readonly question: string;
  /** Words that a right answer contains. */
  readonly fact: string;
}

const lines = await readLines<Line>(join(folder, "train.jsonl"));
const paraphrases = await readLines<Paraphrase>(join(folder, "paraphrases.jsonl"));

async function answer(engine: Engine, adapter: string, question: string): Promise<string> {
  let text = "";
  const messages = [{ role: "user", content: question }] as const;
  for await (const event of engine.chat(messages, { adapter, maxTokens: 96, sampling: { temperature: 0 } }))
    if (event.type === "token" || event.type === "finish") text += event.text;
  return text.trim();
}

const adapters = await makeTemporaryFolder("mos-small-data-");
const rows: (readonly string[])[] = [];
const runs = (given.text("runs") ?? "|--epochs 30 --batch-size 1 --max-length 512").split("|");
for (const [i, options] of runs.entries()) {
  const command = `node --conditions=source --import tsx packages/mos/src/cli/main.ts train --model ${model} --data ${data} --out ${join(adapters, `run${i}`)} --json ${options}`;
  const started = performance.now();
  const { steps, tokens } = await runForJson(options, command);
  const seconds = (performance.now() - started) / 1000;
  rows.push([options || "none", `${steps}`, `${tokens}`, `${Math.round(seconds)}`]);
}

{
  await using engine = await openEngine({ model, adapters });
  const score = async <T>(
    run: number,
    asked: readonly T[],
    judge: (line: T) => readonly [string, (answer: string) => boolean],
  ): Promise<string> => {
    const right = await Promise.all(
      asked.map(async (one) => {
        const [question, isRight] = judge(one);
        return isRight(await answer(engine, `run${run}`, question));
      }),
    );
    return `${right.filter(Boolean).length}`;
  };
  for (const i of runs.keys()) {
    const recalled = await score(i, lines, ({ messages: [question, reply] }) => [
      question.content,
      (text) => text === reply.content,
    ]);
    const understood = await score(i, paraphrases, ({ question, fact }) => [
      question,
      (text) => text.toLowerCase().includes(fact.toLowerCase()),
    ]);
    rows[i] = [...(rows[i] ?? []), recalled, understood];
  }
}
await rm(adapters, { recursive: true });
console.log(
  markdownTable([["options", "updates", "tokens", "seconds", "word for word", "paraphrased"], ...rows]),
);
