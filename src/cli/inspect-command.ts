import type { Command } from "commander";
import { type GeneralOptions, GROUPS, generalOptions } from "./command-options.ts";

/** Options of `mos inspect`. */
export interface InspectOptions extends GeneralOptions {
  readonly model?: string;
  readonly svg?: string;
}

const EXAMPLES = `
Examples:
  mos inspect adapters/acme
  mos inspect adapters/acme --svg norms.svg
  mos inspect adapters/acme --model HuggingFaceTB/SmolLM2-135M-Instruct --json

The base's weights are not read. Of most methods not even its config is needed; pure-sharing, vera, tied-lora, and prolora
without unshared ranks keep too little to tell the base's shape, and need --model.`;

/** Adds `mos inspect`. */
export function inspectCommand(program: Command): void {
  const command = program
    .command("inspect")
    .summary("what an adapter is and does: budget, norms, use of its shards")
    .description(
      "Shows an adapter's settings and budget, the size of its update in each layer, and how its shards are used.",
    )
    .argument("<adapter>", "an adapter's folder")
    .optionsGroup(GROUPS.model)
    .option("--model <model>", "the base: a model folder, a .gguf file, or org/name; only its config is read")
    .optionsGroup(GROUPS.output)
    .option("--svg <file>", "also draw the norms of all layers as a heat map");
  generalOptions(command);
  command.addHelpText("after", EXAMPLES).action(async (adapter: string, options: InspectOptions) => {
    const { runInspect } = await import("./inspect.ts");
    await runInspect(adapter, options);
  });
}
