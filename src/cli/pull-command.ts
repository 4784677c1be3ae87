import type { Command } from "commander";
import { type GeneralOptions, GROUPS, generalOptions } from "./command-options.ts";
import { collected } from "./option-values.ts";

export interface PullOptions extends GeneralOptions {
  readonly cache?: string;
  readonly include?: readonly string[];
  readonly quiet?: boolean;
}

const EXAMPLES = `
Examples:
  mos pull HuggingFaceTB/SmolLM2-135M-Instruct
  mos pull org/name@v1.0                      a branch, a tag or a commit
  mos pull org/name:name.Q4_K_M.gguf          one of several GGUF files

An interrupted download goes on where it stopped. Only settings, safetensors and GGUF are taken, never code.
The cache is the one of Hugging Face's own tools. Environment: HF_TOKEN for models that need a login, HF_HOME or
HF_HUB_CACHE for the cache, HF_ENDPOINT for another hub.`;

export function pullCommand(program: Command): void {
  const command = program
    .command("pull")
    .summary("download a model from the Hugging Face Hub")
    .description("Downloads a model from the Hugging Face Hub into the local cache, and checks it.")
    .argument("<model>", "org/name[@revision][:file.gguf]")
    .optionsGroup(GROUPS.output)
    .option("--cache <folder>", "the cache, in place of Hugging Face's own")
    .option("--include <pattern>", "files to take, such as *Q4_K_M.gguf; may be repeated", collected)
    .option("--quiet", "errors only");
  generalOptions(command, { json: "one JSON line for each event on stdout" });
  command.addHelpText("after", EXAMPLES).action(async (model: string, options: PullOptions) => {
    const { runPull } = await import("./pull.ts");
    await runPull(model, options);
  });
}
