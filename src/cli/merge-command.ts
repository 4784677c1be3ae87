import { type Command, Option } from "commander";
import { FILE_DTYPES, type GeneralOptions, GROUPS, generalOptions } from "./command-options.ts";
import { byteSize } from "./option-values.ts";

export interface MergeOptions extends GeneralOptions {
  readonly model: string;
  readonly out: string;
  readonly dtype?: (typeof FILE_DTYPES)[number];
  readonly shardSize: number;
  readonly quiet?: boolean;
}

const EXAMPLES = `
Examples:
  mos merge adapters/acme --model HuggingFaceTB/SmolLM2-135M-Instruct --out models/acme
  mos merge adapters/acme --model model.gguf --out models/acme --dtype bfloat16
  mos merge adapters/acme --model models/llama --out models/acme --shard-size 2GB

The folder that is written opens in transformers, vLLM and others, and as --model here. One weight at a time is in
memory, so a model may be larger than the memory. W + scale * B A is computed in float32 and rounded once.
A size is in bytes, or has a unit: kB, MB, GB and TB count by 1000, KiB, MiB, GiB and TiB by 1024.`;

export function mergeCommand(program: Command): void {
  const command = program
    .command("merge")
    .summary("write base and adapter as one model")
    .description("Adds an adapter to its base model, and writes the sum as a Hugging Face folder of its own.")
    .argument("<adapter>", "an adapter's folder")
    .optionsGroup(GROUPS.model)
    .requiredOption(
      "--model <model>",
      "the base: a model folder, a .gguf file, or org/name of the Hugging Face Hub",
    )
    .optionsGroup(GROUPS.output)
    .requiredOption("--out <folder>", "the folder to write; it must not exist yet")
    .addOption(
      new Option(
        "--dtype <type>",
        "how numbers are stored (default: as in the base; float16 for a .gguf base)",
      ).choices(FILE_DTYPES),
    )
    .addOption(
      new Option("--shard-size <size>", "largest file of weights; above it they are split")
        .argParser(byteSize(1))
        .default(5e9, "5GB"),
    )
    .option("--quiet", "errors only");
  generalOptions(command, { json: "one JSON line for each event on stdout" });
  command.addHelpText("after", EXAMPLES).action(async (adapter: string, options: MergeOptions) => {
    const { runMerge } = await import("./merge.ts");
    await runMerge(adapter, options);
  });
}
