// Throughput of the engine with many adapters in one batch, and time to the first token (see docs/explanation/benchmarks.md).
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Random, randomStream } from "mixture-of-shards-core/common";
import { type Engine, type EngineEvent, openEngine, unpackLogprobs } from "mixture-of-shards-core/inference";
import {
  BASE_DTYPES,
  type BaseDtype,
  COMPUTE_DTYPES,
  type ComputeDtype,
  computeFingerprint,
  openModel,
  toLayerShapes,
} from "mixture-of-shards-core/models";
import { KINDS, type Kind, writeAdapters } from "./adapter-folders.ts";
import { fail, median, printResult, readArguments, rounded } from "./arguments.ts";

const HELP = `usage: bench:serve -- --model DIR|FILE.gguf [--base-dtype int4] [--streams 16] [--adapters 16] [--json]

So many clients at a time, each asking again when it was answered, each time with another adapter. Printed: new tokens a
second, all told (new_tokens_per_s) and behind the last first token of a round (decode_tokens_per_s).

  --base-dtype stored|float32|int8|int4|nf4 (stored)   --compute-dtype float32|int8 (what is best for it)
  --cache-dtype float32|float16 (float32)   --kind mos|lora (mos)
  --streams N (16)    --rounds N     answers of each stream (1; more where adapters are many)
  --adapters N (16)   adapters of the folder; 0: the base alone
  --draw round|uniform|zipf          how a request's adapter is drawn (round)
  --folder DIR        where adapters are kept; left out, they are removed in the end
  --prompt N (32)     --new N (64)   tokens
  --draft-tokens N (7) of a stream that is alone; answers to random prompts repeat themselves more than text does
  --first             time to the first token of a 500-token prompt, alone and while 8 streams run, instead
  --same              instead, of 16 requests, half of them sampled with a seed, how many have the answer that each has alone:
                      in batches of --streams, behind prefixes in the cache, and preempted where --cache-memory is small
  --deterministic     answers that depend on their requests alone   --max-rank N (256)   --cache-memory BYTES (enough)
  --dtype bfloat16|float32 (bfloat16) --memory BYTES (2e9)   --threads N (2)`;

const given = readArguments(HELP, {
  values: [
    ...[
      "model",
      "base-dtype",
      "compute-dtype",
      "cache-dtype",
      "kind",
      "streams",
      "rounds",
      "adapters",
      "draw",
      "folder",
      "prompt",
      "new",
    ],
    ...["dtype", "memory", "threads", "draft-tokens", "max-rank", "cache-memory"],
  ],
  flags: ["json", "first", "same", "deterministic"],
});

const path = given.text("model") ?? fail(HELP);
const baseDtype = given.choice<BaseDtype>("base-dtype", BASE_DTYPES);
const computeDtype =
  given.text("compute-dtype") === undefined
    ? undefined
    : given.choice<ComputeDtype>("compute-dtype", COMPUTE_DTYPES);
const kind = given.choice<Kind>("kind", ["mos", "lora"]);
const draw = given.choice("draw", ["round", "uniform", "zipf"] as const);
const streams = given.number("streams", 16);
const adapters = given.number("adapters", 16);
const [promptTokens, newTokens] = [given.number("prompt", 32), given.number("new", 64)];
const rounds = given.number("rounds", 1);

/** Index i with a probability as 1 / (i + 1): a few adapters have most requests. */
function zipf(random: Random, count: number): number {
  const total = Array.from({ length: count }, (_, i) => 1 / (i + 1)).reduce((a, b) => a + b, 0);
  let left = random.uniform() * total;
  for (let i = 0; i < count; i++) {
    left -= 1 / (i + 1);
    if (left < 0) return i;
  }
  return count - 1;
}

function pickAdapter(request: number, random: Random): string | null {
  if (adapters === 0) return null;
  const index =
    draw === "round"
      ? request % adapters
      : draw === "uniform"
        ? random.below(adapters)
        : zipf(random, adapters);
  return `tenant-${index}`;
}

let vocabularySize = 0;
const randomIds = (length: number, random: Random): readonly number[] =>
  Array.from({ length }, () => 3 + random.below(vocabularySize - 3));

interface Ask {
  readonly prompt: number;
  readonly answer: number;
  readonly adapter: string | null;
  readonly seed: number;
}

/** Sends one request; gives the times of its tokens. */
async function ask(engine: Engine, { prompt, answer, adapter, seed }: Ask): Promise<readonly number[]> {
  const times: number[] = [];
  const events: AsyncIterable<EngineEvent> = engine.submit({
    prompt: randomIds(prompt, randomStream(seed, "bench.prompt")),
    adapter,
    maxTokens: answer,
    ignoreEos: true,
    seed,
    tenant: "bench",
  });
  for await (const event of events) if (event.type === "token") times.push(performance.now());
  return times;
}

interface Throughput {
  readonly newTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
}

async function throughput(engine: Engine, answers: number, length: number): Promise<Throughput> {
  const random = randomStream(0, "bench.draw");
  let request = 0;
  const start = performance.now();
  const all: (readonly number[])[] = [];
  const stream = async (): Promise<void> => {
    for (let i = 0; i < answers; i++) {
      const seed = request++;
      const adapter = pickAdapter(seed, random);
      all.push(await ask(engine, { prompt: promptTokens, answer: length, adapter, seed }));
    }
  };
  await Promise.all(Array.from({ length: streams }, stream));
  const times = all.flat();
  const end = Math.max(...times);
  // with one answer a stream, as the peer counts: tokens behind the first ones, since the last of these
  const firsts = Math.max(...all.map(([first = 0]) => first));
  const later = times.filter((time) => time > firsts).length;
  return {
    newTokensPerSecond: (times.length * 1000) / (end - start),
    decodeTokensPerSecond: (later * 1000) / (end - firsts),
  };
}

/** Seconds to the first token of a prompt of 500. */
async function firstToken(engine: Engine, seed: number): Promise<number> {
  const start = performance.now();
  const [first = Number.NaN] = await ask(engine, {
    prompt: 500,
    answer: 1,
    adapter: pickAdapter(seed, randomStream(seed, "a")),
    seed,
  });
  return (first - start) / 1000;
}

async function firstTokens(engine: Engine): Promise<Readonly<Record<string, number>>> {
  const alone: number[] = [];
  const beside: number[] = [];
  for (let i = 0; i < 5; i++) alone.push(await firstToken(engine, 100 + i));
  const controller = new AbortController();
  const company = Array.from({ length: 8 }, (_, seed) =>
    ask(engine, {
      prompt: promptTokens,
      answer: 400,
      adapter: pickAdapter(seed, randomStream(seed, "a")),
      seed,
    }),
  );
  for (let i = 0; i < 5; i++) beside.push(await firstToken(engine, 200 + i));
  controller.abort();
  await Promise.all(company);
  return {
    first_token_alone_s: rounded(median(alone), 3),
    first_token_beside_8_s: rounded(median(beside), 3),
  };
}

/** What is said of an answer: its tokens, or these with their log-probabilities. */
interface Said {
  readonly ids: string;
  readonly scored: string;
}

async function answerTo(engine: Engine, seed: number, { tenant, cut = 0 }: { tenant: string; cut?: number }) {
  const prompt = randomIds(promptTokens + 9 * seed, randomStream(seed, "bench.prompt"));
  const sampling = { temperature: seed % 2 };
  const adapter = pickAdapter(seed, randomStream(seed, "a"));
  const asked = { adapter, ignoreEos: true, seed, sampling, logprobs: 1, tenant };
  const before = { ...asked, prompt: prompt.slice(0, cut), maxTokens: 1 };
  if (cut > 0) for await (const event of engine.submit(before)) void event;
  const said: { id: number; logprob: number | null }[] = [];
  for await (const event of engine.submit({ ...asked, prompt, maxTokens: newTokens }))
    if (event.type === "token")
      said.push({ id: event.id, logprob: unpackLogprobs(event)[0]?.logprob ?? null });
  return { ids: JSON.stringify(said.map(({ id }) => id)), scored: JSON.stringify(said) };
}

/** How many answers are those that their requests have alone. */
async function countSame(engine: Engine): Promise<Readonly<Record<string, string>>> {
  const seeds = Array.from({ length: 16 }, (_, i) => i);
  const alone: Said[] = [];
  for (const seed of seeds) alone.push(await answerTo(engine, seed, { tenant: `alone-${seed}` }));
  const describeSame = (answers: readonly Said[]): string => {
    const count = (name: keyof Said, part = seeds): number =>
      part.filter((seed) => answers[seed]?.[name] === alone[seed]?.[name]).length;
    const [greedy, sampled] = [0, 1].map((rest) =>
      count(
        "ids",
        seeds.filter((seed) => seed % 2 === rest),
      ),
    );
    return `${greedy} of 8 greedy, ${sampled} of 8 sampled; ${count("scored")} of 16 with log-probabilities`;
  };
  const computed = async (): Promise<number> => (await engine.stats()).promptTokens;
  const [before, beside] = [
    await computed(),
    await Promise.all(seeds.map((seed) => answerTo(engine, seed, { tenant: `beside-${seed}` }))),
  ];
  const asked = seeds.reduce((sum, seed) => sum + promptTokens + 9 * seed, 0);
  const again = (await computed()) - before - asked;
  const behind: Said[] = [];
  for (const seed of seeds)
    behind.push(await answerTo(engine, seed, { tenant: `behind-${seed}`, cut: promptTokens + 5 * seed }));
  return {
    beside_others: describeSame(beside),
    prompt_tokens_computed_again: `${again}`,
    behind_a_prefix: describeSame(behind),
  };
}

async function prepare(folder: string): Promise<void> {
  await using files = await openModel(path);
  vocabularySize = files.config.vocabularySize;
  const shapes = toLayerShapes(files.config);
  if (adapters > 0)
    await writeAdapters(folder, {
      shapes,
      kind,
      count: adapters,
      fingerprint: await computeFingerprint(files),
    });
}

const folder = given.text("folder") ?? (await mkdtemp(join(tmpdir(), "bench-serve-")));
try {
  await prepare(folder);
  await using engine = await openEngine({
    model: path,
    baseDtype,
    computeDtype,
    cacheDtype: given.choice<"float32" | "float16">("cache-dtype", ["float32", "float16"]),
    ...(adapters > 0 ? { adapters: folder } : {}),
    adapterDtype: given.choice<"bfloat16" | "float32">("dtype", ["bfloat16", "float32"]),
    adapterMemory: given.number("memory", 2e9),
    maxBatch: given.flag("same") ? streams : Math.max(16, streams),
    deterministic: given.flag("deterministic"),
    maxAdapterRank: given.number("max-rank", 256),
    ...(given.text("cache-memory") === undefined ? {} : { cacheMemory: given.number("cache-memory", 0) }),
    draftTokens: given.number("draft-tokens", 7),
    threads: given.number("threads", 2),
  });
  if (!given.flag("same")) await throughput(engine, 1, 8);
  const measured = given.flag("same")
    ? await countSame(engine)
    : given.flag("first")
      ? await firstTokens(engine)
      : await throughput(engine, rounds, newTokens).then(({ newTokensPerSecond, decodeTokensPerSecond }) => ({
          new_tokens_per_s: rounded(newTokensPerSecond, 1),
          decode_tokens_per_s: rounded(decodeTokensPerSecond, 1),
        }));
  const { adapters: managed } = await engine.stats();
  printResult(
    {
      baseDtype,
      computeDtype: engine.model.computeDtype,
      streams,
      adapters,
      kind: adapters > 0 ? KINDS[kind].method : "base",
      draw,
      ...measured,
      hits: managed.hits,
      misses: managed.misses,
      evictions: managed.evictions,
    },
    given.flag("json"),
  );
} finally {
  if (given.text("folder") === undefined) await rm(folder, { recursive: true, force: true });
}
