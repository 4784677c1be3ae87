import type { Command } from "commander";
import { type GeneralOptions, GROUPS, generalOptions } from "./command-options.ts";
import { whole } from "./option-values.ts";

export interface QuickstartOptions extends GeneralOptions {
  readonly out: string;
  readonly seed: number;
}

export function quickstartCommand(program: Command): void {
  const command = program
    .command("quickstart")
    .summary("the whole way on a bundled model and data, in well under 90 s")
    .description(
      "Teaches a bundled toy model of a million numbers one tenant's facts and tone with a Mixture-of-Shards adapter,\n" +
        "and shows what changed. Needs no network and no GPU.",
    )
    .optionsGroup(GROUPS.output)
    .option("--out <folder>", "the folder of the adapter; what it holds is replaced", "adapters/quickstart")
    .option("--seed <n>", "decides routing, first values and order", whole(0), 0);
  generalOptions(command, { json: "one JSON line for each event on stdout" });
  command.action(async (options: QuickstartOptions) => {
    const { runQuickstart } = await import("./quickstart.ts");
    process.exitCode = await runQuickstart(options);
  });
}
