// The command line: a row for each command, whose file is loaded only when it is needed, so that help is quick. Errors
// become text and exit codes here and nowhere else.
import { writeSync } from "node:fs";
import { Command as Commander, CommanderError } from "commander";
import { errorText, MosError, omitUndefined, oneLine } from "mixture-of-shards-core/common";
import { addOnCommands, type CommandEntry, installText, manifest, packageOfOption } from "./add-ons.ts";
import type { Command } from "./command.ts";
import { breakColumns, breakLines, paint, terminalColumns } from "./format.ts";
import { MOS } from "./terminal.ts";

/** Every command, in the order of the help. */
export const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  quickstart: {
    summary: "train an adapter for a bundled toy model, in under 90 s",
    load: () => import("./quickstart.ts"),
  },
  pull: {
    summary: "download a model or an adapter from the Hugging Face Hub",
    load: () => import("./pull.ts"),
  },
  data: {
    summary: "inspect and convert training data, and make it from documents",
    load: () => import("./data.ts"),
  },
  train: { summary: "fine-tune an adapter on your data", load: () => import("./train.ts") },
  learn: {
    summary: "learn from corrections, and use what was learnt if it is better",
    load: () => import("./learn.ts"),
  },
  generate: {
    summary: "answer a prompt or chat in the terminal",
    load: () => import("./generate.ts"),
  },
  inspect: {
    summary: "show the settings, size and norms of an adapter, or the weights of a model",
    load: () => import("./inspect.ts"),
  },
  export: {
    summary: "export an adapter as a plain LoRA for PEFT or llama.cpp",
    load: () => import("./export.ts"),
  },
  push: { summary: "upload an adapter to the Hugging Face Hub", load: () => import("./push.ts") },
  import: { summary: "import a LoRA saved by PEFT", load: () => import("./import.ts") },
  merge: { summary: "merge an adapter into its base model", load: () => import("./merge.ts") },
  params: { summary: "estimate an adapter's size and training memory", load: () => import("./params.ts") },
  serve: {
    summary: "serve a model and its adapters through OpenAI's API",
    load: async () => ({ command: await (await import("./serve.ts")).loadCommand() }),
  },
  studio: {
    summary: "fine-tune, watch and compare in your browser",
    load: async () => ({ command: await (await import("./studio.ts")).loadCommand() }),
  },
  adapters: {
    summary: "list adapters, roll back to an earlier version, write metrics for TensorBoard",
    load: () => import("./adapters.ts"),
  },
  keys: {
    summary: "create, list and revoke API keys for mos serve",
    load: async () => ({ command: await (await import("./keys.ts")).loadCommand() }),
  },
  ...addOnCommands,
};

/** The program before a command in a text, whose line may break between them. */
const NAMED = new RegExp(
  `(?<![\\w/@.-])mos(?=(?: |\\n +)(?:${[...Object.keys(COMMANDS), "COMMAND"].join("|")})\\b)`,
  "g",
);

/** Texts of all layers name a command as `mos train`; people see what they can paste. */
export const asCalled = (text: string, program = MOS): string => text.replaceAll(NAMED, program);

/** Commands by name, as far as they were loaded. */
export type LoadedCommands = ReadonlyMap<string, Command>;

/** Loads the files of commands; of all without names. */
export async function loadCommands(
  names: readonly string[] = Object.keys(COMMANDS),
): Promise<LoadedCommands> {
  const loaded = new Map<string, Command>();
  for (const name of names) {
    const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (entry !== undefined) loaded.set(name, (await entry.load()).command);
  }
  return loaded;
}

/** The program. A command that was not loaded is only named in the help. */
export function createProgram(commands: LoadedCommands): Commander {
  const program = new Commander(MOS)
    .description(
      "Fine-tunes open language models with Mixture-of-Shards adapters; runs, evaluates, serves, merges and exports them; " +
        "and reproduces the tables and figure of the paper.",
    )
    .version(manifest.version, "-v, --version", "show the version")
    .helpOption("-h, --help", "show this help")
    .helpCommand("help [command]", "show the help of a command")
    .option("--verbose", "show stack traces")
    .exitOverride() // errors are thrown, and worded in one place
    .configureOutput({
      outputError: () => undefined,
      getOutHelpWidth: () => terminalColumns(),
      writeOut: (text) => void process.stdout.write(breakLines(asCalled(text), breakColumns())),
    })
    .configureHelp({ styleTitle: (title) => paint("bold", title) })
    .addHelpText(
      "after",
      `
First steps:
  mos quickstart                train and try an adapter on a bundled model, in under 90 s
  mos studio                    the same and more in your browser
  mos params --list-presets     models that people choose now, and earlier ones
  mos pull Qwen/Qwen3.5-0.8B    download one
  mos train --model Qwen/Qwen3.5-0.8B --data train.jsonl --out adapters/mine
  mos generate --model Qwen/Qwen3.5-0.8B --adapter adapters/mine --chat
  mos eval --model Qwen/Qwen3.5-0.8B --adapter adapters/mine --base --limit 100 --out results.json
  mos serve --model Qwen/Qwen3.5-0.8B --adapters adapters
  mos export adapters/mine --model Qwen/Qwen3.5-0.8B --format peft --out mine-lora
  mos reproduce table2 --list --model Qwen/Qwen3.5-0.8B

Run mos COMMAND --help for the options of a command.`,
    );
  for (const [name, { summary }] of Object.entries(COMMANDS)) {
    const command = commands.get(name);
    (command?.attach(program, name) ?? program.command(name)).summary(summary);
  }
  return program;
}

/** The name of the command that arguments are for, or that help is asked about. */
function nameIn(args: readonly string[]): string {
  const [first = "", second = ""] = args.filter((arg) => !arg.startsWith("-"));
  return first === "help" ? second : first;
}

/** The command that arguments are for as the user writes it, `mos train`, with attribute names and flags of its options. */
function findCommand(program: Commander, args: readonly string[]) {
  const found = program.commands.find((candidate) => candidate.name() === nameIn(args));
  const flags = found?.options.map((one) => [one.attributeName(), one.long ?? one.flags] as const);
  const options: ReadonlyMap<string, string> = new Map(flags);
  return { command: found === undefined ? MOS : `${MOS} ${found.name()}`, options };
}

/** An option of mos serve or mos keys that comes with a package which is not installed. */
function missingAddOn(error: unknown, args: readonly string[]): MosError | undefined {
  if (!(error instanceof CommanderError) || error.code !== "commander.unknownOption") return undefined;
  const [, flag] = /'(--[a-z-]+)/.exec(error.message) ?? [];
  const named = nameIn(args);
  const command = named === "studio" ? "serve" : named; // it has the same options
  if (flag === undefined || (command !== "serve" && command !== "keys")) return undefined;
  const name = packageOfOption(command, flag);
  if (name === undefined) return undefined;
  return new MosError(
    "not_found",
    `${flag} requires the package ${name}, which is not installed: ${installText(name)}`,
  );
}

/** Help for a command that does not exist would be the general help; `mos NAME` says that there is none. */
function helpTopic(args: readonly string[], program: Commander): readonly string[] {
  const [first, name] = args;
  const isUnknown = name !== undefined && !program.commands.some((command) => command.name() === name);
  return first === "help" && isUnknown ? args.slice(1) : args;
}

/**
 * A reader that has seen enough, such as `head`, is not an error: it ends the program, and what can be saved is saved as
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
  let program = createProgram(new Map());
  try {
    program = createProgram(await loadCommands([nameIn(args)]));
    if (args.length === 0) {
      program.outputHelp();
      return 0;
    }
    await program.parseAsync(helpTopic(args, program), { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0; // help or version was shown
    const cause = missingAddOn(error, args) ?? error;
    const described = describeFailure(cause, findCommand(program, args));
    const failure = { ...described, message: asCalled(described.message) };
    const flags = { json: args.includes("--json"), verbose: args.includes("--verbose") };
    process.stderr.write(failureText(failure, { error, ...flags }));
    return failure.exitCode;
  }
}

/** Result of a failed command: a line for people, a code for programs, a status for the shell. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly exitCode: number;
}

const CANCELLED = 130; // 128 + SIGINT, as shells have it
const USAGE = 2;

const isAbort = (error: unknown): boolean => error instanceof Error && error.name === "AbortError";

/** What other programs call our commands. */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map([
  ["chat", "generate --chat"],
  ["run", "generate --chat"],
  ["finetune", "train"],
  ["fine-tune", "train"],
  ["convert", "export"],
  ["download", "pull"],
  ["list", "adapters list"],
]);

/** What other trainers call our options. */
const OTHER_OPTIONS: ReadonlyMap<string, string> = new Map([
  ["lr", "learning-rate"],
  ["num-epochs", "epochs"],
  ["num-train-epochs", "epochs"],
  ["max-steps", "steps"],
  ["iters", "steps"],
  ["per-device-train-batch-size", "batch-size"],
  ["max-seq-length", "max-length"],
  ["lora-r", "rank"],
  ["lora-rank", "rank"],
  ["lora-alpha", "alpha"],
  ["lora-dropout", "dropout"],
  ["target-modules", "targets"],
  ["warmup-ratio", "warmup"],
  ["lr-scheduler-type", "schedule"],
  ["output-dir", "out"],
  ["adapter-path", "adapter"],
]);

/** Commander words its errors "error: unknown option '--foo'\n(Did you mean --bar?)". */
function usageMessage({ message }: CommanderError, command: string): string {
  const text = message
    .replace(/^error: |\.$/g, "")
    .replace(/^unknown command '([a-z-]+)'$/, (whole, name: string) => {
      const ours = OTHER_NAMES.get(name);
      return ours === undefined ? whole : `${whole}; did you mean ${ours}?`;
    })
    .replace(/^unknown option '--([a-z_-]+)(?:=[^']*)?'(?:\n.*)?$/, (whole, name: string) => {
      const ours = OTHER_OPTIONS.get(name.replaceAll("_", "-"));
      return ours === undefined ? whole : `unknown option '--${name}'; did you mean --${ours}?`;
    })
    .replace(/^command-argument value ('.*') is invalid for argument '(.*)'\. E/, "$1 is not a valid $2; e")
    .replace(
      /^too many arguments.*Expected (\d+) arguments? but got (\d+)$/,
      "too many arguments ($2 outside of options, $1 expected); put a value with spaces in quotes, and repeat an option for another value",
    )
    .replace(/\n\((D|d)id you mean (.*)\?\)$/, "; did you mean $2?");
  return `${text}${text.endsWith("?") ? "" : `; see ${command} --help`}`;
}

/**
 * Messages name settings in camelCase, and users know options: `learningRate: 50 is …` becomes `--learning-rate: 50 is …`.
 * A name at the start is a setting, and later ones behind `settings.` or `adapter.`.
 *
 * @param options Attribute names and flags of the command that failed.
 */
function inOptionTerms(message: string, options: ReadonlyMap<string, string>): string {
  return message.replace(
    /^(?:adapter[.:] ?)?([a-z][A-Za-z0-9]*)(?=[: ])|\b(?:settings|adapter)\.([a-z][A-Za-z0-9]*)/g,
    (whole, first?: string, later?: string) => options.get(first ?? later ?? "") ?? whole,
  );
}

/** Turns whatever was thrown into what is shown. */
export function describeFailure(
  error: unknown,
  { command, options }: ReturnType<typeof findCommand>,
): Failure {
  if (error instanceof CommanderError)
    return { code: "bad_option", message: usageMessage(error, command), exitCode: USAGE };
  if (error instanceof MosError) {
    const { code } = error;
    const named =
      code === "bad_option" || code === "bad_config" ? inOptionTerms(error.message, options) : error.message;
    const exitCode = code === "cancelled" ? CANCELLED : code === "bad_option" ? USAGE : 1;
    return { code, message: named, exitCode };
  }
  if (isAbort(error)) return { code: "cancelled", message: "stopped", exitCode: CANCELLED };
  const reason = errorText(error);
  return {
    code: "unexpected",
    message: `unexpected error: ${oneLine(reason.trim())}; run again with --verbose for a stack trace`,
    exitCode: 1,
  };
}

/** The text for stderr. */
export function failureText(
  failure: Failure,
  { error, json, verbose }: { readonly error: unknown; readonly json: boolean; readonly verbose: boolean },
): string {
  const stack = verbose ? errorStack(error) : undefined;
  const { code, message } = failure;
  if (json) return `${JSON.stringify({ error: { code, message, ...omitUndefined({ stack }) } })}\n`;
  const said = `${paint(["bold", "red"], "mos:", process.stderr)} ${message}`;
  return `${breakLines(said, breakColumns(process.stderr))}\n${stack === undefined ? "" : `${stack}\n`}`;
}

function errorStack(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const cause = error.cause === undefined ? undefined : errorStack(error.cause);
  return cause === undefined ? error.stack : `${error.stack}\ncaused by ${cause}`;
}
