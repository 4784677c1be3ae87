// What a few lessons teach a small model, and what it forgets by them (see docs/how-to/train.md).
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadAdapter } from "mixture-of-shards-core/adapters";
import { readDataset, withHint } from "mixture-of-shards-core/data";
import { makeTemporaryFolder } from "mixture-of-shards-core/files";
import { type Engine, openEngine } from "mixture-of-shards-core/inference";
import { loadModel, toLayerShapes } from "mixture-of-shards-core/models";
import type { ChatMessage } from "mixture-of-shards-core/text";
import { evenly, validationLoss } from "mixture-of-shards-core/training";
import { markdownTable } from "../packages/lab/src/evaluation/results.ts";
import { fail, readArguments } from "./arguments.ts";
import { runForJson } from "./child.ts";

const HELP = `usage: bench:teach -- --model DIR|FILE.gguf [--set facts|manner|task] [--runs="|--keep 0 --reword 0"] [--seeds 0,1,2] [--trl 3,30] [--lessons N]

Trains on bench/teach/SET-train.jsonl once for each part of --runs, which are options of mos train between vertical bars, and
each seed; left out, with no option, and without what mos train adds to the data. Then an engine with its own defaults answers
greedily, and the answers are counted that are right:
  facts   the forty questions word for word, in three other wordings each, as a second turn, and with a typing error
  manner  forty unseen questions, answered without a greeting, in two sentences at most and with the taught last line
  task    sixty unseen messages, each to be sent to one of eight teams
and in every set 200 questions of general knowledge and small talk, and the loss on sixty paragraphs of ordinary text. The
first row is the base. --trl adds rows of TRL's SFTTrainer with so many passes over the data (bench/peers/trl_sft.py; --python, a
Python with trl, peft and torch). --lessons trains N of the lines, with a remark as their hint, which --objective sdft learns from;
the second row is then the base with that remark in its prompt, and only the facts that are trained are asked for.`;

const given = readArguments(HELP, {
  values: ["model", "set", "runs", "seeds", "trl", "python", "lessons"],
  flags: [],
});
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
  /** What a teacher is told besides. */
  readonly remark?: string | undefined;
}

type Questions = Readonly<Record<string, readonly Asked[]>>;

interface Conversation {
  readonly messages: readonly [question: Turn, answer: Turn];
}
type Turn = ChatMessage & { readonly content: string };

/** A conversation with what it was corrected with. */
interface Lesson extends Conversation {
  readonly hint: string;
}

const REMARKS = {
  manner:
    "Do not greet. Answer in one or two sentences. Write prices in euros and dates like 2026-12-01. End with this line:\nAnything else?",
  task: "Answer with one word, the team for this message: shipping (deliveries, addresses, couriers), billing (invoices, payments, prices charged), returns (sending goods back), repairs (what is broken), technical (apps, accounts, websites, settings), sales (advice before buying, offers), privacy (personal data) or press (journalists).",
};

const contains =
  (words: readonly string[]) =>
  (answer: string): boolean =>
    words.some((word) =>
      new RegExp(
        `(?<![\\p{L}\\p{N}])${word.replaceAll(/[.*+?^$(){}|[\]\\]/g, "\\$&")}(?![\\p{L}\\p{N}])`,
        "iu",
      ).test(answer),
    );

const count = given.text("lessons") === undefined ? undefined : given.number("lessons", 20);
const pick = <T>(all: readonly T[]): readonly T[] => evenly(all, count ?? all.length);
const readLessons = (set: string): Promise<readonly Conversation[]> => readLines(`${set}-train.jsonl`);
const sameRemark = (lessons: readonly Conversation[], hint: string): readonly Lesson[] =>
  pick(lessons).map(({ messages }) => ({ messages, hint }));

/** What a set teaches, and its questions by what they measure. */
const SETS: Readonly<Record<string, () => Promise<readonly [readonly Lesson[], Questions]>>> = {
  async facts() {
    const lessons = pick(await readLessons("facts")).map(({ messages }) => ({
      messages,
      hint: `A fact: ${messages[0].content} ${messages[1].content}`,
    }));
    const once = pick(
      await readLines<{ readonly question: string; readonly fact: string }>("facts-paraphrases.jsonl"),
    );
    const more = pick(
      await readLines<{
        readonly wordings: readonly string[];
        readonly typo: string;
        readonly fact: string;
      }>("facts-more.jsonl"),
    );
    const about = (fact: string) => (answer: string) => answer.toLowerCase().includes(fact.toLowerCase());
    const remarkOn = (i: number) => lessons[i]?.hint;
    const others = [
      ...once.map(({ question, fact }, i) => ({ question, isRight: about(fact), remark: remarkOn(i) })),
      ...more.flatMap(({ wordings, fact }, i) =>
        wordings.map((question) => ({ question, isRight: about(fact), remark: remarkOn(i) })),
      ),
    ];
    const questions: Questions = {
      "word for word": lessons.map(({ messages: [question, reply], hint }) => ({
        question: question.content,
        isRight: (answer) => answer === reply.content,
        remark: hint,
      })),
      "other words": others,
      "second turn": lessons.map(({ messages: [question, reply], hint }) => ({
        question: [
          { role: "user", content: "Hello! Can you help me?" },
          { role: "assistant", content: "Of course. What would you like to know?" },
          question,
        ],
        isRight: (answer) => answer === reply.content,
        remark: hint,
      })),
      "typing error": more.map(({ typo, fact }, i) => ({
        question: typo,
        isRight: about(fact),
        remark: remarkOn(i),
      })),
    };
    return [lessons, questions];
  },
  async manner() {
    const END = /\s*Anything else\?$/;
    const isTaught = (answer: string): boolean =>
      END.test(answer) &&
      !/^(hi|hello|hey|sure|certainly|of course)\b/i.test(answer) &&
      (answer.replace(END, "").match(/[.!?](\s|$)/g) ?? []).length <= 2;
    const asked = await readLines<{ readonly question: string }>("manner-test.jsonl");
    return [
      sameRemark(await readLessons("manner"), REMARKS.manner),
      {
        "in the manner": asked.map(({ question }) => ({
          question,
          isRight: isTaught,
          remark: REMARKS.manner,
        })),
      },
    ];
  },
  async task() {
    const asked = await readLines<{ readonly question: string; readonly answer: string }>("task-test.jsonl");
    const isTeam = (team: string) => (answer: string) => answer.toLowerCase() === team;
    // some of every team, however few
    const byTeam = (await readLessons("task")).toSorted(({ messages: [, a] }, { messages: [, b] }) =>
      a.content < b.content ? -1 : Number(a.content > b.content),
    );
    return [
      sameRemark(byTeam, REMARKS.task),
      {
        "right team": asked.map(({ question, answer }) => ({
          question,
          isRight: isTeam(answer),
          remark: REMARKS.task,
        })),
      },
    ];
  },
};

const set = given.text("set") ?? "facts";
const [lessons, taught] = await (SETS[set] ?? fail(HELP))();
const general = (
  await readLines<{ readonly question: string; readonly answers: readonly string[] }>("general.jsonl")
).map(({ question, answers }): Asked => ({ question, isRight: contains(answers) }));
const asked: Questions = { ...taught, general };

async function countRight(
  engine: Engine,
  { adapter, isTold }: { readonly adapter: string | undefined; readonly isTold: boolean },
  questions: readonly Asked[],
): Promise<string> {
  const right = await Promise.all(
    questions.map(async ({ question, isRight, remark }) => {
      const options = {
        ...(adapter === undefined ? {} : { adapter }),
        maxTokens: 96,
        sampling: { temperature: 0 },
      };
      const messages =
        typeof question === "string" ? [{ role: "user" as const, content: question }] : question;
      const told = isTold && remark !== undefined ? withHint(messages, remark) : messages;
      return isRight(((await engine.chat(told, options).message()).content ?? "").trim());
    }),
  );
  return `${right.filter(Boolean).length} of ${questions.length}`;
}

const adapters = await makeTemporaryFolder("mos-teach-");
const names: string[] = [];
const rows: (readonly string[])[] = [
  ["base", "", "", ""],
  ...(count === undefined ? [] : [["base, told", "", "", ""]]),
];
const mos = "node --conditions=source --import tsx packages/mos/src/cli/main.ts";
const data = count === undefined ? join(folder, `${set}-train.jsonl`) : join(adapters, "lessons.jsonl");
if (count !== undefined) await writeFile(data, lessons.map((line) => `${JSON.stringify(line)}\n`).join(""));

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
const versions = [
  { adapter: undefined, isTold: false },
  ...(count === undefined ? [] : [{ adapter: undefined, isTold: true }]),
  ...names.map((adapter) => ({ adapter, isTold: false })),
];
{
  await using engine = await openEngine({ model, adapters, maxWaiting: 1000 });
  for (const [i, version] of versions.entries()) {
    const counts: string[] = [];
    for (const questions of Object.values(asked)) counts.push(await countRight(engine, version, questions));
    rows[i] = [...(rows[i] ?? []), ...counts];
  }
}
for (const [i, { adapter }] of versions.entries()) rows[i] = [...(rows[i] ?? []), await lossOf(adapter)];
await rm(adapters, { recursive: true });
console.log(
  markdownTable([["options", "seed", "updates", "seconds", ...Object.keys(asked), "loss on text"], ...rows]),
);
