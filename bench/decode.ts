// Speed of greedy decoding in float32, every slot with an adapter, beside the peer's script (see docs/explanation/benchmarks.md).
import type { ExpandedFactors, FactorMap } from "mixture-of-shards-core/adapters";
import { type Random, randomStream } from "mixture-of-shards-core/common";
import {
  capacityFor,
  createModelRunner,
  mergeAdapter,
  prepareWeights,
} from "mixture-of-shards-core/inference";
import { listLayerGroups, loadModel } from "mixture-of-shards-core/models";
import { argmax } from "../packages/core/src/inference/sampler.ts";
import { fail, peakMemory, printResult, readArguments, rounded } from "./arguments.ts";

const HELP = `usage: bench:decode -- --model DIR|FILE.gguf [--rows 1] [--adapters 1] [--new 64] [--prompt 32] [--json]

Continues random prompts by the most likely token, every sequence with a random adapter on all linear layers.
new_tokens_per_s counts the time of the prompt too; decode_tokens_per_s is of the steps after it.

  --rows N            sequences side by side; --adapters N: adapters that they share out (0: the base alone)
  --slots             keep a lone adapter beside the weights, as several are, instead of merging it
  --rank N (8)        --threads N (2)    --profile PREFIX: also write the runtime's own profile`;

const given = readArguments(HELP, {
  values: ["model", "rows", "adapters", "new", "prompt", "rank", "threads", "profile"],
  flags: ["json", "slots"],
});
const path = given.text("model") ?? fail(HELP);
const rows = given.number("rows", 1);
const adapters = given.number("adapters", 1);
const newTokens = given.number("new", 64);
const promptLength = given.number("prompt", 32);
const rank = given.number("rank", 8);
const profile = given.text("profile");

const { model } = await loadModel(path);
const { config, weights } = model;

function randomAdapter(random: Random): FactorMap {
  const normal = (length: number): Float32Array =>
    Float32Array.from({ length }, () => 0.02 * random.normal());
  const factors = new Map<string, ExpandedFactors>();
  for (const { layer, linears, in: width, outs } of listLayerGroups(config))
    for (const [i, name] of linears.entries()) {
      const [a, b] = [normal(rank * width), normal(rank * (outs[i] ?? 0))];
      factors.set(`${layer}.${name}`, { rank, scale: 16 / rank, a, b });
    }
  return factors;
}

const made = Array.from({ length: adapters }, (_, i) => randomAdapter(randomStream(i, "bench.adapter")));
const random = randomStream(0, "bench.prompt");
const prompts = Array.from({ length: rows }, () =>
  Array.from({ length: promptLength }, () => 3 + Math.floor(random.uniform() * (config.vocabularySize - 3))),
);

const [lone] = made;
const merged = rows === 1 && lone !== undefined && !given.flag("slots") ? lone : undefined;
const maxLength = Math.min(config.maxPositions, promptLength + newTokens);
const base = await prepareWeights(config, weights);
if (merged !== undefined) await mergeAdapter(base, merged);
await using runner = await createModelRunner(base, {
  maxLength,
  adapters: made.length > 0 && merged === undefined,
  session: { threads: given.number("threads", 2), ...(profile === undefined ? {} : { profile }) },
});
const { cache, slots } = runner;
cache.resize(rows, capacityFor(maxLength));
if (made.length > 0 && merged === undefined) {
  slots.resize(rows, rank);
  for (let slot = 0; slot < rows; slot++) slots.fill(slot, made[slot % made.length] as FactorMap);
}

const step = async (tokens: readonly (readonly number[])[]): Promise<readonly number[][]> => {
  const logits = await runner.run({ from: 0, count: rows, tokens });
  return logits.map((row) => row.map(argmax));
};

/** Seconds of the prompt and of all further tokens. */
async function decode(tokens: number): Promise<{ readonly prefill: number; readonly rest: number }> {
  for (let slot = 0; slot < rows; slot++) cache.truncate(slot, 0);
  const start = performance.now();
  let last = await step(prompts);
  const read = performance.now();
  for (let token = 1; token < tokens; token++) last = await step(last);
  return { prefill: (read - start) / 1000, rest: (performance.now() - read) / 1000 };
}

await decode(4);
const { prefill, rest } = await decode(newTokens);
printResult(
  {
    rows,
    adapters,
    rank,
    seconds: rounded(prefill + rest, 2),
    new_tokens_per_s: rounded((rows * newTokens) / (prefill + rest), 1),
    prefill_s: rounded(prefill, 3),
    decode_tokens_per_s: rounded((rows * (newTokens - 1)) / rest, 1),
    peak_rss_gb: peakMemory(),
  },
  given.flag("json"),
);
