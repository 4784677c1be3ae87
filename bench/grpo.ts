// What a reward teaches a real model, on the prompts that it is trained with and on others.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { openEngine } from "mixture-of-shards-core/inference";
import { type FinetuneOptions, finetune } from "mixture-of-shards-core/training";
import { cpuSeconds, fail, printResult, readArguments, rounded } from "./arguments.ts";

const HELP = `usage: bench:grpo -- --model DIR|FILE.gguf [--characters 100] [--steps 16] [--batch 4] [--group 8] [--new 40] [--rate 0.001] [--rank 8]
       [--seed 0] [--threads 2] [--out FOLDER] [--json]

Rewards answers by their length: 1 for --characters, less by as much as an answer is longer or shorter, 0 at twice the
length. Printed: the mean reward of the first and the last three updates, that of answers to sixteen other prompts
before, in between and after, greedy answers to three of these, and the CPU time of all threads. --out keeps the run.`;

const given = readArguments(HELP, {
  values: [
    ...["model", "characters", "steps", "batch", "group", "new", "rate", "rank", "seed", "threads", "out"],
  ],
  flags: ["json"],
});
const model = given.text("model") ?? fail(HELP);
const [wanted, threads] = [given.number("characters", 100), given.number("threads", 2)];
const steps = given.number("steps", 16);

const THINGS =
  "a volcano, the moon, a library, bread, a bicycle, the ocean, a violin, rain, a bridge, coffee, a tiger, gold, a train, " +
  "the heart, chess, a desert, glass, a whale, the wind, football, an island, salt, a clock, honey, a castle, paper, " +
  "an eagle, sleep, a doctor, cheese, the brain, a river, a camera, iron, a horse, winter, a king, soap, a star, tea";
const prompts = THINGS.split(", ").map((thing) => ({
  messages: [{ role: "user" as const, content: `What is ${thing}?` }],
}));
const [train, held] = [prompts.slice(0, 24), prompts.slice(24)];

const settings = {
  objective: "grpo",
  ...{ steps, seed: given.number("seed", 0), batchSize: given.number("batch", 4) },
  ...{ groupSize: given.number("group", 8), maxCompletionLength: given.number("new", 40) },
  ...{ learningRate: given.number("rate", 1e-3), warmup: 0, schedule: "constant" as const },
  ...{ evaluateEvery: Math.ceil(steps / 4), evaluateSamples: 2 },
} satisfies FinetuneOptions["settings"];

/** Greedy answers to held-out prompts, by the base and by its adapter. */
async function answers(adapter: string) {
  await using engine = await openEngine({ model, threads, adapters: { trained: adapter } });
  const found = [];
  for (const { messages } of held.slice(0, 3)) {
    const options = { maxTokens: given.number("new", 40), sampling: { temperature: 0 } };
    const answer = async (name: string | null): Promise<string> =>
      (await engine.chat(messages, { ...options, adapter: name }).message()).content ?? "";
    found.push({
      prompt: messages[0]?.content,
      before: await answer(null),
      after: await answer("trained"),
    });
  }
  return found;
}

const mean = (numbers: readonly number[]): number =>
  rounded(numbers.reduce((sum, x) => sum + x, 0) / numbers.length, 3);

const folder = await mkdtemp(join(tmpdir(), "mos-grpo-"));
const out = given.text("out") ?? join(folder, "run");
try {
  const rewards: number[] = [];
  const heldRewards: number[] = [];
  const [begun, cpu] = [performance.now(), cpuSeconds()];
  for await (const event of finetune({
    model,
    data: train,
    validationData: held,
    out,
    overwrite: true,
    adapter: { method: "lora", rank: given.number("rank", 8) },
    settings,
    reward: (_, { output_text: text }) => Math.max(0, 1 - Math.abs(text.length - wanted) / wanted),
    session: { threads },
  })) {
    if (event.type !== "step" && event.type !== "evaluation") continue;
    // an evaluation's loss is the mean reward with another sign
    const reward = rounded(
      event.type === "step" ? (event.metrics?.["reward"] ?? Number.NaN) : -event.loss,
      3,
    );
    (event.type === "step" ? rewards : heldRewards).push(reward);
    console.error(
      `${event.type} ${event.step}/${steps}: reward ${reward}, CPU ${rounded(cpuSeconds() - cpu, 0)} s`,
    );
  }
  const used = { minutes: performance.now() - begun, cpu_minutes: 1000 * (cpuSeconds() - cpu) };
  const samples = await answers(out);
  printResult(
    {
      model: basename(model),
      ...{ steps, seed: settings.seed },
      reward: [mean(rewards.slice(0, 3)), mean(rewards.slice(-3))],
      held_out: heldRewards,
      rewards,
      ...Object.fromEntries(Object.entries(used).map(([name, ms]) => [name, rounded(ms / 60_000, 1)])),
      samples: given.flag("json") ? samples : `\n${JSON.stringify(samples, null, 2)}`,
    },
    given.flag("json"),
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}
