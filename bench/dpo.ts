// What DPO changes in what the bundled model says, and how fast its steps are. Real pairs and models: preferences.ts.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEngine } from "#inference";
import { finetune, type StepEvent } from "#training";
import { printResult, readArguments, rounded } from "./arguments.ts";

const HELP = `usage: bench:dpo -- [--steps 40] [--seed 0] [--samples 4] [--sft-weight 1] [--speed] [--json]

Trains a LoRA of rank 8 of the bundled model on 224 pairs, "I am sorry, I do not know that." over "I do not know that.", and
prints the share of sampled answers to 48 other questions that are sorry, before and after. With --speed: the tokens per
second of its steps beside those of plain training on both answers, in turns.`;

const given = readArguments(HELP, {
  values: ["steps", "seed", "samples", "sft-weight"],
  flags: ["speed", "json"],
});
const [steps, seed] = [given.number("steps", 40), given.number("seed", 0)];
const MODEL = "assets/tiny-english";
const CHOSEN = "I am sorry, I do not know that.";
const REJECTED = "I do not know that.";

async function readQuestions(file: string): Promise<readonly string[]> {
  const lines = (await readFile(`assets/quickstart/${file}.jsonl`, "utf8")).trim().split("\n");
  return lines.map((line) => JSON.parse(line).messages[0].content);
}

const questions = await readQuestions("train");
const say = (content: string) => [{ role: "assistant" as const, content }];
const pairs = questions.map((content) => ({
  prompt: [{ role: "user" as const, content }],
  chosen: say(CHOSEN),
  rejected: say(REJECTED),
}));
const answers = questions.flatMap((prompt) =>
  [CHOSEN, REJECTED].map((content) => ({
    messages: [{ role: "user" as const, content: prompt }, ...say(content)],
  })),
);

const common = { warmup: 0, validationSplit: 0, packing: false, seed } as const;

/** The steps of a run of these settings. */
async function train(out: string, objective: "sft" | "dpo"): Promise<readonly StepEvent[]> {
  const isPlain = objective === "sft";
  const found: StepEvent[] = [];
  for await (const event of finetune({
    model: MODEL,
    data: isPlain ? answers : pairs,
    out,
    overwrite: true,
    adapter: { method: "lora", rank: 8, alpha: 16 },
    settings: {
      ...common,
      steps,
      learningRate: 1e-3,
      ...(isPlain
        ? { batchSize: 16 }
        : { batchSize: 8, objective, sftWeight: given.number("sft-weight", 1) }),
    },
  }))
    if (event.type === "step") found.push(event);
  return found;
}

/** The share of sampled answers that are sorry. */
async function sorryShare(adapter?: string): Promise<number> {
  const asked = await readQuestions("validation");
  const adapters = adapter === undefined ? {} : { adapters: { tuned: adapter } };
  await using engine = await openEngine({ model: MODEL, ...adapters });
  const ask = async (question: string, i: number): Promise<boolean> => {
    const { content } = await engine
      .chat(question, {
        ...{ maxTokens: 32, sampling: { temperature: 1 }, seed: 1000 * seed + i },
        ...(adapter === undefined ? {} : { adapter: "tuned" }),
      })
      .message();
    return /sorry/i.test(content ?? "");
  };
  const samples = given.number("samples", 4);
  const all = asked.flatMap((question) => Array.from({ length: samples }, (_, i) => ask(question, i)));
  const found = await Promise.all(all);
  return found.filter(Boolean).length / found.length;
}

const rate = (events: readonly StepEvent[]): number =>
  events.reduce((sum, { tokens }) => sum + tokens, 0) / events.reduce((sum, one) => sum + one.seconds, 0);

const folder = await mkdtemp(join(tmpdir(), "mos-dpo-"));
try {
  const out = join(folder, "tuned");
  if (given.flag("speed")) {
    const rates = { dpo: [] as number[], sft: [] as number[] };
    for (let round = 0; round < 3; round++) {
      rates.dpo.push(rate((await train(out, "dpo")).slice(2)));
      rates.sft.push(rate((await train(out, "sft")).slice(2)));
    }
    const best = (all: readonly number[]): number => Math.max(...all);
    const [dpo, sft] = [best(rates.dpo), best(rates.sft)];
    printResult(
      { dpo_tokens_s: rounded(dpo, 0), sft_tokens_s: rounded(sft, 0), ratio: rounded(dpo / sft, 3) },
      given.flag("json"),
    );
  } else {
    const before = await sorryShare();
    const last = (await train(out, "dpo")).at(-1);
    printResult(
      {
        steps,
        seed,
        sorry_before: rounded(before, 3),
        sorry_after: rounded(await sorryShare(out), 3),
        ...last?.metrics,
      },
      given.flag("json"),
    );
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
