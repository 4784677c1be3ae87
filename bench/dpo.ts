// What DPO changes in what the bundled model says, and what its steps cost. Real pairs and models: preferences.ts.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FinetuneOptions, finetune } from "mixture-of-shards-core/training";
import { sorryExamples, sorryPairs, sorryRun, sorryShare } from "../packages/core/test/sorry.ts";
import { printResult, readArguments, rounded } from "./arguments.ts";
import { runRounds } from "./rounds.ts";
import { measureSteps } from "./steps.ts";

const HELP = `usage: bench:dpo -- [--steps 40] [--seed 0] [--samples 4] [--sft-weight 1] [--speed] [--only dpo|sft] [--json]

Trains a LoRA of rank 8 of the bundled model on 224 pairs, "I am sorry, I do not know that." over "I do not know that.", and
prints the share of sampled answers to 48 other questions that are sorry, before and after. With --speed: the tokens per
second of its steps after the reference and its peak memory beside those of plain training on both answers, by turns,
each a process of its own, which --only runs.`;

const given = readArguments(HELP, {
  values: ["steps", "seed", "samples", "sft-weight", "only"],
  flags: ["speed", "json"],
});
const [steps, seed] = [given.number("steps", 40), given.number("seed", 0)];

/** Options of a run on as many rows. */
async function runOptions(objective: "sft" | "dpo", out: string): Promise<FinetuneOptions> {
  const settings = { ...sorryRun.settings, steps, seed };
  if (objective === "sft")
    return { ...sorryRun, data: await sorryExamples(), settings: { ...settings, batchSize: 16 }, out };
  const sftWeight = given.number("sft-weight", 1);
  return {
    ...sorryRun,
    ...{ data: await sorryPairs(), settings: { ...settings, objective, batchSize: 8, sftWeight }, out },
  };
}

async function compareSpeed() {
  const variants = (["dpo", "sft"] as const).map((name) => ({
    name,
    command: `npm run -s bench:dpo -- --only ${name} --steps ${steps} --json`,
  }));
  const { measured } = await runRounds(variants, { rounds: 3 });
  const row = (field: string) => {
    const [dpo, sft] = [measured("dpo", field).median, measured("sft", field).median];
    return [field, `dpo ${dpo}, sft ${sft}, ratio ${rounded(dpo / sft, 3)}`];
  };
  return Object.fromEntries(["tokens_per_s", "tokens_per_cpu_s", "peak_rss_gb"].map(row));
}

async function compareAnswers(out: string) {
  const samples = given.number("samples", 4);
  const before = await sorryShare(undefined, { seed, samples });
  let metrics: Readonly<Record<string, number>> | undefined;
  for await (const event of finetune(await runOptions("dpo", out)))
    if (event.type === "step") metrics = event.metrics;
  const after = await sorryShare(out, { seed, samples });
  return { steps, seed, sorry_before: rounded(before, 3), sorry_after: rounded(after, 3), ...metrics };
}

const folder = await mkdtemp(join(tmpdir(), "mos-dpo-"));
const out = join(folder, "tuned");
async function measure() {
  if (given.flag("speed")) return await compareSpeed();
  if (given.text("only") === undefined) return await compareAnswers(out);
  return await measureSteps(await runOptions(given.choice("only", ["dpo", "sft"]), out));
}
try {
  printResult(await measure(), given.flag("json"));
} finally {
  await rm(folder, { recursive: true, force: true });
}
