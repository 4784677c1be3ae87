import { type Command, InvalidArgumentError, Option } from "commander";
import { type GeneralOptions, GROUPS, generalOptions } from "./command-options.ts";

export interface MergeOptions extends GeneralOptions {
  readonly model: string;
  readonly out: string;
  readonly dtype?: "float32" | "float16" | "bfloat16";
  readonly shardSize: number;
  readonly quiet?: boolean;
}

const UNITS: Readonly<Record<string, number>> = { "": 1, kb: 1e3, mb: 1e6, gb: 1e9 };

/** A size in decimal units, as Hugging Face's tools take it: 5GB, 500MB. */
export function byteSize(text: string): number {
  const [, digits = "", unit = ""] = /^(\d+(?:\.\d+)?)\s*([kmg]b)?$/i.exec(text.trim()) ?? [];
  const bytes = digits === "" ? Number.NaN : Math.round(Number(digits) * (UNITS[unit.toLowerCase()] ?? 1));
  if (Number.isSafeInteger(bytes) && bytes >= 1) return bytes;
  throw new InvalidArgumentError("It must be a size, such as 5GB or 500MB.");
}

const EXAMPLES = `
Examples:
  mos merge adapters/acme --model HuggingFaceTB/SmolLM2-135M-Instruct --out models/acme
  mos merge adapters/acme --model model.gguf --out models/acme --dtype bfloat16
  mos merge adapters/acme --model models/llama --out models/acme --shard-size 2GB

The folder that is written opens in transformers, vLLM and others, and as --model here. One weight at a time is in
memory, so a model may be larger than the memory. W + scale * B A is computed in float32 and rounded once.`;

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
      ).choices(["float32", "float16", "bfloat16"]),
    )
    .addOption(
      new Option("--shard-size <size>", "largest file of weights; above it they are split")
        .argParser(byteSize)
        .default(5e9, "5GB"),
    )
    .option("--quiet", "errors only");
  generalOptions(command, { json: "one JSON line for each event on stdout" });
  command.addHelpText("after", EXAMPLES).action(async (adapter: string, options: MergeOptions) => {
    const { runMerge } = await import("./merge.ts");
    await runMerge(adapter, options);
  });
}
