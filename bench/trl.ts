// DPO and the sampling of GRPO beside TRL, with PEFT, on the same model in float32 and the same LoRA.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAdapter, parseAdapterConfig } from "mixture-of-shards-core/adapters";
import { randomStream } from "mixture-of-shards-core/common";
import { openLiveEngine } from "mixture-of-shards-core/inference";
import { loadBase, loadModelText, toLayerShapes } from "mixture-of-shards-core/models";
import { cpuSeconds, fail, median, peakMemory, printResult, readArguments, rounded } from "./arguments.ts";
import { readPairs } from "./pairs.ts";
import { runRounds } from "./rounds.ts";
import { measureSteps } from "./steps.ts";

const HELP = `usage: bench:trl -- --model FILE.gguf --data PAIRS.json [--part dpo] [--pairs 12] [--batch 2] [--below 1500] [--rounds 3] [--out FILE]
       bench:trl -- --model FILE.gguf --part sample [--prompts 4] [--group 8] [--new 48] [--rounds 3] [--out FILE]

With --part dpo: pairs per CPU second of the updates after the reference pass but for the first, and peak memory.
With --part sample: completions per CPU second and second, as GRPO samples them at temperature 1.
Ours and TRL's (bench/peers/trl_dpo.py, trl_sample.py) run by turns, each in a process of its own; --python names the
interpreter, --threads the threads of both (1), and --only runs ours alone. --checkpointing has TRL recompute
activations, as it does by default, and --memory-limit BYTES has ours do so where it would need more.
--compute-dtype float32|int8: what ours computes products in (float32).`;

const given = readArguments(HELP, {
  values: [
    ...["model", "data", "part", "pairs", "batch", "below", "rounds", "prompts", "group", "new", "rank"],
    ...["threads", "python", "out", "compute-dtype", "memory-limit"],
  ],
  flags: ["only", "checkpointing", "json"],
});
const model = given.text("model") ?? fail(HELP);
const part = given.choice("part", ["dpo", "sample"]);
const session = { threads: given.number("threads", 1) };
const computeDtype = given.choice("compute-dtype", ["float32", "int8"]);
const adapter = { method: "lora", rank: given.number("rank", 8), alpha: 16 } as const;
const batchSize = given.number("batch", 2);
const memoryLimit =
  given.text("memory-limit") === undefined ? {} : { memoryLimit: given.number("memory-limit", 0) };

/** The updates of one pass over a file of pairs. */
const trainPairs = (folder: string) =>
  measureSteps({
    ...{ model, data: given.text("data") ?? fail(HELP), out: join(folder, "run"), adapter, session },
    settings: {
      ...{ objective: "dpo", epochs: 1, batchSize, learningRate: 1e-4, warmup: 0 },
      ...{ validationSplit: 0, computeDtype, ...memoryLimit },
    },
  });

/** Groups of answers as GRPO samples them, the first time not counted. */
async function sampleAnswers() {
  const loaded = await loadBase(model, { computeDtype });
  const text = await loadModelText(loaded.source);
  const live = createAdapter(parseAdapterConfig(adapter, "bench"), toLayerShapes(loaded.config));
  const [prompts, group, maxTokens] = [
    given.number("prompts", 4),
    given.number("group", 8),
    given.number("new", 48),
  ];
  const asked = ["a volcano", "the moon", "a library", "bread", "a bicycle", "the ocean", "a violin", "rain"];
  const requests = (round: string) =>
    asked.slice(0, prompts).flatMap((thing) => {
      const messages = [{ role: "user" as const, content: `What is ${thing}?` }];
      const prompt = [
        ...text.tokenizer.encode(text.template?.render(messages, { addGenerationPrompt: true }) ?? thing),
      ];
      return Array.from({ length: group }, (_, k) => ({
        ...{ prompt, maxTokens, sampling: { temperature: 1 } },
        seed: randomStream(0, `${round} ${thing} ${k}`).uint32(),
      }));
    });
  await using engine = await openLiveEngine({
    ...{ model: { model: loaded, text }, adapter: live, maxLength: 64 + maxTokens, maxBatch: 32, session },
  });
  const samples: { completions: number; tokens: number; seconds: number; cpu: number }[] = [];
  for (const round of ["warm", "0", "1"]) {
    const [started, cpu] = [performance.now(), cpuSeconds()];
    let [completions, tokens] = [0, 0];
    for await (const [, sample] of engine.sample(requests(round))) {
      completions += 1;
      tokens += sample.tokens.length;
    }
    samples.push({
      completions,
      tokens,
      seconds: (performance.now() - started) / 1000,
      cpu: cpuSeconds() - cpu,
    });
  }
  const counted = samples.slice(1);
  const rate = (of: (one: (typeof samples)[number]) => number): number => rounded(median(counted.map(of)), 3);
  return {
    completions_per_cpu_s: rate(({ completions, cpu }) => completions / cpu),
    completions_per_s: rate(({ completions, seconds }) => completions / seconds),
    tokens_per_completion: rate(({ completions, tokens }) => tokens / completions),
    peak_rss_gb: peakMemory(),
  };
}

/** The field that is compared, and what runs TRL's side. */
const PARTS = {
  dpo: {
    field: "examples_per_cpu_s",
    ours: trainPairs,
    peer: (file: string) => {
      const checkpointing = given.flag("checkpointing") ? "--checkpointing" : "";
      return `trl_dpo.py ${model} ${file} --batch ${batchSize} ${checkpointing}`;
    },
  },
  sample: {
    field: "completions_per_cpu_s",
    ours: sampleAnswers,
    peer: () =>
      `trl_sample.py ${model} --prompts ${given.number("prompts", 4)} --group ${given.number("group", 8)} --new ${given.number("new", 48)}`,
  },
};

/** The first pairs as a file that both programs read. */
async function writePairs(folder: string): Promise<string> {
  const path = join(folder, "pairs.jsonl");
  const pairs = await readPairs(given.text("data") ?? fail(HELP), given.number("below", 1500));
  const say = (content: string) => [{ role: "assistant", content }];
  const lines = pairs
    .slice(0, given.number("pairs", 12))
    .map(({ prompt, chosen, rejected }) =>
      JSON.stringify({ prompt, chosen: say(chosen), rejected: say(rejected) }),
    );
  await writeFile(path, `${lines.join("\n")}\n`);
  return path;
}

async function compare(folder: string) {
  const { field, peer } = PARTS[part];
  const file = part === "dpo" ? await writePairs(folder) : "";
  const own = process.argv.slice(2).filter((word) => word !== "--json");
  // the last --data counts
  const data = file === "" ? "" : `--data ${file}`;
  const common = `--rank ${adapter.rank} --threads ${session.threads}`;
  const variants = [
    { name: "ours", command: `npm run -s bench:trl -- ${own.join(" ")} ${data} --only --json` },
    { name: "trl", command: `${given.text("python") ?? "python"} bench/peers/${peer(file)} ${common}` },
  ];
  const { measured } = await runRounds(variants, {
    ...{ rounds: given.number("rounds", 3), out: given.text("out"), part },
  });
  const row = (name: string) => {
    const [ours, trl] = [measured("ours", name), measured("trl", name)];
    const ratio = rounded(ours.median / trl.median, 2);
    return [
      name,
      `ours ${ours.median} (${ours.least}–${ours.most}), TRL ${trl.median} (${trl.least}–${trl.most}), ratio ${ratio}`,
    ];
  };
  return Object.fromEntries([field, "peak_rss_gb"].map(row));
}

const folder = await mkdtemp(join(tmpdir(), "mos-trl-"));
try {
  printResult(await (given.flag("only") ? PARTS[part].ours : compare)(folder), given.flag("json"));
} finally {
  await rm(folder, { recursive: true, force: true });
}
