// Options that several commands share, in the groups that their help shows them in.
import { type Command, Option } from "commander";
import { decimal, namesOf, whole } from "./option-values.ts";

/** Headings of the help. */
export const GROUPS = {
  model: "Model:",
  data: "Data:",
  adapter: "Adapter:",
  training: "Training:",
  evaluation: "Evaluation and checkpoints:",
  sampling: "Sampling:",
  prompt: "Prompt:",
  output: "Output:",
  machine: "Machine:",
  general: "General:",
} as const;

// Names that help lists are written again here: it has to be quick, and loads no other room.

/** As #nn has them. */
export const LINEAR_TYPES = [
  "q_proj",
  "k_proj",
  "v_proj",
  "o_proj",
  "gate_proj",
  "up_proj",
  "down_proj",
] as const;
export type LinearType = (typeof LINEAR_TYPES)[number];

/** As #evaluation has them. */
export const TASKS = ["mmlu", "bbh", "gsm8k", "tydiqa", "humaneval"] as const;
export const TASK_RULES = ["open-instruct", "lm-eval"] as const;

/** As #exchange has them. */
export const FILE_DTYPES = ["float32", "float16", "bfloat16"] as const;

/** Options of every command. */
export interface GeneralOptions {
  readonly json?: boolean;
  readonly verbose?: boolean;
}

/** --json and --verbose, which every command has. The program itself looks for them too, for errors of parsing. */
export function generalOptions(command: Command, { json = "print JSON instead of text" } = {}): Command {
  return command
    .optionsGroup(GROUPS.general)
    .option("--json", json)
    .option("--verbose", "show where an error came from")
    .helpOption("-h, --help", "show this help");
}

/** Where to compute. */
export interface MachineOptions {
  readonly device?: "cpu" | "webgpu" | "cuda";
  readonly threads?: number;
}

/** --device and --threads. */
export function machineOptions(command: Command): Command {
  return command
    .optionsGroup(GROUPS.machine)
    .addOption(
      new Option("--device <name>", "where to compute").choices(["cpu", "webgpu", "cuda"]).default("cpu"),
    )
    .option("--threads <n>", "threads to compute with (default: one for each core)", whole(1));
}

/** What --method is where it is not given. */
export const DEFAULT_METHOD = "mos";

/** How an adapter is described by options; what is left out is the method's own to fill in. */
export interface AdapterOptions {
  readonly method: string;
  readonly rank?: number;
  readonly equivalentRank?: number;
  readonly shardsPerVector?: number;
  readonly privateRank?: number;
  /** False for --no-pair-dissociation. */
  readonly pairDissociation: boolean;
  readonly unsharedRank?: number;
  readonly chunks?: number;
  readonly scaleMean?: number;
  readonly scaleDeviation?: number;
  readonly alpha?: number;
  readonly dropout?: number;
  readonly targets?: readonly LinearType[];
}

/** --method and the settings of all methods. */
export function adapterOptions(command: Command): Command {
  return command
    .optionsGroup(GROUPS.adapter)
    .option(
      "--method <name>",
      "mos (Mixture of Shards), lora, pure-sharing, random-scaling, subset-selection, vera, tied-lora or prolora",
      DEFAULT_METHOD,
    )
    .option(
      "--rank <r>",
      "rank of the update of each layer (default: 8); for pure-sharing and random-scaling the pairs that all layers share (64), for vera 256, for prolora 4",
      whole(1),
    )
    .option(
      "--equivalent-rank <e>",
      "mos, subset-selection: the budget, as the rank of a LoRA with as many numbers (default: 2)",
      whole(1),
    )
    .option(
      "--shards-per-vector <l>",
      "mos: equal shards that a vector is put together from (default: 4)",
      whole(1),
    )
    .option("--private-rank <p>", "mos: rank that each layer keeps to itself, 0 to e (default: 1)", whole(0))
    .option("--no-pair-dissociation", "mos: choose the shards of B with the same indices as those of A")
    .option("--unshared-rank <u>", "prolora: rank that is as in LoRA, 0 to r (default: 1)", whole(0))
    .option("--chunks <m>", "prolora: copies of the shared chunk along the features (default: 3)", whole(1))
    .option("--scale-mean <x>", "random-scaling: mean of the drawn scales (default: 1)", decimal)
    .option("--scale-deviation <x>", "random-scaling: their standard deviation (default: 0.3)", decimal)
    .option("--alpha <a>", "all but vera: the update is scaled by alpha / rank (default: 16)", decimal)
    .option("--dropout <p>", "share of the adapter's inputs left out in training (default: 0)", decimal)
    .option(
      "--targets <names>",
      `linear layers to adapt, of ${LINEAR_TYPES.join(", ")} (default: all); for tied-lora of the first three`,
      namesOf(LINEAR_TYPES),
    );
}

/** The flags of a command's options by their attribute names. */
export function flagsOf(command: Command): ReadonlyMap<string, string> {
  return new Map(command.options.map((option) => [option.attributeName(), option.long ?? option.flags]));
}
