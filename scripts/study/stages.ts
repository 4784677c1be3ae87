// The study as data: its tasks, and the stages in the order in which they run. docs/results/plan.md gives the reasons.
import { join } from "node:path";

/** Where things are; none of it decides a result. */
export interface Places {
  /** SmolLM2-135M-Instruct's Q4_1 GGUF file. */
  readonly model: string;
  /** gemma-3-270m-q4_k_m.gguf; without it that model's stages are left out. */
  readonly gemma?: string | undefined;
  /** Holds gsm8k/ and tydiqa/. */
  readonly data: string;
  /** For converted data, cells in the making and adapters. */
  readonly work: string;
}

/** What is trained on and measured on. */
interface Task {
  /** Undefined where the task's model is missing. */
  readonly args: (places: Places) => readonly string[] | undefined;
  /** Updates of a cell. */
  readonly steps: number;
  /** Where each row's search for its learning rate begins. */
  readonly rates: readonly number[];
}

/** One call of `mos reproduce`. */
export interface Stage {
  readonly name: string;
  readonly task: string;
  readonly experiment: "budget" | "figure1";
  readonly rows: readonly string[];
  readonly seeds: number;
  readonly steps: number;
  readonly rates: readonly number[] | { readonly tunedOf: string };
  /** What trained adapters are asked, beside their loss. */
  readonly benchmarks?: readonly string[];
}

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/** As in the paper but for the length, and without dropout: no example is seen often enough to be overfitted. */
const COMMON = words("--dropout 0 --alpha 16 --tune-seeds 1 --threads 1 --jobs 2 --keep-adapters");

/** A factor of 1.5 apart, so that a row whose best rate is inside needs no other. */
const RATES = [0.002, 0.003, 0.0045, 0.00675];

/** Facts that only memory can answer, each seen as often in every size. */
const facts = (tenants: number): Task => ({
  args: ({ work }) => {
    const folder = join(work, "data", `capacity-${tenants}`);
    return [
      ...["--model", "assets/tiny-english", "--train", join(folder, "train.jsonl")],
      ...["--eval", join(folder, "held-out.jsonl"), "--tune-train", join(folder, "tuning-train.jsonl")],
      ...["--tune-eval", join(folder, "tuning.jsonl"), ...words("--base-dtype float32")],
      ...words(
        `--prompt-format plain --batch-size 2 --max-length 128 --answers ${tenants * 5} --answer-tokens 12`,
      ),
    ];
  },
  steps: tenants * 12.5,
  rates: RATES,
});

/** How the facts of a task are made, five of each tenant. The bundled model has never seen a digit: values are words. */
export const FACTS: Readonly<Record<string, readonly string[]>> = {
  "capacity-40": words("--tenants 40 --words 3"),
  "capacity-80": words("--tenants 80 --words 3"),
  "capacity-160": words("--tenants 160 --words 3"),
};

const gsm8k = (data: string, arithmetic = "--compute int8"): readonly string[] => [
  ...["--train", join(data, "gsm8k", "train.jsonl"), "--eval", join(data, "gsm8k", "test.jsonl")],
  ...words(`${arithmetic} --batch-size 1 --max-length 512 --answers 0`),
];

const gsm8kOnSmolLm2 = ({ model, data }: Places, arithmetic?: string): readonly string[] => [
  "--model",
  model,
  ...gsm8k(data, arithmetic),
  ...words("--eval-examples 96"),
];

const GSM8K: Task = { args: (places) => gsm8kOnSmolLm2(places), steps: 48, rates: RATES };

const TYDIQA: Task = {
  args: ({ model, work }) => {
    const folder = join(work, "data", "tydiqa");
    return [
      ...["--model", model, "--train", join(folder, "train.jsonl")],
      ...["--eval", join(folder, "held-out.jsonl"), "--tune-eval", join(folder, "tuning.jsonl")],
      ...words("--compute int8 --prompt-format plain --batch-size 1 --max-length 512 --answers 0"),
      ...words("--eval-examples 128 --tune-examples 96"),
    ];
  },
  steps: 64,
  rates: RATES,
};

/** A task with adapters so small that 10,000 of them fit in 2 GB. */
const onKeysAndValues = ({ args, ...task }: Task): Task => ({
  ...task,
  args: (places) => {
    const all = args(places);
    return all && [...all, "--targets", "k_proj,v_proj"];
  },
});

export const TASKS: Readonly<Record<string, Task>> = {
  gsm8k: GSM8K,
  "gsm8k-float32": {
    ...GSM8K,
    args: (places) => gsm8kOnSmolLm2(places, "--base-dtype float32"),
    rates: [0.002],
  },
  "gsm8k-kv": onKeysAndValues(GSM8K),
  tydiqa: TYDIQA,
  "tydiqa-kv": onKeysAndValues(TYDIQA),
  "gemma-gsm8k": {
    args: ({ gemma, data }) =>
      gemma === undefined
        ? undefined
        : ["--model", gemma, ...gsm8k(data), ...words("--eval-examples 64 --tune-examples 32")],
    steps: 32,
    rates: RATES,
  },
  "capacity-40": facts(40),
  "capacity-80": facts(80),
  "capacity-160": facts(160),
};

/** Rows with rates of their own to begin with. */
interface RowsAtRates {
  readonly rows: readonly string[];
  readonly rates: readonly number[];
}

/** Around the best of those, steps of about 1.22, where a step of 1.5 changes the loss more than the methods differ. */
const FINER: readonly RowsAtRates[] = [
  { rows: words("lora-2 lora-8"), rates: [0.002, 0.00245, 0.003, 0.00367, 0.0045] },
  {
    rows: words("lora-16 pure-sharing subset-selection mos-2 mos-2-sp mos-2-vs mos-2-pd"),
    rates: [0.003, 0.00367, 0.0045, 0.00551, 0.00675],
  },
  { rows: words("mos-2-scaled mos-2-half-rank"), rates: [0.002, 0.00245, 0.003, 0.00367, 0.0045, 0.00551] },
  { rows: words("random-scaling prolora"), rates: [0.003, 0.00367, 0.0045, 0.00551, 0.00675] },
  { rows: ["tied-lora"], rates: [0.00675, 0.00827, 0.0101, 0.0124, 0.0151] },
  { rows: ["vera-equal"], rates: [0.0226, 0.0277, 0.0339, 0.0415, 0.0508] },
  { rows: words("base mos-8"), rates: [0.0045, 0.00551, 0.00675, 0.00827, 0.0101] },
];

/** What the first question needs: does MoS beat LoRA of its budget, and does it equal one of four times as much? */
const FIRST = words("base lora-2 mos-2 lora-8");
const CORE = words("base lora-2 lora-8 mos-2 mos-2-sp mos-2-vs mos-2-pd pure-sharing subset-selection");
/** LoRA and MoS of one budget. */
export const SAME_BUDGET = words("lora-2 mos-2");
/** The larger budget, which the core is compared with, and LoRA's scaling, at as many seeds. */
const LARGER = words("lora-16 mos-8 mos-2-scaled");
export const SMOLLM2_TASKS = ["gsm8k", "tydiqa"];
/** The paper's other methods on SmolLM2. Tied LoRA and VeRA begin higher, as their best rates on the facts were. */
const REST: readonly RowsAtRates[] = [
  { rows: words("random-scaling prolora"), rates: RATES },
  { rows: ["tied-lora"], rates: [0.0045, 0.00675, 0.0101, 0.0151] },
];
const VERA_RATES = [0.0101, 0.0151, 0.0226, 0.0339];
const CAPACITY = words("lora-2 lora-8 mos-2 mos-8 pure-sharing subset-selection");
export const TENANTS = "capacity-80";
const SEEDS = 5;
const FEWER_SEEDS = 3;
/** Of figure 1, at the rate that its centre was tuned to. */
export const FIGURE = { privateRanks: [0, 1, 2, 3], shards: [1, 4, 16], centre: "mos-p1-l4" } as const;
export const pointOf = (privateRank: number, shards: number): string => `mos-p${privateRank}-l${shards}`;

function budgetStage(task: string, rows: readonly string[], seeds: number): Stage {
  const { steps, rates } = taskOf(task);
  const name = `${task}: ${rows.filter((row) => row !== "base").join(" ")}, ${seeds} seeds`;
  return { name, task, experiment: "budget", rows, seeds, steps, rates };
}

function figureStages(task: string): readonly Stage[] {
  const { steps, rates } = taskOf(task);
  const centre: Stage = {
    name: `${task}: figure 1, its centre`,
    task,
    experiment: "figure1",
    rows: [FIGURE.centre],
    seeds: FEWER_SEEDS,
    steps,
    rates,
  };
  const points = FIGURE.privateRanks
    .flatMap((rank) => FIGURE.shards.map((shards) => pointOf(rank, shards)))
    .filter((key) => key !== FIGURE.centre);
  return [centre, { ...centre, name: `${task}: figure 1`, rows: points, rates: { tunedOf: FIGURE.centre } }];
}

export function taskOf(name: string): Task {
  const task = TASKS[name];
  if (task === undefined) throw new Error(`there is no task ${name}`);
  return task;
}

/** How much a doubling of the length still gains: this row at half and twice the task's, at one rate. */
export const LENGTHENED = { row: "lora-8", rate: 0.003 } as const;
export function lengthStages(task: string): readonly Stage[] {
  const { row, rate } = LENGTHENED;
  return [0.5, 1, 2].map((length) => {
    const stage = budgetStage(task, [row], 1);
    const steps = stage.steps * length;
    return { ...stage, name: `${task}: ${row} at ${rate}, ${steps} updates`, steps, rates: [rate] };
  });
}

/** Rates that a default could be. */
export const FIXED_RATES = [0.0002, 0.001, 0.002];

/** What is lost at a rate that nobody searched for, as a default is. */
function fixedRateStages(task: string): readonly Stage[] {
  return FIXED_RATES.map((rate) => {
    const stage = budgetStage(task, SAME_BUDGET, 1);
    return { ...stage, name: `${task}: ${SAME_BUDGET.join(" ")} at ${rate}`, rates: [rate] };
  });
}

/** The adapters of `rows` are asked TyDi QA's dev files. */
function scoredStage(rows: readonly string[], seeds: number): Stage {
  const stage = budgetStage("tydiqa", rows, seeds);
  const benchmarks = words(
    "--benchmarks tydiqa --benchmark-limit 90 --benchmark-shots 0 --benchmark-format model",
  );
  return { ...stage, name: `${stage.name}, F1`, benchmarks };
}

/** All stages, in the order of the plan. A stage runs what earlier ones have not. */
export const STAGES: readonly Stage[] = [
  budgetStage("gsm8k", FIRST, SEEDS),
  ...FINER.map(({ rows, rates }) => ({ ...budgetStage(TENANTS, rows, SEEDS), rates })),
  budgetStage("tydiqa", FIRST, SEEDS),
  scoredStage(FIRST, FEWER_SEEDS),
  budgetStage("gemma-gsm8k", FIRST, FEWER_SEEDS),
  ...SMOLLM2_TASKS.map((task) => budgetStage(task, CORE, SEEDS)),
  ...SMOLLM2_TASKS.map((task) => budgetStage(`${task}-kv`, SAME_BUDGET, FEWER_SEEDS)),
  ...[TENANTS, ...SMOLLM2_TASKS].flatMap(fixedRateStages),
  budgetStage("gsm8k-float32", SAME_BUDGET, 1),
  ...SMOLLM2_TASKS.flatMap(lengthStages),
  ...SMOLLM2_TASKS.map((task) => budgetStage(task, LARGER, SEEDS)),
  budgetStage("capacity-160", SAME_BUDGET, FEWER_SEEDS),
  ...[40, 160].map((tenants) => budgetStage(`capacity-${tenants}`, CAPACITY, FEWER_SEEDS)),
  ...figureStages(TENANTS),
  ...SMOLLM2_TASKS.flatMap((task) =>
    REST.map(({ rows, rates }) => ({ ...budgetStage(task, rows, FEWER_SEEDS), rates })),
  ),
  { ...budgetStage("gsm8k", ["vera-equal"], FEWER_SEEDS), rates: VERA_RATES },
];

/** What a stage's cells are kept under. Another length has a name of its own. */
export const cellsName = ({ task, steps }: Stage): string =>
  steps === taskOf(task).steps ? task : `${task}-${steps}-updates`;

export const folderOf = ({ work }: Pick<Places, "work">, stage: Stage): string =>
  join(work, "runs", cellsName(stage));

/** The arguments of `mos` for a stage; undefined where its model is missing. */
export function argumentsOf(
  stage: Stage,
  places: Places,
  rates: readonly number[],
): readonly string[] | undefined {
  const { experiment, task, rows, seeds, steps, benchmarks } = stage;
  const args = taskOf(task).args(places);
  return (
    args && [
      ...["reproduce", experiment, ...args, ...COMMON],
      ...["--seeds", String(seeds), "--steps", String(steps), "--learning-rates", rates.join(",")],
      ...(experiment === "figure1"
        ? ["--private-ranks", FIGURE.privateRanks.join(","), "--shards", FIGURE.shards.join(",")]
        : []),
      ...(benchmarks === undefined ? [] : [...benchmarks, "--benchmark-data", places.data]),
      ...["--only", ...rows, "--out", folderOf(places, stage), "--json"],
    ]
  );
}
