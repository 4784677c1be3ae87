import { type Command, Option } from "commander";
import { type GeneralOptions, GROUPS, generalOptions } from "./command-options.ts";

/** As #exchange has them; help has to be quick, and loads no other room. */
const SOURCES = ["peft", "mos-official"] as const;

export interface ImportOptions extends GeneralOptions {
  readonly model: string;
  readonly from: (typeof SOURCES)[number];
  readonly out: string;
  readonly overwrite?: boolean;
}

const EXAMPLES = `
Examples:
  mos import peft-lora --model org/name --out adapters/acme
  mos generate --model org/name --adapter adapters/acme --chat
  mos import official-run --from mos-official --model org/name --out adapters/acme
      what the code of the authors of MoS saved, as adapter_model.safetensors

Read are rank_pattern, alpha_pattern, use_rslora, layers_to_transform and any target_modules: lower ranks are filled up
with zeros and other scales are multiplied into B. What is no plain LoRA (DoRA, saved modules, PiSSA …) is refused.`;

export function importCommand(program: Command): void {
  const command = program
    .command("import")
    .summary("a LoRA of PEFT as an adapter")
    .description(
      "Reads a LoRA that Hugging Face PEFT saved and makes an adapter of it, checked against its base.",
    )
    .usage("<folder> --model <model> --out <folder> [options]")
    .argument("<folder>", "a folder with adapter_config.json and adapter_model.safetensors")
    .optionsGroup(GROUPS.model)
    .requiredOption("--model <model>", "its base: a model folder, a .gguf file, or org/name")
    .addOption(new Option("--from <who>", "whose folder it is").choices(SOURCES).default("peft"))
    .optionsGroup(GROUPS.output)
    .requiredOption("--out <folder>", "the adapter's folder to write")
    .option("--overwrite", "replace an adapter in that folder");
  generalOptions(command);
  command.addHelpText("after", EXAMPLES).action(async (folder: string, options: ImportOptions) => {
    const { runImport } = await import("./import.ts");
    await runImport(folder, options);
  });
}
