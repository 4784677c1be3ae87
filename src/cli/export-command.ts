import { type Command, Option } from "commander";
import { FILE_DTYPES, type GeneralOptions, GROUPS, generalOptions } from "./command-options.ts";

/** As #recipes has them; help has to be quick, and loads no other room. */
const FORMATS = ["peft", "gguf"] as const;

export interface ExportOptions extends GeneralOptions {
  readonly model: string;
  readonly format: (typeof FORMATS)[number];
  readonly out: string;
  readonly dtype: (typeof FILE_DTYPES)[number];
  readonly overwrite?: boolean;
}

const EXAMPLES = `
Examples:
  mos export adapters/acme --model org/name --format peft --out acme-peft
      a folder for PEFT (PeftModel.from_pretrained), vLLM, LoRAX and others
  mos export adapters/acme --model org/name --format gguf --out acme.gguf --dtype float16
      a file for llama.cpp: llama-cli --model base.gguf --lora acme.gguf

Every method becomes a plain LoRA by this, exactly: routing does not depend on the text. float16 and bfloat16 round.`;

export function exportCommand(program: Command): void {
  const command = program
    .command("export")
    .summary("an adapter as a plain LoRA for other programs")
    .description("Writes an adapter of any method as a plain LoRA: for Hugging Face PEFT, or for llama.cpp.")
    .usage("<adapter> --model <model> --format <peft|gguf> --out <path> [options]")
    .argument("<adapter>", "an adapter's folder")
    .optionsGroup(GROUPS.model)
    .requiredOption("--model <model>", "its base: a model folder, a .gguf file, or org/name")
    .optionsGroup(GROUPS.output)
    .addOption(
      new Option("--format <name>", "peft: a folder; gguf: a file").choices(FORMATS).makeOptionMandatory(),
    )
    .requiredOption("--out <path>", "the folder or file to write")
    .addOption(new Option("--dtype <name>", "how numbers are stored").choices(FILE_DTYPES).default("float32"))
    .option("--overwrite", "replace an earlier result in that place");
  generalOptions(command);
  command.addHelpText("after", EXAMPLES).action(async (adapter: string, options: ExportOptions) => {
    const { runExport } = await import("./export.ts");
    await runExport(adapter, options);
  });
}
