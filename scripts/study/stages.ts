// The study as data: its tasks, and the stages in the order in which they run. docs/results/plan.md gives the reasons.
import { join } from "node:path";

/** Where things are; none of it decides a result. */
export interface Places {
  /** SmolLM2-135M-Instruct's Q4_1 GGUF file. */
  readonly model: string;
  /** Holds gsm8k/ and tydiqa/. */
  readonly data: string;
  /** For converted data, cells in the making and adapters. */
  readonly work: string;
}

/** What is trained on and measured on. */
interface Task {
  readonly args: (places: Places) => readonly string[];
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
}

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/** As in the paper but for the length, and without dropout: no example is seen often enough to be overfitted. */
const COMMON = words("--dropout 0 --alpha 16 --tune-seeds 1 --threads 2 --jobs 1");

const SMOLLM2_RATES = [0.002, 0.0045, 0.01];

const smallFacts = (tenants: number): Task => ({
  args: ({ work }) => {
    const folder = join(work, "data", `capacity-${tenants}`);
    return [
      ...["--model", "assets/tiny-english", "--train", join(folder, "train.jsonl")],
      ...["--eval", join(folder, "held-out.jsonl"), "--tune-train", join(folder, "tuning-train.jsonl")],
      ...["--tune-eval", join(folder, "tuning.jsonl")],
      ...words(
        `--prompt-format plain --batch-size 8 --max-length 128 --answers ${tenants * 5} --answer-tokens 12`,
      ),
    ];
  },
  steps: 1000,
  rates: [0.003, 0.01, 0.03],
});

/** Tenants of the tasks in which an adapter keeps facts, five facts each. */
export const TENANTS: Readonly<Record<string, number>> = {
  tenants: 40,
  "capacity-100": 100,
  "capacity-200": 200,
  "capacity-400": 400,
};

export const TASKS: Readonly<Record<string, Task>> = {
  tenants: {
    args: ({ model, work }) => {
      const folder = join(work, "data", "tenants");
      return [
        ...["--model", model, "--train", join(folder, "train.jsonl")],
        ...["--eval", join(folder, "held-out.jsonl"), "--tune-train", join(folder, "tuning-train.jsonl")],
        ...["--tune-eval", join(folder, "tuning.jsonl")],
        ...words("--prompt-format plain --batch-size 4 --max-length 256 --answers 200 --answer-tokens 8"),
      ];
    },
    steps: 64,
    rates: SMOLLM2_RATES,
  },
  gsm8k: {
    args: ({ model, data }) => [
      ...["--model", model, "--train", join(data, "gsm8k", "train.jsonl")],
      ...["--eval", join(data, "gsm8k", "test.jsonl")],
      ...words("--batch-size 2 --max-length 512 --eval-examples 128 --answers 0"),
    ],
    steps: 64,
    rates: SMOLLM2_RATES,
  },
  tydiqa: {
    args: ({ model, data, work }) => {
      const folder = join(work, "data", "tydiqa");
      return [
        ...["--model", model, "--train", join(folder, "train.jsonl")],
        ...["--eval", join(folder, "held-out.jsonl"), "--tune-eval", join(folder, "tuning.jsonl")],
        ...words(
          "--prompt-format plain --batch-size 2 --max-length 512 --eval-examples 128 --tune-examples 96",
        ),
        ...words("--answers 0 --benchmarks tydiqa --benchmark-limit 180 --benchmark-shots 0"),
        ...["--benchmark-format", "model", "--benchmark-data", data],
      ];
    },
    steps: 64,
    rates: SMOLLM2_RATES,
  },
  "capacity-100": smallFacts(100),
  "capacity-200": smallFacts(200),
  "capacity-400": smallFacts(400),
};

const CORE = words("base lora-2 lora-8 mos-2 mos-2-sp mos-2-vs mos-2-pd pure-sharing subset-selection");
/** The larger budget, which the core is compared with, at as many seeds. */
const LARGER = words("lora-16 mos-8");
const REST = words("mos-2-scaled random-scaling vera-equal tied-lora prolora");
const CAPACITY = words("lora-2 lora-8 mos-2 mos-8 pure-sharing subset-selection");
const SMOLLM2_TASKS = ["tenants", "gsm8k", "tydiqa"];
const CAPACITIES = ["capacity-100", "capacity-200", "capacity-400"];
const SEEDS = 5;
const FEWER_SEEDS = 3;
/** Of figure 1, which is tuned, and its rate used for all: private ranks × shards. */
const CENTRE = "mos-p1-l4";
const POINTS = [0, 1, 2, 3].flatMap((rank) => [1, 4, 16].map((shards) => `mos-p${rank}-l${shards}`));

const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i + 1);

function budgetStage(task: string, rows: readonly string[], seeds: number): Stage {
  const { steps, rates } = taskOf(task);
  const name = `${task}: ${rows.filter((row) => row !== "base").join(" ")}, ${seeds} seeds`;
  return { ...{ name, task, experiment: "budget", rows, seeds }, steps, rates };
}

function figureStages(task: string): readonly Stage[] {
  const { steps, rates } = taskOf(task);
  const centre: Stage = {
    ...{ name: `${task}: figure 1, its centre`, task, experiment: "figure1", rows: [CENTRE] },
    ...{ seeds: FEWER_SEEDS, steps, rates },
  };
  const points = POINTS.filter((key) => key !== CENTRE);
  return [centre, { ...centre, name: `${task}: figure 1`, rows: points, rates: { tunedOf: CENTRE } }];
}

export function taskOf(name: string): Task {
  const task = TASKS[name];
  if (task === undefined) throw new Error(`there is no task ${name}`);
  return task;
}

/** What lengths and seeds are decided by: LoRA r = 8 at half, the same and twice the length; deviations of two methods. */
export const PILOT: readonly Stage[] = SMOLLM2_TASKS.flatMap((task) => {
  const { steps } = taskOf(task);
  const pilot = (updates: number, rows: readonly string[], seeds: number): Stage => ({
    ...{
      name: `pilot ${task}: ${rows.join(" ")}, ${updates} updates`,
      task,
      experiment: "budget",
      rows,
      seeds,
    },
    ...{ steps: updates, rates: [0.0045] },
  });
  return [
    pilot(steps, ["lora-2", "mos-2"], 2),
    ...[steps / 2, steps, steps * 2].map((updates) => pilot(updates, ["lora-8"], 1)),
  ];
});

/**
 * All stages. A stage runs what earlier ones have not: with one more seed at a time over all tasks, what is finished at any
 * moment can be compared.
 */
export const STAGES: readonly Stage[] = [
  ...upTo(SEEDS).flatMap((seeds) => SMOLLM2_TASKS.map((task) => budgetStage(task, CORE, seeds))),
  ...upTo(SEEDS).flatMap((seeds) => SMOLLM2_TASKS.map((task) => budgetStage(task, LARGER, seeds))),
  ...upTo(FEWER_SEEDS).flatMap((seeds) => SMOLLM2_TASKS.map((task) => budgetStage(task, REST, seeds))),
  ...upTo(FEWER_SEEDS).flatMap((seeds) => CAPACITIES.map((task) => budgetStage(task, CAPACITY, seeds))),
  ...figureStages("tenants"),
];

/** The folder of a stage's cells. The pilot has one for each length. */
export const folderOf = ({ work }: Pick<Places, "work">, { task, steps }: Stage): string =>
  join(work, "runs", steps === taskOf(task).steps ? task : `${task}-${steps}-updates`);

/** The arguments of `mos` for a stage. */
export function argumentsOf(stage: Stage, places: Places, rates: readonly number[]): readonly string[] {
  const { experiment, task, rows, seeds, steps } = stage;
  return [
    ...["reproduce", experiment, ...taskOf(task).args(places), ...COMMON],
    ...["--seeds", String(seeds), "--steps", String(steps), "--learning-rates", rates.join(",")],
    ...(experiment === "figure1" ? words("--private-ranks 0,1,2,3 --shards 1,4,16") : []),
    ...["--only", ...rows, "--out", folderOf(places, stage), "--json"],
  ];
}
