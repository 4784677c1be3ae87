// Stands in for a cell's process: writes a result without training, or does what the cell's system message says. Plain JavaScript,
// because it is started a hundred times: it answers as packages/core/src/process/serve-parent.ts does.
import { appendFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

let id;
let isAborted = false;
const tell = (event) => {
  const { type, ...error } = event;
  process.send?.(type === "failed" ? { type: "failure", id, error } : { type: "event", id, event });
};

/** Lower for MoS and for the rate 0.01, and different for every seed. */
const makeLoss = ({ key, learningRate, seed }) =>
  (key.startsWith("mos") ? 1 : 2) + (learningRate === 0.01 ? 0 : 0.5) + ((seed * 37) % 11) / 100;

/** Of the benchmarks asked for, without GSM8K where the message says so. */
const makeScores = ({ benchmarks, seed }, wish) =>
  benchmarks
    .filter(({ task }) => !(task === "gsm8k" && wish === "no gsm8k"))
    .map(({ task, identity, rules, format }) => ({
      ...{ task, identity, rules, format, metric: "exact_match", scores: { exact_match: 0.25 + seed / 4 } },
      ...{ questions: 4, tooLong: 0, shots: 0, seconds: 1 },
    }));

const makeResult = (spec, wish) => ({
  format: 1,
  identity: spec.identity,
  key: spec.key,
  purpose: spec.purpose,
  learningRate: spec.learningRate,
  seed: spec.seed,
  trainable: 10,
  losses: [3, 2],
  validationLoss: makeLoss(spec),
  validationExamples: 4,
  ...(spec.evaluation.answers === 0
    ? {}
    : { answers: { correct: spec.key.startsWith("mos") ? 3 : 1 + (spec.seed % 2), total: 4 } }),
  ...(spec.benchmarks.length === 0 ? {} : { benchmarks: makeScores(spec, wish) }),
  tokens: 100,
  seconds: { total: 2, load: 0.1, training: 1, step: 0.5, evaluation: 0.1, answers: 0 },
  peakMemoryBytes: 2e9,
  jobs: spec.jobs,
});

/** Ways in which a first attempt ends without a result. */
const FIRST_ENDS = {
  "stop once": { type: "stopped" },
  "refuse once": { type: "failed", code: "storage", message: "the disk is full" },
};

/** Ways in which an attempt ends after writing a result. */
const LAST_ENDS = { "no gsm8k": { type: "failed", code: "device", message: "the engine broke" } };

async function run(spec) {
  await mkdir(spec.folder, { recursive: true });
  if (isAborted) return;
  // one line for each attempt, in the order of all cells
  await appendFile(
    join(spec.folder, "..", "..", "..", "order.txt"),
    `${spec.key} ${spec.purpose} ${spec.seed} ${spec.learningRate} ${spec.fresh}\n`,
  );
  const wish = spec.key === "lora-2" && spec.seed === 0 ? (spec.settings.system ?? "") : "";
  tell({ type: "phase", phase: "training" });
  tell({ type: "progress", step: 1, steps: 2, loss: 3 });
  if (wish !== "hang") await end(spec, wish);
}

/** Ends the cell as its message says. */
async function end(spec, wish) {
  const marker = join(spec.folder, "crashed-before");
  const isFirst = await writeFile(marker, "", { flag: "wx" }).then(
    () => true,
    () => false,
  );
  if (wish === "crash" || (wish === "crash once" && isFirst)) {
    process.stderr.write("out of cheese\n");
    process.exit(7);
  }
  if (wish === "kill once" && isFirst) process.kill(process.pid, "SIGKILL");
  const early = isFirst ? FIRST_ENDS[wish] : undefined;
  if (early !== undefined) tell(early);
  else if (wish === "diverge" || (wish === "rate 0.1 diverges" && spec.learningRate === 0.1)) {
    const failure = { code: "diverged", message: "step 2: the loss is NaN" };
    await writeFile(
      join(spec.folder, "result.json"),
      JSON.stringify({ format: 1, identity: spec.identity, failure }),
    );
    tell({ type: "failed", ...failure });
  } else {
    await writeFile(join(spec.folder, "result.json"), JSON.stringify(makeResult(spec, wish)));
    tell(LAST_ENDS[wish] ?? { type: "finished" });
  }
  process.send?.({ type: "result", id });
}

process.on("message", (message) => {
  if (message === "exit") process.exit();
  else if (message.type === "abort") {
    isAborted = true;
    tell({ type: "stopped" });
    process.send?.({ type: "result", id });
  } else {
    ({ id } = message);
    void run(message.argument);
  }
});
