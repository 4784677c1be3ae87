// What a few lessons teach a small model, and what it forgets by them (see docs/how-to/train.md).
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { loadAdapter } from "mixture-of-shards-core/adapters";
import { readDataset } from "mixture-of-shards-core/data";
import { makeTemporaryFolder } from "mixture-of-shards-core/files";
import { type Engine, openEngine } from "mixture-of-shards-core/inference";
import { loadModel, toLayerShapes } from "mixture-of-shards-core/models";
import type { ChatMessage } from "mixture-of-shards-core/text";
import { validationLoss } from "mixture-of-shards-core/training";
import { markdownTable } from "../packages/lab/src/evaluation/results.ts";
import { fail, readArguments } from "./arguments.ts";
import { runForJson } from "./child.ts";

const HELP = `usage: bench:teach -- --model DIR|FILE.gguf [--set facts|manner|task] [--runs="|--keep 0 --reword 0"] [--seeds 0,1,2] [--trl 3,30]

Trains on bench/teach/SET-train.jsonl once for each part of --runs, which are options of mos train between vertical bars, and
each seed; left out, with no option, and without what mos train adds to the data. Then an engine with its own defaults answers
greedily, and the answers are counted that are right:
  facts   the forty questions word for word, in three other wordings each, as a second turn, and with a typing error
  manner  forty unseen questions, answered without a greeting, in two sentences at most and with the taught last line
  task    sixty unseen messages, each to be sent to one of eight teams
and in every set 200 questions of general knowledge and small talk, and the loss on sixty paragraphs of ordinary text. The
first row is the base. --trl adds rows of TRL's SFTTrainer with so many passes over the data (bench/peers/trl_sft.py; --python, a
Python with trl, peft and torch).`;

const given = readArguments(HELP, { values: ["model", "set", "runs", "seeds", "trl", "python"], flags: [] });
const model = given.text("model") ?? fail(HELP);
const folder = "bench/teach";

const readLines = async <T>(name: string): Promise<readonly T[]> =>
  (await readFile(join(folder, name), "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

interface Asked {
  readonly question: string | readonly ChatMessage[];
  readonly isRight: (answer: string) => boolean;
}

const contains =
  (words: readonly string[]) =>
  (answer: string): boolean =>
    words.some((word) =>
      new RegExp(
        `(?<![\\p{L}\\p{N}])${word.replaceAll(/[.*+?^$(){}|[\]\\]/g, "\\$&")}(?![\\p{L}\\p{N}])`,
        "iu",
      ).test(answer),
    );

/** The questions of a set, by what they measure. */
const SETS: Readonly<Record<string, () => Promise<Readonly<Record<string, readonly Asked[]>>>>> = {
  async facts() {
    const lines = await readLines<{ readonly messages: readonly { readonly content: string }[] }>(
      "facts-train.jsonl",
    );
    const once = await readLines<{ readonly question: string; readonly fact: string }>(
      "facts-paraphrases.jsonl",
    );
    const more = await readLines<{
      readonly wordings: readonly string[];
      readonly typo: string;
      readonly fact: string;
    }>("facts-more.jsonl");
    const about = (fact: string) => (answer: string) => answer.toLowerCase().includes(fact.toLowerCase());
    const others = [
      ...once.map(({ question, fact }) => ({ question, isRight: about(fact) })),
      ...more.flatMap(({ wordings, fact }) =>
        wordings.map((question) => ({ question, isRight: about(fact) })),
      ),
    ];
    return {
      "word for word": lines.map(({ messages: [question, reply] }) => ({
        question: question?.content ?? "",
        isRight: (answer) => answer === reply?.content,
      })),
      "other words": others,
      "second turn": lines.map(({ messages: [question, reply] }) => ({
        question: [
          { role: "user", content: "Hello! Can you help me?" },
          { role: "assistant", content: "Of course. What would you like to know?" },
          { role: "user", content: question?.content ?? "" },
        ],
        isRight: (answer) => answer === reply?.content,
      })),
      "typing error": more.map(({ typo, fact }) => ({ question: typo, isRight: about(fact) })),
    };
  },
  async manner() {
    const END = /\s*Anything else\?$/;
    const isTaught = (answer: string): boolean =>
      END.test(answer) &&
      !/^(hi|hello|hey|sure|certainly|of course)\b/i.test(answer) &&
      (answer.replace(END, "").match(/[.!?](\s|$)/g) ?? []).length <= 2;
    const lines = await readLines<{ readonly question: string }>("manner-test.jsonl");
    return { "in the manner": lines.map(({ question }) => ({ question, isRight: isTaught })) };
  },
  async task() {
    const lines = await readLines<{ readonly question: string; readonly answer: string }>("task-test.jsonl");
    const isTeam = (team: string) => (answer: string) => answer.toLowerCase() === team;
    return { "right team": lines.map(({ question, answer }) => ({ question, isRight: isTeam(answer) })) };
  },
};

const set = given.text("set") ?? "facts";
const taught = await (SETS[set] ?? fail(HELP))();
const general = (
  await readLines<{ readonly question: string; readonly answers: readonly string[] }>("general.jsonl")
).map(({ question, answers }): Asked => ({ question, isRight: contains(answers) }));
const asked = { ...taught, general };

async function countRight(
  engine: Engine,
  adapter: string | undefined,
  questions: readonly Asked[],
): Promise<string> {
  const right = await Promise.all(
    questions.map(async ({ question, isRight }) => {
      const options = {
        ...(adapter === undefined ? {} : { adapter }),
        maxTokens: 96,
        sampling: { temperature: 0 },
      };
      return isRight(((await engine.chat(question, options).message()).content ?? "").trim());
    }),
  );
  return `${right.filter(Boolean).length} of ${questions.length}`;
}

const adapters = await makeTemporaryFolder("mos-teach-");
const names: string[] = [];
const rows: (readonly string[])[] = [["base", "", "", ""]];
const mos = "node --conditions=source --import tsx packages/mos/src/cli/main.ts";
const data = join(folder, `${set}-train.jsonl`);

async function add(options: string, seed: string, command: (out: string) => string): Promise<void> {
  const name = `run${names.length}`;
  const started = performance.now();
  const { steps } = await runForJson(options, command(join(adapters, name)));
  rows.push([options || "none", seed, `${steps}`, `${Math.round((performance.now() - started) / 1000)}`]);
  names.push(name);
}

for (const seed of (given.text("seeds") ?? "0").split(",")) {
  for (const options of (given.text("runs") ?? "|--keep 0 --reword 0").split("|"))
    await add(
      options,
      seed,
      (out) => `${mos} train --model ${model} --data ${data} --out ${out} --seed ${seed} --json ${options}`,
    );
  for (const epochs of given.text("trl")?.split(",") ?? [])
    await add(`TRL, ${epochs} epochs`, seed, (out) => {
      const peft = `${out}-peft`;
      const trained = `${given.text("python") ?? "python3"} bench/peers/trl_sft.py ${model} ${data} ${peft} --epochs ${epochs} --seed ${seed}`;
      return `steps=$(${trained} | tail -1) && ${mos} import ${peft} --model ${model} --out ${out} >&2 && rm -r ${peft} && echo "$steps"`;
    });
}

const lossOf = async (adapter: string | undefined): Promise<string> => {
  const base = await loadModel(model);
  const { examples } = await readDataset(join(folder, "text.jsonl"), { kind: "examples" });
  const settings = {
    maxLength: 256,
    promptFormat: "template",
    system: undefined,
    batchSize: 4,
    packing: true,
  } as const;
  const trained =
    adapter === undefined
      ? undefined
      : await loadAdapter(join(adapters, adapter), {
          shapes: toLayerShapes(base.model.config),
          fingerprint: base.model.fingerprint,
        });
  const { loss } = await validationLoss(base, examples, { adapter: trained, settings });
  return loss.toFixed(3);
};
{
  await using engine = await openEngine({ model, adapters, maxWaiting: 1000 });
  for (const [i, name] of [undefined, ...names].entries()) {
    const counts: string[] = [];
    for (const questions of Object.values(asked)) counts.push(await countRight(engine, name, questions));
    rows[i] = [...(rows[i] ?? []), ...counts];
  }
}
for (const [i, name] of [undefined, ...names].entries()) rows[i] = [...(rows[i] ?? []), await lossOf(name)];
await rm(adapters, { recursive: true });
console.log(
  markdownTable([["options", "seed", "updates", "seconds", ...Object.keys(asked), "loss on text"], ...rows]),
);
