// The command line: one file `…-command.ts` for each command declares its options and help; the work behind it is
// loaded when it runs, so that help is quick. Errors become text and exit codes here and nowhere else.
import { readFileSync, writeSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { flagsOf } from "./command-options.ts";
import { evalCommand } from "./eval-command.ts";
import { exportCommand } from "./export-command.ts";
import { describeFailure, type FailedCommand, failureText } from "./failure.ts";
import { generateCommand } from "./generate-command.ts";
import { importCommand } from "./import-command.ts";
import { inspectCommand } from "./inspect-command.ts";
import { keysCommand } from "./keys-command.ts";
import { mergeCommand } from "./merge-command.ts";
import { paramsCommand } from "./params-command.ts";
import { pullCommand } from "./pull-command.ts";
import { quickstartCommand } from "./quickstart-command.ts";
import { reproduceCommand } from "./reproduce-command.ts";
import { scoreCommand } from "./score-command.ts";
import { serveCommand } from "./serve-command.ts";
import { trainCommand } from "./train-command.ts";

/** The same place from src/cli and from dist/cli. */
const PACKAGE = new URL("../../package.json", import.meta.url);

function versionOf(): string {
  const { version }: { version: string } = JSON.parse(readFileSync(PACKAGE, "utf8"));
  return version;
}

export function createProgram(): Command {
  const program = new Command("mos")
    .description(
      "Fine-tunes open language models with Mixture-of-Shards adapters; runs, evaluates, serves, merges and exports them, " +
        "and reproduces the tables and the figure of the paper.",
    )
    .version(versionOf(), "-v, --version", "show the version")
    .helpOption("-h, --help", "show this help")
    .helpCommand("help [command]", "show the help of a command")
    .option("--verbose", "show where an error came from")
    .exitOverride() // errors are thrown, and worded in one place
    .configureOutput({ outputError: () => undefined })
    .addHelpText(
      "after",
      `
First steps:
  mos quickstart                                  the whole way on a bundled model, in well under 90 s
  mos pull HuggingFaceTB/SmolLM2-135M-Instruct    download a model
  mos train --model HuggingFaceTB/SmolLM2-135M-Instruct --data train.jsonl --out adapters/mine
  mos generate --model HuggingFaceTB/SmolLM2-135M-Instruct --adapter adapters/mine --chat
  mos eval --model HuggingFaceTB/SmolLM2-135M-Instruct --adapter adapters/mine --base --limit 100 --out results.json
  mos serve --model HuggingFaceTB/SmolLM2-135M-Instruct --adapters adapters
  mos export adapters/mine --model HuggingFaceTB/SmolLM2-135M-Instruct --format peft --out mine-lora
  mos reproduce table2 --list --model HuggingFaceTB/SmolLM2-135M-Instruct

mos COMMAND --help tells more about a command.`,
    );
  quickstartCommand(program);
  pullCommand(program);
  trainCommand(program);
  generateCommand(program);
  inspectCommand(program);
  exportCommand(program);
  importCommand(program);
  mergeCommand(program);
  paramsCommand(program);
  reproduceCommand(program);
  evalCommand(program);
  scoreCommand(program);
  serveCommand(program);
  keysCommand(program);
  return program;
}

/** The command that arguments are for, as far as they were understood. */
function commandOf(program: Command, args: readonly string[]): FailedCommand {
  const name = args.find((arg) => !arg.startsWith("-"));
  const command = program.commands.find((candidate) => candidate.name() === name);
  return command === undefined
    ? { command: "mos", options: new Map() }
    : { command: `mos ${command.name()}`, options: flagsOf(command) };
}

const isMissingOption = (error: unknown): boolean =>
  error instanceof CommanderError && error.code === "commander.missingMandatoryOptionValue";

/** Commander looks for required options first; where one was mistyped, that is the better thing to tell. */
function mistypedOption(args: readonly string[]): unknown {
  const program = createProgram();
  for (const command of program.commands) {
    for (const option of command.options) option.makeOptionMandatory(false);
    command.action(() => undefined);
  }
  try {
    program.parse(args, { from: "user" });
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Help for a command that does not exist would be the general help; `mos NAME` says that there is none. */
function helpTopic(args: readonly string[], program: Command): readonly string[] {
  const [first, name] = args;
  const isUnknown = name !== undefined && !program.commands.some((command) => command.name() === name);
  return first === "help" && isUnknown ? args.slice(1) : args;
}

/**
 * A reader that has seen enough, such as `head`, is no error: it ends the program, and what can be saved is saved as
 * after Ctrl-C. A stream that cannot be written for another reason, such as a full disk, is one.
 */
function endOnBrokenStream(stream: NodeJS.WriteStream, name: string): void {
  let isBroken = false;
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (isBroken) return;
    isBroken = true;
    if (error.code === "EPIPE") {
      if (!process.emit("SIGINT")) process.exit(0);
      return;
    }
    writeSync(2, `mos: ${name} cannot be written (${error.code ?? error.message})\n`);
    process.exit(1);
  });
}

/**
 * Runs the program on the arguments after its name.
 *
 * @returns The exit code: 0, 1 for an error, 2 for options that cannot be used, 130 when stopped.
 */
export async function run(args: readonly string[]): Promise<number> {
  endOnBrokenStream(process.stdout, "standard output");
  endOnBrokenStream(process.stderr, "standard error");
  const program = createProgram();
  try {
    if (args.length === 0) {
      program.outputHelp();
      return 0;
    }
    await program.parseAsync(helpTopic(args, program), { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0; // help or version was shown
    const cause = isMissingOption(error) ? (mistypedOption(args) ?? error) : error;
    const failure = describeFailure(cause, commandOf(program, args));
    const flags = { json: args.includes("--json"), verbose: args.includes("--verbose") };
    process.stderr.write(failureText(failure, { error, ...flags }));
    return failure.exitCode;
  }
}
