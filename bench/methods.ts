// What a training step costs with each method, beside LoRA of the same rank (see docs/explanation/benchmarks.md).
import {
  METHOD_NAMES,
  type MethodName,
  methods,
  parseAdapterConfig,
  startAdapter,
} from "mixture-of-shards-core/adapters";
import { randomStream } from "mixture-of-shards-core/common";
import type { EncodedExample } from "mixture-of-shards-core/data";
import { loadModel, toBaseShapes } from "mixture-of-shards-core/models";
import { adapterModel, initialState, type TrainEvent, train } from "mixture-of-shards-core/training";
import { fail, median, readArguments, rounded } from "./arguments.ts";

const HELP = `usage: bench:methods -- --model DIR|FILE.gguf [--methods mos,vera] [--rank 8] [--batch 4] [--seq 256] [--steps 9] [--json]

Every method makes its steps alternately with LoRA, in one process, on the same random tokens, so that whatever else the
machine does meets both. Printed: the median seconds of a step of both, and the median of the steps' own ratios.

  --methods A,B       left out, all but LoRA
  --rank N            of the factors of all methods; pure sharing and random scaling share so many pairs
  --equivalent-rank N of mos and subset-selection (2)
  --dropout P         the same for both (0)
  --threads N         (2)`;

const given = readArguments(HELP, {
  values: ["model", "methods", "rank", "equivalent-rank", "dropout", "batch", "seq", "steps", "threads"],
  flags: ["json"],
});
const path = given.text("model") ?? fail(HELP);
const [batch, seq] = [given.number("batch", 4), given.number("seq", 256)];
const steps = given.number("steps", 9);
const [rank, dropout] = [given.number("rank", 8), given.number("dropout", 0)];
const equivalentRank = given.number("equivalent-rank", 2);

const others = METHOD_NAMES.filter((name) => name !== "lora");
const measured = (given.text("methods")?.split(",") ?? others).map(
  (name): MethodName =>
    METHOD_NAMES.find((known) => known === name) ??
    fail(`--methods ${name}: ${METHOD_NAMES.join(", ")} are known`),
);

/** Settings of a method at the rank asked for: those that it has. */
const chooseSettings = (method: MethodName): unknown => ({
  method,
  ...Object.fromEntries(
    Object.entries({ rank, dropout, equivalentRank }).filter(([name]) => name in methods[method].example),
  ),
});

const { model: base } = await loadModel(path);
const random = randomStream(0, "bench");
const examples = Array.from({ length: batch * (steps + 1) }, (_, line): EncodedExample => {
  const ids = Int32Array.from({ length: seq }, () => random.below(base.config.vocabularySize));
  return { line, ids, labels: ids, targetTokens: seq - 1, truncated: false, truncatedTargets: 0 };
});

/** The steps of a method, one at a time. */
async function trainSteps(method: MethodName): Promise<AsyncIterator<TrainEvent>> {
  const adapter = await startAdapter(parseAdapterConfig(chooseSettings(method), "bench"), toBaseShapes(base));
  const model = adapterModel(base, adapter);
  const settings = {
    steps: steps + 1, // the first compiles the program
    learningRate: 1e-4,
    schedule: "constant" as const,
    warmup: 0,
    maxGradientNorm: 0,
    gradientAccumulationSteps: 1,
    batchSize: batch,
    maxLength: seq,
    packing: true,
    dropout,
    seed: 0,
    padToken: base.config.padToken ?? 0,
    evaluateEvery: 0,
    saveEvery: 0,
  };
  return train({
    model,
    settings,
    train: examples,
    validation: [],
    state: initialState(model.parameters),
    session: { threads: given.number("threads", 2) },
    now: () => performance.now(),
  })[Symbol.asyncIterator]();
}

async function nextStep(events: AsyncIterator<TrainEvent>): Promise<number> {
  for (;;) {
    const { done, value } = await events.next();
    if (done === true) return fail("the run ended early");
    if (value.type === "step") return value.seconds;
  }
}

for (const method of measured) {
  const runs = await Promise.all([trainSteps("lora"), trainSteps(method)]);
  const seconds: (readonly [lora: number, other: number])[] = [];
  for (let step = 0; step <= steps; step++) {
    // the one that goes first changes, so that neither always follows the other
    const inTurn = step % 2 === 0 ? runs : ([runs[1], runs[0]] as const);
    const [first, second] = [await nextStep(inTurn[0]), await nextStep(inTurn[1])];
    if (step > 0) seconds.push(step % 2 === 0 ? [first, second] : [second, first]);
  }
  for (const run of runs) await run.return?.();
  const result = {
    method,
    rank,
    lora_step_s: rounded(median(seconds.map(([lora]) => lora)), 3),
    step_s: rounded(median(seconds.map(([, other]) => other)), 3),
    ratio: rounded(median(seconds.map(([lora, other]) => other / lora)), 3),
  };
  console.log(
    given.flag("json")
      ? JSON.stringify(result)
      : `${method.padEnd(18)} ${result.step_s} s a step, LoRA ${result.lora_step_s} s: ${result.ratio} ×`,
  );
}
