import { type Command, InvalidArgumentError, Option } from "commander";
import { type GeneralOptions, GROUPS, generalOptions, TASK_RULES, TASKS } from "./command-options.ts";
import { decimal, namesOf, whole } from "./option-values.ts";

export interface ReproduceOptions extends GeneralOptions {
  readonly model?: string;
  readonly train?: string;
  readonly eval?: string;
  readonly out?: string;
  readonly seeds: number;
  readonly steps: number;
  readonly only?: readonly string[];
  readonly list?: boolean;
  readonly privateRanks?: readonly number[];
  readonly shards?: readonly number[];
  readonly learningRates: readonly number[];
  readonly tuneSteps?: number;
  readonly tuneSeeds?: number;
  readonly tuneExamples?: number;
  readonly tuneTrain?: string;
  readonly tuneEval?: string;
  readonly alpha: number;
  readonly dropout: number;
  readonly batchSize: number;
  readonly accumulate: number;
  readonly maxLength: number;
  readonly packing: boolean;
  readonly schedule: "linear" | "cosine" | "constant";
  readonly warmup: number;
  readonly weightDecay: number;
  readonly maxGradientNorm: number;
  readonly promptFormat: "template" | "chatml" | "plain" | "open-instruct";
  readonly system?: string;
  readonly examples?: number;
  readonly evalExamples?: number;
  readonly answers: number;
  readonly answerTokens: number;
  readonly benchmarks?: readonly (typeof TASKS)[number][];
  readonly benchmarkData?: string;
  readonly benchmarkLimit?: number;
  readonly benchmarkSamples?: number;
  readonly benchmarkShots?: number;
  readonly benchmarkRules: (typeof TASK_RULES)[number];
  readonly benchmarkFormat?: "tulu" | "model" | "none";
  readonly keepAdapters?: boolean;
  readonly jobs: number;
  readonly threads?: number;
  readonly quiet?: boolean;
}

/** Numbers with commas between them. */
const listOf =
  (parse: (text: string) => number) =>
  (text: string): readonly number[] => {
    const values = text.split(",").map((part) => parse(part.trim()));
    const twice = values.find((value, i) => values.indexOf(value) !== i);
    if (twice === undefined) return values;
    throw new InvalidArgumentError(`${twice} is there twice.`);
  };

function gridOptions(command: Command): Command {
  return command
    .optionsGroup("Grid:")
    .option("--seeds <n>", "how often each row is run: with seeds 0 to n − 1", whole(1), 3)
    .option("--steps <n>", "updates of a cell", whole(1), 200)
    .option("--only <row...>", "these rows only, by key or by label (see --list)")
    .option("--list", "show the rows of the experiment on this model, and run nothing")
    .option("--private-ranks <list>", "figure1: one axis (default: 0,1,2,3)", listOf(whole(0)))
    .option(
      "--shards <list>",
      "figure1: the other axis, shards per vector (default: 1,2,4,8,16)",
      listOf(whole(1)),
    )
    .addOption(
      new Option(
        "--learning-rates <list>",
        "the highest rate of all rows; several begin each row's search for its own",
      )
        .argParser(listOf(decimal))
        .default([1e-3], "1e-3"),
    )
    .option("--tune-steps <n>", "updates for choosing the rate (default: as many as --steps)", whole(1))
    .option("--tune-seeds <n>", "seeds that each rate is tried with (default: 2)", whole(1))
    .option(
      "--tune-examples <n>",
      "examples held out of --train while rates are chosen on them (default: 64, or a tenth of a small file)",
      whole(1),
    )
    .option("--tune-eval <file>", "choose rates on this file, and hold nothing out of --train")
    .option("--tune-train <file>", "with --tune-eval, train on this file meanwhile");
}

function trainingOptions(command: Command): Command {
  return command
    .optionsGroup(GROUPS.training)
    .option("--alpha <a>", "updates are scaled by alpha / rank; of every method but VeRA", decimal, 16)
    .option("--dropout <p>", "share of the adapter's inputs left out in training", decimal, 0.1)
    .option("--batch-size <rows>", "rows of a batch", whole(1), 4)
    .option("--accumulate <n>", "batches for one update", whole(1), 1)
    .option("--max-length <tokens>", "tokens kept of an example, and in a row of a batch", whole(2), 512)
    .option("--no-packing", "one example a row, in place of several that attend to themselves only")
    .addOption(
      new Option("--schedule <name>", "how the rate falls")
        .choices(["linear", "cosine", "constant"])
        .default("linear"),
    )
    .option("--warmup <n>", "updates of rising rate: a share below 1, or a number", decimal, 0.03)
    .option("--weight-decay <x>", "AdamW's weight decay", decimal, 0)
    .option("--max-gradient-norm <x>", "longer gradients are shortened to this; 0 leaves them", decimal, 0.3)
    .addOption(
      new Option("--prompt-format <name>", "how a line becomes tokens, as for mos train")
        .choices(["template", "chatml", "plain", "open-instruct"])
        .default("template"),
    )
    .option("--system <text>", "system message for conversations without one")
    .option("--examples <n>", "train on the first examples of the file only", whole(1));
}

function benchmarkOptions(command: Command): Command {
  return command
    .optionsGroup("Benchmarks:")
    .option("--benchmarks <names>", `scores as columns, with commas: ${TASKS.join(", ")}`, namesOf(TASKS))
    .option("--benchmark-data <folder>", "their data, as for mos eval (default: fetched from the Hub)")
    .option(
      "--benchmark-limit <n>",
      "questions of each, the same ones for all cells (default: all)",
      whole(1),
    )
    .option(
      "--benchmark-samples <n>",
      "HumanEval: answers of each problem (default: what the rules draw)",
      whole(1),
    )
    .option(
      "--benchmark-shots <n>",
      "examples before each question (default: the rules' own number)",
      whole(0),
    )
    .addOption(
      new Option("--benchmark-rules <name>", "open-instruct's, as in the paper, or lm-evaluation-harness's")
        .choices(TASK_RULES)
        .default("open-instruct"),
    )
    .addOption(
      new Option(
        "--benchmark-format <name>",
        "Tulu's tags, the model's own template, or none (default: what the rules use)",
      ).choices(["tulu", "model", "none"]),
    );
}

function measuringOptions(command: Command): Command {
  command
    .optionsGroup("Evaluation:")
    .option("--eval-examples <n>", "measure on the first examples of the file only", whole(1))
    .option(
      "--answers <n>",
      "greedy answers to the first examples, compared exactly; 0 for none",
      whole(0),
      32,
    )
    .option("--answer-tokens <n>", "most tokens of an answer", whole(1), 200);
  return benchmarkOptions(command)
    .optionsGroup(GROUPS.output)
    .option("--out <folder>", "the folder of tables, pictures and cells; finished cells are not run again")
    .option("--keep-adapters", "keep the adapter of every cell")
    .option("--quiet", "errors only")
    .optionsGroup(GROUPS.machine)
    .option("--jobs <n>", "cells at a time, each in a process of its own", whole(1), 1)
    .option("--threads <n>", "threads of a cell (default: the cores, shared by the jobs)", whole(1));
}

const EXAMPLES = `
Examples:
  mos reproduce table2 --list --model model.gguf
      the rows on this model: keys, ranks and trainable numbers

  mos reproduce table2 --model model.gguf --train train.jsonl --eval test.jsonl \\
      --learning-rates 1e-3,3e-3,1e-2 --steps 200 --seeds 5 --jobs 2 --out reproduction
      each row with its own rate: the search goes on beyond an end, and to a factor of 1.5 around the best

  mos reproduce table2 --model model.gguf --train train.jsonl --eval test.jsonl --out reproduction \\
      --benchmarks mmlu,bbh,gsm8k,tydiqa,humaneval --benchmark-limit 100
      the paper's seven columns, beside the held-out loss

  mos reproduce figure1 --model model.gguf --train train.jsonl --eval test.jsonl --answers 0 --out reproduction

Ctrl-C stops the cells with a checkpoint; the same command goes on. Seeds are run one after another over all rows, and
the tables are written anew after each cell, so what is there early can be compared early. The exit code is 1 while a
result is missing.`;

export function reproduceCommand(program: Command): void {
  const command = program
    .command("reproduce")
    .summary("run the tables and the figure of the MoS paper again, on any model and data")
    .description(
      "Runs the rows of the Mixture-of-Shards paper's tables 1 and 2, its methods at one budget, or the grid of its figure 1,\n" +
        "on your model and data: every method with the same training, over several seeds, with paired tests.",
    )
    .usage(
      "table1|table2|budget|figure1 --model <model> --train <file> --eval <file> --out <folder> [options]",
    )
    .argument("<experiment>", "table1, table2, budget or figure1")
    .optionsGroup(GROUPS.model)
    .option("--model <model>", "a model folder, a .gguf file, or org/name of the Hugging Face Hub")
    .optionsGroup(GROUPS.data)
    .option("--train <file>", "JSON Lines to train on, as for mos train")
    .option("--eval <file>", "JSON Lines to measure on; never trained on");
  gridOptions(command);
  trainingOptions(command);
  measuringOptions(command);
  generalOptions(command, { json: "one JSON line for each event on stdout" });
  command.addHelpText("after", EXAMPLES).action(async (experiment: string, options: ReproduceOptions) => {
    const { runReproduce } = await import("./reproduce.ts");
    process.exitCode = await runReproduce(experiment, options, program.version() ?? "");
  });
}
