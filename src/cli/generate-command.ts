import { type Command, Option } from "commander";
import {
  type GeneralOptions,
  GROUPS,
  generalOptions,
  type MachineOptions,
  machineOptions,
} from "./command-options.ts";
import { collected, decimal, whole } from "./option-values.ts";

export interface GenerateOptions extends MachineOptions, GeneralOptions {
  readonly model: string;
  readonly adapter?: string;
  readonly compare?: boolean;
  readonly prompt?: string;
  readonly promptFile?: string;
  readonly chat?: boolean;
  readonly system?: string;
  readonly raw?: boolean;
  readonly maxTokens: number;
  readonly maxLength?: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly stop?: readonly string[];
  readonly seed: number;
}

function promptOptions(command: Command): Command {
  return command
    .optionsGroup(GROUPS.prompt)
    .addOption(
      new Option(
        "--prompt <text>",
        "the user's message; without any of these it is read from stdin",
      ).conflicts(["promptFile", "chat"]),
    )
    .addOption(
      new Option("--prompt-file <file>", "a file with the user's message").conflicts(["prompt", "chat"]),
    )
    .addOption(new Option("--chat", "talk in the terminal").conflicts(["raw", "compare", "json"]))
    .addOption(new Option("--system <text>", "the system message").conflicts("raw"))
    .option("--raw", "continue the text as it stands, without the chat template");
}

function samplingOptions(command: Command): Command {
  return command
    .optionsGroup(GROUPS.sampling)
    .option("--max-tokens <n>", "most tokens of an answer", whole(1), 256)
    .option("--temperature <t>", "0 takes the most likely token each time", decimal, 0)
    .option("--top-p <p>", "the fewest tokens whose probabilities reach this sum; 1 keeps all", decimal, 1)
    .option("--top-k <k>", "this many tokens; 0 keeps all", whole(0), 0)
    .option("--min-p <p>", "tokens at least this likely beside the most likely one; 0 keeps all", decimal, 0)
    .option("--repetition-penalty <x>", "above 1 avoids tokens that came before", decimal, 1)
    .option("--stop <text>", "text that ends an answer, \\n for a line break; may be repeated", collected)
    .option("--seed <n>", "the same seed gives the same answer", whole(0), 0)
    .option(
      "--max-length <tokens>",
      "longest prompt and answer together (default: what the model allows)",
      whole(2),
    );
}

const EXAMPLES = `
Examples:
  mos generate --model org/name --prompt "What is a lighthouse?"
  mos generate --model org/name --adapter adapters/acme --chat
  mos generate --model org/name --adapter adapters/acme --compare --prompt "When can I come in?"
      the base and the adapted model side by side
  echo "Once upon a time" | mos generate --model org/name --raw --temperature 0.8 --top-p 0.95

In --chat: /reset forgets, /system TEXT sets the system message, /exit ends; Ctrl-C stops an answer, Ctrl-D ends.`;

export function generateCommand(program: Command): void {
  const command = program
    .command("generate")
    .summary("answer a prompt or chat, with or without an adapter")
    .description(
      "Answers a prompt, or chats, with a model and an adapter. The answer is shown as it is written.",
    )
    .usage("--model <model> [--adapter <folder>] [--prompt <text> | --chat] [options]")
    .optionsGroup(GROUPS.model)
    .requiredOption("--model <model>", "a model folder, a .gguf file, or org/name of the Hugging Face Hub")
    .option("--adapter <folder>", "an adapter that mos train has made for this model")
    .option("--compare", "the model's own answer beside the adapter's");
  promptOptions(command);
  samplingOptions(command);
  machineOptions(command);
  generalOptions(command);
  command.addHelpText("after", EXAMPLES).action(async (options: GenerateOptions) => {
    const { runGenerate } = await import("./generate.ts");
    process.exitCode = await runGenerate(options);
  });
}
