import { type Command, Option } from "commander";
import {
  type AdapterOptions,
  adapterOptions,
  type GeneralOptions,
  GROUPS,
  generalOptions,
} from "./command-options.ts";

/** Options of `mos params`. */
export interface ParamsOptions extends AdapterOptions, GeneralOptions {
  readonly model?: string;
  readonly preset?: string;
  readonly config?: string;
  readonly listPresets?: boolean;
  readonly table?: boolean;
}

const EXAMPLES = `
Examples:
  mos params --preset llama2-7b
  mos params --preset llama3.2-3b --equivalent-rank 8 --rank 32 --shards-per-vector 8
  mos params --model models/llama --method lora --rank 8
  mos params --preset llama2-7b --table
  mos params --list-presets

Of a model folder only config.json is read, so the weights need not be there.`;

/** Adds `mos params`. */
export function paramsCommand(program: Command): void {
  const command = program
    .command("params")
    .summary("what an adapter will cost, before training")
    .description(
      "Tells what an adapter will cost before any training: trainable numbers, bytes, and how they compare with LoRA.",
    )
    .usage("--model <model> | --preset <name> | --config <file> [options]")
    .optionsGroup(GROUPS.model)
    .addOption(
      new Option(
        "--model <model>",
        "a model folder, a .gguf file, or org/name; only its config is read",
      ).conflicts(["preset", "config"]),
    )
    .addOption(new Option("--preset <name>", "a well-known model by name").conflicts(["model", "config"]))
    .addOption(new Option("--config <file>", "a config.json").conflicts(["model", "preset"]))
    .option("--list-presets", "show the names that --preset takes");
  command
    .optionsGroup(GROUPS.output)
    .option("--table", "all methods of the paper's tables, and the memory of 1, 1,000 and 10,000 adapters");
  adapterOptions(command);
  generalOptions(command);
  command.addHelpText("after", EXAMPLES).action(async (options: ParamsOptions) => {
    const { runParams } = await import("./params.ts");
    await runParams(options);
  });
}
