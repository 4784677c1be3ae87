// Speed and memory of fine-tuning, beside the peers' scripts with the same arguments (see docs/explanation/benchmarks.md).
import { basename } from "node:path";
import { type AdapterConfigInput, createAdapter, parseAdapterConfig } from "mixture-of-shards-core/adapters";
import { randomStream } from "mixture-of-shards-core/common";
import { type EncodedExample, encodeExamples, readDataset } from "mixture-of-shards-core/data";
import {
  type BaseDtype,
  type BaseModel,
  baseFromFiles,
  COMPUTE_DTYPES,
  type LoadedModel,
  loadBase,
  loadModelText,
  openModel,
  toLayerShapes,
} from "mixture-of-shards-core/models";
import {
  adapterModel,
  countSteps,
  initialState,
  planMemory,
  type StepEvent,
  type TrainSettings,
  train,
} from "mixture-of-shards-core/training";
import { cpuSeconds, fail, median, peakMemory, printResult, readArguments, rounded } from "./arguments.ts";

const HELP = `usage: bench:train -- --model DIR|FILE.gguf [--batch 4] [--seq 256] [--labelled 1.0] [--steps 8] [--json]
       bench:train -- --model DIR|FILE.gguf --data train.jsonl [--max-examples 128] [--batch 8] [--row-length N] [--json]

The first form trains on random tokens of one shape; of each row the last part, --labelled, counts in the loss.
The second trains on the first examples of a file, as "mos train --prompt-format chatml" does, once through.

  --batch N           rows of an update; with --data, examples of an update on average: packed rows hold several
                      examples, so the rows of an update are chosen to hold N times the mean number of tokens
  --row-length N      tokens of a packed row; left out, a little above 512 so that whole rows make up an update
  --no-packing        one example a row, padded to the longest of the batch
  --method lora|mos   lora: rank 8, alpha 16; mos: --equivalent-rank 2, rank 8
  --rank N            --threads N (2)
  --base-dtype stored|float32|int8|int4|nf4   how the base is kept (stored)
  --compute-dtype float32|int8   what the base's products are computed in (as "mos train" chooses)
  --profile PREFIX    also write the runtime's own profile

A step is everything from a batch to the updated adapter. Loading and tokenising are not counted, and neither is the
first step, in which the program is compiled.`;

const given = readArguments(HELP, {
  values: [
    ...["model", "data", "max-examples", "batch", "seq", "labelled", "steps", "row-length"],
    ...["method", "equivalent-rank", "rank", "threads", "profile", "base-dtype", "compute-dtype"],
  ],
  flags: ["json", "no-packing"],
});
const path = given.text("model") ?? fail(HELP);
const data = given.text("data");
const batch = given.number("batch", data === undefined ? 4 : 8);
const seq = given.number("seq", 256);
const labelled = given.number("labelled", 1);
const packing = !given.flag("no-packing");

function adapterConfig(): AdapterConfigInput {
  const method = given.text("method") ?? "lora";
  const rank = given.number("rank", 8);
  if (method === "lora") return { method, rank, alpha: 16 };
  if (method === "mos") return { method, rank, equivalentRank: given.number("equivalent-rank", 2) };
  return fail(`--method ${method}: lora and mos are measured`);
}

/** What is trained on, and how an update is laid out. */
interface Work {
  readonly examples: readonly EncodedExample[];
  readonly rows: number;
  readonly maxLength: number;
}

function randomWork(vocabulary: number): Work {
  const random = randomStream(0, "bench");
  const masked = Math.floor(seq * (1 - labelled));
  const examples = Array.from({ length: batch * given.number("steps", 8) }, (_, line): EncodedExample => {
    const ids = Int32Array.from({ length: seq }, () => Math.floor(random.uniform() * vocabulary));
    const labels = ids.map((id, i) => (i < masked ? -100 : id));
    const targetTokens = seq - Math.max(1, masked);
    return { line, ids, labels, targetTokens, truncated: false, truncatedTargets: 0 };
  });
  return { examples, rows: batch, maxLength: seq };
}

async function fileWork(file: string, { model, text }: BaseModel): Promise<Work> {
  const { examples } = await readDataset(file);
  const { encoded, report } = await encodeExamples(examples.slice(0, given.number("max-examples", 128)), {
    tokenizer: text.tokenizer,
    template: text.template,
    maxLength: model.config.maxPositions,
    promptFormat: "chatml",
  });
  if (!packing) return { examples: encoded, rows: batch, maxLength: model.config.maxPositions };
  const tokens = (batch * report.tokens) / report.examples;
  // rows of about 512 tokens, with room for the 4 % that packing leaves empty
  const even = tokens / Math.max(1, Math.floor(tokens / Math.max(512, report.longest)));
  const maxLength = given.number("row-length", Math.max(report.longest, Math.ceil((1.04 * even) / 16) * 16));
  return { examples: encoded, rows: Math.max(1, Math.round(tokens / maxLength)), maxLength };
}

const baseDtype = given.choice<BaseDtype>("base-dtype", ["stored", "float32", "int8", "int4", "nf4"]);
/** The base as "mos train" keeps it where there is room. */
async function loadPlanned(): Promise<LoadedModel> {
  const computeDtype =
    given.text("compute-dtype") === undefined ? undefined : given.choice("compute-dtype", COMPUTE_DTYPES);
  await using files = await openModel(path);
  const planned = planMemory(baseFromFiles(files), parseAdapterConfig(adapterConfig(), "bench"), {
    baseDtype,
    computeDtype,
    batchSize: batch,
    maxLength: seq,
    gradientAccumulationSteps: 1,
    evaluates: false,
    free: undefined,
  });
  return await loadBase(path, { baseDtype, ...planned });
}
const loaded = await loadPlanned();
const base: BaseModel = { model: loaded, text: await loadModelText(loaded.source) };
const { config } = base.model;
const work = data === undefined ? randomWork(config.vocabularySize) : await fileWork(data, base);
const adapter = createAdapter(parseAdapterConfig(adapterConfig(), "bench"), toLayerShapes(config));
const model = adapterModel(base.model, adapter);
const layout: Omit<TrainSettings, "steps"> = {
  learningRate: 1e-4,
  schedule: "constant",
  warmup: 0,
  maxGradientNorm: 0,
  gradientAccumulationSteps: 1,
  batchSize: work.rows,
  maxLength: work.maxLength,
  packing,
  dropout: 0,
  seed: 0,
  padToken: config.padToken ?? 0,
  evaluateEvery: 0,
  saveEvery: 0,
};
const lengths = work.examples.map(({ ids }) => ids.length);
const profile = given.text("profile");
const steps: StepEvent[] = [];
/** CPU seconds of all threads when each step had ended: other load on the machine changes them little. */
const cpu: number[] = [];
for await (const event of train({
  model,
  settings: { ...layout, steps: countSteps(lengths, 1, layout) },
  train: work.examples,
  validation: [],
  state: initialState(model.parameters),
  session: { threads: given.number("threads", 2), ...(profile === undefined ? {} : { profile }) },
  now: () => performance.now(),
}))
  if (event.type === "step") {
    steps.push(event);
    cpu.push(cpuSeconds());
  }

const counted = steps.slice(1);
const sum = (of: (step: StepEvent) => number): number => counted.reduce((total, step) => total + of(step), 0);
const total = sum(({ seconds }) => seconds);
const median_step_s = median(counted.map(({ seconds }) => seconds));
printResult(
  {
    method: adapter.config.method,
    rank: adapter.config.rank,
    base_dtype: baseDtype,
    compute_dtype: [...loaded.weights.values()].some(({ format }) => format.kind === "int8rows")
      ? "int8"
      : "float32",
    data: data === undefined ? null : basename(data),
    batch,
    seq: data === undefined ? seq : null,
    labelled: data === undefined ? labelled : null,
    rows: work.rows,
    row_length: work.maxLength,
    updates: steps.length,
    median_step_s: rounded(median_step_s, 3),
    tokens_per_s: rounded(
      data === undefined ? (batch * seq) / median_step_s : sum(({ tokens }) => tokens) / total,
      1,
    ),
    tokens_per_cpu_s: rounded(
      sum(({ tokens }) => tokens) / ((cpu.at(-1) ?? Number.NaN) - (cpu[0] ?? Number.NaN)),
      1,
    ),
    examples_per_s: rounded(sum(({ examples }) => examples) / total, 3),
    loss: rounded(steps.at(-1)?.loss ?? Number.NaN, 4),
    peak_rss_gb: peakMemory(),
  },
  given.flag("json"),
);
