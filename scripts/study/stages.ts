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
const COMMON = words("--base-dtype float32 --dropout 0 --alpha 16 --tune-seeds 1 --threads 2 --jobs 1");

const RATES = [0.002, 0.0045, 0.01];

const smallFacts = (tenants: number): Task => ({
  args: ({ work }) => {
    const folder = join(work, "data", `capacity-${tenants}`);
    return [
      ...["--model", "assets/tiny-english", "--train", join(folder, "train.jsonl")],
      ...["--eval", join(folder, "held-out.jsonl"), "--tune-train", join(folder, "tuning-train.jsonl")],
      ...["--tune-eval", join(folder, "tuning.jsonl")],
      ...words(
        `--prompt-format plain --batch-size 2 --max-length 128 --answers ${tenants * 5} --answer-tokens 12`,
      ),
    ];
  },
  steps: 2000,
  rates: RATES,
});

/** Facts that SmolLM2 keeps: few enough to be seen some thirty times, in many small updates. */
const facts = (name: string): Task => ({
  args: ({ model, work }) => {
    const folder = join(work, "data", name);
    return [
      ...["--model", model, "--train", join(folder, "train.jsonl")],
      ...["--eval", join(folder, "held-out.jsonl"), "--tune-train", join(folder, "tuning-train.jsonl")],
      ...["--tune-eval", join(folder, "tuning.jsonl")],
      ...words("--prompt-format plain --batch-size 2 --max-length 128 --answers 200 --answer-tokens 8"),
    ];
  },
  steps: 192,
  rates: RATES,
});

/** How the facts of a task are made, five of each tenant; the pilot tries `tenants` in other sizes. */
export const FACTS: Readonly<Record<string, readonly string[]>> = {
  tenants: words("--tenants 20"),
  "tenants-10": words("--tenants 10"),
  "tenants-40": words("--tenants 40"),
  // the bundled model has never seen a digit
  "capacity-20": words("--tenants 20 --words 3"),
  "capacity-40": words("--tenants 40 --words 3"),
  "capacity-80": words("--tenants 80 --words 3"),
};

export const TASKS: Readonly<Record<string, Task>> = {
  tenants: facts("tenants"),
  "tenants-10": facts("tenants-10"),
  "tenants-40": facts("tenants-40"),
  gsm8k: {
    args: ({ model, data }) => [
      ...["--model", model, "--train", join(data, "gsm8k", "train.jsonl")],
      ...["--eval", join(data, "gsm8k", "test.jsonl")],
      ...words("--batch-size 2 --max-length 512 --eval-examples 128 --answers 0"),
    ],
    steps: 64,
    rates: RATES,
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
    rates: RATES,
  },
  "capacity-20": smallFacts(20),
  "capacity-40": smallFacts(40),
  "capacity-80": smallFacts(80),
};

const CORE = words("base lora-2 lora-8 mos-2 mos-2-sp mos-2-vs mos-2-pd pure-sharing subset-selection");
/** What the first question needs: does MoS beat LoRA of its budget, and does it equal one of four times as much? */
const FIRST = words("base lora-2 mos-2 lora-8");
/** The larger budget, which the core is compared with, at as many seeds. */
const LARGER = words("lora-16 mos-8");
const REST = words("mos-2-scaled random-scaling vera-equal tied-lora prolora");
const CAPACITY = words("lora-2 lora-8 mos-2 mos-8 pure-sharing subset-selection");
const SMOLLM2_TASKS = ["gsm8k", "tydiqa", "tenants"];
const CAPACITIES = ["capacity-20", "capacity-40", "capacity-80"];
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

interface Pilot {
  readonly rows: readonly string[];
  readonly seeds?: number;
  readonly rate?: number;
  /** The task's length times this. */
  readonly length?: number;
}

function pilot(task: string, { rows, seeds = 1, rate = 0.0045, length = 1 }: Pilot): Stage {
  const steps = taskOf(task).steps * length;
  const name = `pilot, ${task}: ${rows.join(" ")} at ${rate}, ${steps} updates, ${seeds} seeds`;
  return { name, task, experiment: "budget", rows, seeds, steps, rates: [rate] };
}

/** How many facts are neither all kept nor all lost; deviations of two methods; LoRA r = 8 at three lengths. */
export const PILOT: readonly Stage[] = [
  ...["tenants", "tenants-10", "tenants-40"].flatMap((task) =>
    [0.0045, 0.01].map((rate) => pilot(task, { rows: ["lora-2"], rate })),
  ),
  ...SMOLLM2_TASKS.flatMap((task) => [
    pilot(task, { rows: ["lora-2", "mos-2"], seeds: 2 }),
    ...[0.5, 1, 2].map((length) => pilot(task, { rows: ["lora-8"], length })),
  ]),
  ...[1, 2].map((length) => pilot("capacity-20", { rows: ["lora-8", "mos-8"], length })),
];

/**
 * All stages. A stage runs what earlier ones have not: the first question task by task, then one more seed at a time over
 * all tasks, so that what is finished at any moment can be compared.
 */
export const STAGES: readonly Stage[] = [
  ...SMOLLM2_TASKS.map((task) => budgetStage(task, FIRST, SEEDS)),
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
