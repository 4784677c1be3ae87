// What real pairs of answers teach: held-out margins and accuracy, and answers, before and after.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { splitValidation } from "mixture-of-shards-core/data";
import { openEngine } from "mixture-of-shards-core/inference";
import { finetune } from "mixture-of-shards-core/training";
import { cpuSeconds, fail, printResult, readArguments, rounded } from "./arguments.ts";
import { type Pair, readPairs } from "./pairs.ts";

const HELP = `usage: bench:preferences -- --model DIR|FILE.gguf --data FILE.json [--objective dpo] [--method lora] [--rank 8] [--steps 24] [--batch 2]
       [--rate 0.0002] [--below 1500] [--max-length N] [--held-out 15] [--samples 3] [--new 64] [--seed 0] [--threads 2] [--json]

Trains on the pairs of --data with fewer than --below characters in prompt and answers together, of which --held-out are
kept out. With --max-length, answers are truncated to so many tokens with their prompts, and longer prompts are left out.
Printed: what the objective reports of held-out pairs before and after, CPU time, and greedy answers to some prompts.
Real pairs: data/dpo_en_demo.json in the source archive of llamafactory 0.9.5 (pip download --no-deps --no-binary :all:).`;

const given = readArguments(HELP, {
  values: [
    ...[
      "model",
      "data",
      "objective",
      "method",
      "rank",
      "steps",
      "batch",
      "rate",
      "below",
      "max-length",
      "held-out",
      "samples",
    ],
    ...["new", "seed", "threads"],
  ],
  flags: ["json"],
});
const model = given.text("model") ?? fail(HELP);
const seed = given.number("seed", 0);
const threads = given.number("threads", 2);

/** Greedy answers to prompts, by the base and by its adapter. */
async function answers(pairs: readonly Pair[], adapter: string) {
  await using engine = await openEngine({ model, threads, adapters: { trained: adapter } });
  const answer = async ({ prompt }: Pair, name: string | null): Promise<string> => {
    let text = "";
    const messages = prompt as Parameters<typeof engine.chat>[0];
    const options = { adapter: name, maxTokens: given.number("new", 64), sampling: { temperature: 0 } };
    for await (const event of engine.chat(messages, options))
      if (event.type === "token" || event.type === "finish") text += event.text;
    return text;
  };
  const found = [];
  for (const pair of pairs)
    found.push({
      prompt: pair.prompt.at(-1)?.content ?? "",
      chosen: pair.chosen,
      before: await answer(pair, null),
      after: await answer(pair, "trained"),
    });
  return found;
}

const pairs = await readPairs(given.text("data") ?? fail(HELP), given.number("below", 1500));
const { train, validation } = splitValidation(pairs, { seed, count: given.number("held-out", 15) });
const folder = await mkdtemp(join(tmpdir(), "mos-preferences-"));
try {
  const started = performance.now();
  const held: Readonly<Record<string, number>>[] = [];
  const objective = given.choice("objective", ["dpo", "orpo", "simpo"]);
  const adapter = { method: given.choice("method", ["lora", "mos"]), rank: given.number("rank", 8) };
  const steps = given.number("steps", 24);
  const run = finetune({
    model,
    data: train.map(({ line }) => line),
    validationData: validation.map(({ line }) => line),
    out: join(folder, "run"),
    adapter,
    settings: {
      ...{ objective, steps, seed, batchSize: given.number("batch", 2) },
      ...{ learningRate: given.number("rate", 2e-4), packing: false },
      ...(given.text("max-length") === undefined ? {} : { maxLength: given.number("max-length", 0) }),
    },
    session: { threads },
  });
  for await (const event of run) {
    if (event.type !== "step" && event.type !== "evaluation") continue;
    const { type, step, loss, metrics } = event;
    const accuracy = metrics?.["rewards/accuracies"] ?? metrics?.["eval_rewards/accuracies"] ?? Number.NaN;
    console.error(
      `${type} ${step}/${steps}: loss ${rounded(loss, 3)}, accuracy ${rounded(accuracy, 2)}, CPU ${rounded(cpuSeconds(), 0)} s`,
    );
    if (type === "evaluation") held.push({ loss, ...metrics });
  }
  const seconds = (performance.now() - started) / 1000;
  const cpu = cpuSeconds();
  const [before = {}, after = {}] = [held[0], held.at(-1)];
  const samples = await answers(validation.slice(0, given.number("samples", 3)), join(folder, "run"));
  const measured = Object.keys(after).map((name) => [
    name,
    [before[name], after[name]].map((x) => rounded(x ?? Number.NaN, 3)),
  ]);
  printResult(
    {
      model: basename(model),
      ...{ objective, ...adapter, steps },
      pairs: train.length,
      held_out: validation.length,
      seconds: rounded(seconds, 0),
      cpu_minutes: rounded(cpu / 60, 1),
      ...Object.fromEntries(measured),
      samples: given.flag("json") ? samples : `\n${JSON.stringify(samples, null, 2)}`,
    },
    given.flag("json"),
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}
