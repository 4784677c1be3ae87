// Greedy answers of requests with different adapters, side by side in one batch and each alone: token by token the same?
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Engine,
  type EngineRequest,
  openEngine,
  type TokenLogprob,
  unpackLogprobs,
} from "mixture-of-shards-core/inference";
import { loadModel } from "mixture-of-shards-core/models";
import { makeAdapters } from "../../bench/adapter-folders.ts";
import { fail, readArguments, rounded } from "../../bench/arguments.ts";

const HELP = `usage: npm run verify:mixed-batch -- --model DIR|FILE.gguf [--requests 32] [--adapters 16] [--new 48]

Serves so many requests, with half as many MoS as LoRA adapters of random numbers and some with none, in one batch and
then one by one in an engine of one row, in float32. Each prompt is asked of two adapters, so that it shows whether they
change anything. Printed: how many answers are equal, for each other one the first place that differs and how near the two
likeliest tokens are there, and one JSON line. Any difference ends this with 1.

Sums are not taken in the same order in both, so log-probabilities differ by some 1e-5: where the two likeliest tokens are
nearer than that, as can be where adapters of a large scale make noise of the text, either may come.

  --max-batch N (32)   --threads N
  --scale N   width of the adapters' numbers (0.5, where each adapter changes the answers)`;

const given = readArguments(HELP, {
  values: ["model", "requests", "adapters", "new", "max-batch", "scale", "threads"],
  flags: [],
});
const path = given.text("model") ?? fail(HELP);
const count = given.number("requests", 32);
const adapterCount = given.number("adapters", 16);
const newTokens = given.number("new", 48);
const maxBatch = given.number("max-batch", 32);

const SENTENCES = [
  "The capital of France is",
  "Once upon a time, in a small village by the sea, there lived",
  "When can I come in?",
  "Water boils at 100 degrees because",
  "1, 1, 2, 3, 5, 8,",
  "Dear Sir or Madam, I am writing to",
  "My favourite animal is",
];

/** Texts from a few tokens to some hundreds, so that rows read and write at different times. */
const makeText = (i: number): string =>
  Array.from({ length: 1 + ((i * 5) % 12) }, (_, k) => SENTENCES[(i + k) % SENTENCES.length]).join(" ");

/** The first half of the requests has all adapters in turn; in the second half, some have none. */
function makeRequests(
  encode: (text: string) => readonly number[],
  names: readonly string[],
): readonly EngineRequest[] {
  const half = Math.ceil(count / 2);
  const pickAdapter = (i: number): string | null =>
    i >= half && i % 3 === 0 ? null : (names[(i < half ? i : i - half + 5) % names.length] ?? null);
  return Array.from({ length: count }, (_, i) => ({
    prompt: encode(makeText(i % half)),
    adapter: pickAdapter(i),
    maxTokens: newTokens,
    sampling: { temperature: 0 },
    ignoreEos: true,
    logprobs: 2,
    seed: 0,
    tenant: `tenant-${i % 3}`,
  }));
}

type Answer = readonly TokenLogprob[];

async function answer(engine: Engine, request: EngineRequest): Promise<Answer> {
  const tokens: TokenLogprob[] = [];
  for await (const event of engine.submit(request))
    if (event.type === "token") tokens.push(...unpackLogprobs(event));
  return tokens;
}

interface Served {
  readonly answers: readonly Answer[];
  /** Rows that wrote in a step, on average. */
  readonly occupancy: number;
  readonly seconds: number;
}

async function serve(adapters: string, requests: readonly EngineRequest[], rows: number): Promise<Served> {
  await using engine = await openEngine({
    model: path,
    adapters,
    maxBatch: rows,
    computeDtype: "float32", // products in int8 round otherwise beside other rows
    threads: given.number("threads", 0),
  });
  const start = performance.now();
  const answers: Answer[] = [];
  if (rows > 1) answers.push(...(await Promise.all(requests.map((request) => answer(engine, request)))));
  else for (const request of requests) answers.push(await answer(engine, request));
  const { steps, decodedTokens } = await engine.stats();
  return { answers, occupancy: decodedTokens / steps, seconds: (performance.now() - start) / 1000 };
}

const joinIds = (tokens: Answer): string => tokens.map(({ id }) => id).join(" ");

/** How much likelier the first token is than the second, there. */
const gapAt = (tokens: Answer, place: number): number => {
  const [first, second] = tokens[place]?.top ?? [];
  return (first?.logprob ?? Number.NaN) - (second?.logprob ?? Number.NaN);
};

/** Says where two answers part; true if they do not. */
function compare(request: EngineRequest, together: Answer, alone: Answer): boolean {
  if (together.length === newTokens && joinIds(together) === joinIds(alone)) return true;
  const place = alone.findIndex(({ id }, i) => id !== together[i]?.id);
  console.log(
    `${request.adapter ?? "no adapter"}, prompt of ${request.prompt.length}: differs at token ${place} of ` +
      `${together.length}, where the likeliest is ahead by ${gapAt(alone, place).toExponential(1)}`,
  );
  return false;
}

/** The largest difference of log-probabilities, as far as the tokens are the same. */
function drift(together: Served, alone: Served): number {
  const differences = together.answers.flatMap((tokens, i) => {
    const others = alone.answers[i] ?? [];
    const parting = tokens.findIndex(({ id }, k) => id !== others[k]?.id);
    return tokens
      .slice(0, parting < 0 ? tokens.length : parting)
      .map(({ logprob }, k) => Math.abs((logprob ?? 0) - (others[k]?.logprob ?? 0)));
  });
  return Math.max(...differences);
}

const folder = await mkdtemp(join(tmpdir(), "mixed-batch-"));
try {
  const base = await loadModel(path);
  const numbers = { count: adapterCount, scale: given.number("scale", 0.5) };
  const names = await makeAdapters(folder, base.model, numbers);
  const requests = makeRequests((text) => base.text.tokenizer.encode(text), names);
  const together = await serve(folder, requests, maxBatch);
  const alone = await serve(folder, requests, 1);
  const equal = requests.filter((request, i) =>
    compare(request, together.answers[i] ?? [], alone.answers[i] ?? []),
  ).length;
  const half = Math.ceil(count / 2);
  const pairs = alone.answers.slice(half).map((tokens, i) => [tokens, alone.answers[i] ?? []] as const);
  console.log(`${equal} of ${count} answers are equal in one batch and alone`);
  console.log(
    JSON.stringify({
      requests: count,
      adapters: new Set(requests.map(({ adapter }) => adapter)).size,
      equal,
      max_batch: maxBatch,
      mean_rows: rounded(together.occupancy, 1),
      largest_logprob_difference: drift(together, alone),
      least_gap: Math.min(...alone.answers.flatMap((tokens) => tokens.map((_, i) => gapAt(tokens, i)))),
      prompts_whose_adapters_differ: pairs.filter(([one, other]) => joinIds(one) !== joinIds(other)).length,
      batch_s: rounded(together.seconds, 1),
      alone_s: rounded(alone.seconds, 1),
    }),
  );
  process.exitCode = equal === count ? 0 : 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
