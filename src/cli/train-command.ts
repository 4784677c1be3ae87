import { type Command, Option } from "commander";
import {
  type AdapterOptions,
  adapterOptions,
  type GeneralOptions,
  GROUPS,
  generalOptions,
  type MachineOptions,
  machineOptions,
} from "./command-options.ts";
import { decimal, whole } from "./option-values.ts";

export interface TrainOptions extends AdapterOptions, MachineOptions, GeneralOptions {
  readonly model: string;
  readonly data: string;
  readonly out: string;
  readonly heldOutData?: string;
  readonly resume?: boolean;
  readonly overwrite?: boolean;
  readonly quiet?: boolean;
  readonly epochs: number;
  readonly steps?: number;
  readonly batchSize: number;
  readonly accumulate: number;
  readonly maxLength: number;
  readonly packing: boolean;
  readonly learningRate: number;
  readonly schedule: "linear" | "cosine" | "constant";
  readonly warmup: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly maxGradientNorm: number;
  readonly promptFormat: "template" | "chatml" | "plain" | "open-instruct";
  readonly system?: string;
  readonly heldOut: number;
  readonly examples?: number;
  readonly evaluateEvery: number;
  readonly saveEvery: number;
  readonly seed: number;
}

function dataOptions(command: Command): Command {
  return command
    .optionsGroup(GROUPS.data)
    .requiredOption(
      "--data <file>",
      "JSON Lines with messages, prompt and completion, question and answer, or instruction, input and output",
    )
    .addOption(
      new Option(
        "--prompt-format <name>",
        "how a line becomes tokens: by the model's chat template, as ChatML, as plain text, or as open-instruct does",
      )
        .choices(["template", "chatml", "plain", "open-instruct"])
        .default("template"),
    )
    .option("--system <text>", "system message for conversations without one")
    .option("--max-length <tokens>", "tokens kept of an example, and in a row of a batch", whole(2), 512)
    .option("--no-packing", "one example a row, in place of several that attend to themselves only")
    .option("--examples <n>", "use the first examples of the file only", whole(1))
    .option(
      "--held-out <n>",
      "examples to measure on and not to train on: a share below 1, or a number",
      decimal,
      0.05,
    )
    .addOption(
      new Option("--held-out-data <file>", "held-out examples in a file of their own").conflicts("heldOut"),
    );
}

function trainingOptions(command: Command): Command {
  return command
    .optionsGroup(GROUPS.training)
    .addOption(
      new Option("--epochs <n>", "passes over the data; may be a fraction")
        .argParser(decimal)
        .default(1)
        .conflicts("steps"),
    )
    .option("--steps <n>", "updates to make, in place of epochs", whole(1))
    .option("--batch-size <rows>", "rows of a batch", whole(1), 4)
    .option("--accumulate <n>", "batches for one update", whole(1), 1)
    .option("--learning-rate <rate>", "the highest rate", decimal, 2e-4)
    .addOption(
      new Option("--schedule <name>", "how the rate falls")
        .choices(["linear", "cosine", "constant"])
        .default("linear"),
    )
    .option("--warmup <n>", "updates of rising rate: a share below 1, or a number", decimal, 0.03)
    .option("--weight-decay <x>", "AdamW's weight decay", decimal, 0)
    .option("--beta1 <x>", "AdamW's decay of the mean", decimal, 0.9)
    .option("--beta2 <x>", "AdamW's decay of the mean square", decimal, 0.999)
    .option("--max-gradient-norm <x>", "longer gradients are shortened to this; 0 leaves them", decimal, 1)
    .option("--seed <n>", "decides routing, first values, order and dropout", whole(0), 0);
}

function runOptions(command: Command): Command {
  return command
    .optionsGroup(GROUPS.evaluation)
    .option("--evaluate-every <n>", "updates between measurements; 0 measures before and after", whole(0), 0)
    .option(
      "--save-every <n>",
      "updates between checkpoints; 0 saves at the end and when stopped",
      whole(0),
      100,
    )
    .optionsGroup(GROUPS.output)
    .requiredOption("--out <folder>", "the folder of the adapter")
    .option("--resume", "go on with the run in the folder, to the same result as without a break")
    .addOption(new Option("--overwrite", "replace what the folder holds").conflicts("resume"))
    .option("--quiet", "errors only");
}

const EXAMPLES = `
Examples:
  mos train --model HuggingFaceTB/SmolLM2-135M-Instruct --data train.jsonl --out adapters/acme
      one pass over the data; Mixture of Shards with the numbers of a LoRA of rank 2

  mos train --model model.gguf --data train.jsonl --out adapters/acme \\
      --equivalent-rank 8 --rank 32 --epochs 3 --learning-rate 3e-4 --evaluate-every 50

  mos train --model models/llama --data train.jsonl --out adapters/plain --method lora --rank 8

A line of the data: {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
Loss counts only where the assistant speaks.

Ctrl-C finishes the step, saves, and ends; --resume goes on. Ctrl-C twice ends at once.
What a configuration costs is told by mos params, before any training.`;

export function trainCommand(program: Command): void {
  const command = program
    .command("train")
    .summary("fine-tune an adapter on your data")
    .description(
      "Fine-tunes an adapter on your data and saves it in PEFT's folder shape. The model itself stays as it is.",
    )
    .usage("--model <model> --data <file> --out <folder> [options]")
    .optionsGroup(GROUPS.model)
    .requiredOption("--model <model>", "a model folder, a .gguf file, or org/name of the Hugging Face Hub");
  dataOptions(command);
  adapterOptions(command);
  trainingOptions(command);
  runOptions(command);
  machineOptions(command);
  generalOptions(command, { json: "one JSON line for each event on stdout" });
  command.addHelpText("after", EXAMPLES).action(async (options: TrainOptions) => {
    const { runTrain } = await import("./train.ts");
    process.exitCode = await runTrain(options);
  });
}
