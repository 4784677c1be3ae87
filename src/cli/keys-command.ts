import { type Command, InvalidArgumentError } from "commander";
import { type GeneralOptions, GROUPS, generalOptions } from "./command-options.ts";
import { whole } from "./option-values.ts";

/** What `mos keys` can do. */
const KEY_ACTIONS = ["create", "list", "revoke"] as const;
export type KeyAction = (typeof KEY_ACTIONS)[number];

export interface KeysOptions extends GeneralOptions {
  readonly name?: string;
  readonly admin?: boolean;
  readonly adapters?: readonly string[];
  readonly requestsPerMinute?: number;
  readonly maxConcurrent?: number;
  readonly append?: string;
  readonly sha256?: string;
}

function keyName(text: string): string {
  if (/^[\w.@-]{1,64}$/.test(text)) return text;
  throw new InvalidArgumentError("It must be of letters, digits and . _ - @, 64 at most.");
}

/** Fewer digits could be those of another key that is made later. */
function hashStart(text: string): string {
  if (/^[\da-f]{8,64}$/i.test(text)) return text.toLowerCase();
  throw new InvalidArgumentError(
    "It must be the first digits of a hash as mos keys list shows it, 8 at least.",
  );
}

function keyAction(text: string): KeyAction {
  const action = KEY_ACTIONS.find((known) => known === text);
  if (action !== undefined) return action;
  throw new InvalidArgumentError(`It must be one of ${KEY_ACTIONS.join(", ")}.`);
}

const EXAMPLES = `
Examples:
  mos keys create --name acme --adapters "acme-*" --append keys.jsonl
  mos keys create --name operator --admin --append keys.jsonl
  mos keys list keys.jsonl
  mos keys revoke keys.jsonl --name acme
      every key of that name
  mos keys revoke keys.jsonl --sha256 5e884898da28
      one key, by the start of its hash as list shows it

A new key is shown once: only its hash is kept. revoke adds a line that says so; a server that runs with --api-keys
reads the file again, and refuses the key within a second or so. Requests that run with it go on to their end.`;

export function keysCommand(program: Command): void {
  const command = program
    .command("keys")
    .summary("make, list and revoke API keys of mos serve")
    .description(
      "Makes a random API key, and the line of a key file that lets mos serve know it by its hash; lists the keys of such " +
        "a file, and revokes them.",
    )
    .usage("create --name <name> [options] | list <file> | revoke <file> (--name <name> | --sha256 <start>)")
    .argument("<action>", KEY_ACTIONS.join(", "), keyAction)
    .argument("[file]", "list, revoke: the key file")
    .optionsGroup("Key:")
    .option("--name <name>", "whose key it is; fair shares and limits are by it", keyName)
    .option("--sha256 <start>", "revoke: the key whose hash begins like this", hashStart)
    .optionsGroup("New key:")
    .option("--admin", "it may add, replace and remove adapters")
    .option("--adapters <pattern...>", 'adapters that it may use, such as "acme-*" (default: all)')
    .option("--requests-per-minute <n>", "requests that it may send a minute", whole(1))
    .option("--max-concurrent <n>", "requests that it may have at a time", whole(1))
    .optionsGroup(GROUPS.output)
    .option("--append <file>", "create: add the line to this key file");
  generalOptions(command);
  command
    .addHelpText("after", EXAMPLES)
    .action(async (action: KeyAction, file: string | undefined, options: KeysOptions) => {
      const { runKeys } = await import("./keys.ts");
      await runKeys(action, { file, options });
    });
}
