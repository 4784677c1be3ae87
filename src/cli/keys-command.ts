import { type Command, InvalidArgumentError, Option } from "commander";
import { type GeneralOptions, GROUPS, generalOptions } from "./command-options.ts";
import { whole } from "./option-values.ts";

export interface KeysOptions extends GeneralOptions {
  readonly name: string;
  readonly admin?: boolean;
  readonly adapters?: readonly string[];
  readonly requestsPerMinute?: number;
  readonly maxConcurrent?: number;
  readonly append?: string;
}

function keyName(text: string): string {
  if (/^[\w.@-]{1,64}$/.test(text)) return text;
  throw new InvalidArgumentError("It must be of letters, digits and . _ - @, 64 at most.");
}

const EXAMPLES = `
Examples:
  mos keys create --name acme --adapters "acme-*" --append keys.jsonl
  mos keys create --name operator --admin --append keys.jsonl

The key is shown once: only its hash is kept. A line with "revoked": true, or without its line, a key is refused.`;

export function keysCommand(program: Command): void {
  const command = program
    .command("keys")
    .summary("make API keys for mos serve")
    .description(
      "Makes a random API key, and the line of a key file that lets mos serve know it by its hash.",
    )
    .usage("create --name <name> [options]")
    .argument("<action>", "create", (action: string) => {
      if (action === "create") return action;
      throw new InvalidArgumentError("It must be create.");
    })
    .optionsGroup("Key:")
    .addOption(
      new Option("--name <name>", "whose key it is; fair shares and limits are by it")
        .argParser(keyName)
        .makeOptionMandatory(),
    )
    .option("--admin", "it may add, replace and remove adapters")
    .option("--adapters <pattern...>", 'adapters that it may use, such as "acme-*" (default: all)')
    .option("--requests-per-minute <n>", "requests that it may send a minute", whole(1))
    .option("--max-concurrent <n>", "requests that it may have at a time", whole(1))
    .optionsGroup(GROUPS.output)
    .option("--append <file>", "add the line to this key file");
  generalOptions(command);
  command.addHelpText("after", EXAMPLES).action(async (_action: string, options: KeysOptions) => {
    const { runKeys } = await import("./keys.ts");
    await runKeys(options);
  });
}
