import { type Command, InvalidArgumentError, Option } from "commander";
import { type GeneralOptions, GROUPS, generalOptions } from "./command-options.ts";
import { byteSize, whole } from "./option-values.ts";

export interface ServeOptions extends GeneralOptions {
  readonly model: string;
  readonly modelName?: string;
  readonly adapters?: string;
  readonly quantize: "none" | "int8" | "int4";
  readonly adapterMemory: number;
  readonly adapterDtype: "float32" | "bfloat16";
  readonly slotMemory: number;
  readonly cacheMemory: number;
  readonly maxBatch: number;
  readonly maxWaiting: number;
  readonly maxLength?: number;
  readonly threads?: number;
  readonly host: string;
  readonly port: number;
  readonly apiKeys?: string;
  /** False for --no-keys. */
  readonly keys: boolean;
  readonly publicMetrics?: boolean;
  readonly drainSeconds: number;
  readonly quiet?: boolean;
}

function port(text: string): number {
  const value = whole(0)(text);
  if (value <= 65_535) return value;
  throw new InvalidArgumentError("It must be a port, 0 to 65535; 0 takes a free one.");
}

function engineOptions(command: Command): Command {
  return command
    .optionsGroup(GROUPS.model)
    .requiredOption("--model <model>", "a model folder, a .gguf file, or org/name of the Hugging Face Hub")
    .option("--model-name <name>", "what clients call the base (default: the name of its folder or file)")
    .addOption(
      new Option("--quantize <bits>", "keep the base's weights in fewer bits")
        .choices(["none", "int8", "int4"])
        .default("none"),
    )
    .optionsGroup("Adapters:")
    .option("--adapters <folder>", "each of its sub-folders is an adapter, and its name a model of the API")
    .addOption(
      new Option("--adapter-memory <size>", "memory of adapters that are ready to be used")
        .argParser(byteSize())
        .default(2e9, "2GB"),
    )
    .addOption(
      new Option("--slot-memory <size>", "memory of adapters whose requests run, each expanded for its row")
        .argParser(byteSize(1))
        .default(2e9, "2GB"),
    )
    .addOption(
      new Option("--adapter-dtype <name>", "how adapters keep their numbers in memory")
        .choices(["float32", "bfloat16"])
        .default("float32"),
    )
    .optionsGroup(GROUPS.machine)
    .addOption(
      new Option("--cache-memory <size>", "memory of the keys and values of running requests")
        .argParser(byteSize(1))
        .default(4e9, "4GB"),
    )
    .option("--max-batch <n>", "requests that are answered side by side", whole(1), 16)
    .option(
      "--max-waiting <n>",
      "requests of one key that may wait; more are told to come later",
      whole(1),
      256,
    )
    .option(
      "--max-length <tokens>",
      "longest prompt and answer together (default: what the model allows, 4096 at most)",
      whole(2),
    )
    .option("--threads <n>", "threads to compute with (default: one for each core)", whole(1));
}

function networkOptions(command: Command): Command {
  return command
    .optionsGroup("Network:")
    .option("--host <address>", "where to listen; others than this machine need --api-keys", "127.0.0.1")
    .option("--port <n>", "0 takes a free one", port, 8080)
    .option("--api-keys <file>", "keys as mos keys writes them; it is read again when it changes")
    .addOption(
      new Option("--no-keys", "let everybody who reaches the port use the server").conflicts("apiKeys"),
    )
    .option("--public-metrics", "show /metrics, which names adapters, without a key")
    .option("--drain-seconds <n>", "how long running requests may go on after SIGTERM", whole(0), 30);
}

const EXAMPLES = `
Examples:
  mos serve --model org/name --adapters adapters
  mos serve --model org/name --adapters adapters --quantize int8 --adapter-memory 4GB --adapter-dtype bfloat16
  mos serve --model org/name --adapters adapters --max-batch 64 --max-length 16384 --cache-memory 24GB
  mos serve --model org/name --adapters adapters --host 0.0.0.0 --api-keys keys.jsonl

The address is a base URL of OpenAI's clients: http://127.0.0.1:8080/v1. A request's model is the base or an adapter.
/docs lists the routes, /metrics is for Prometheus. Requests are logged on stderr, one JSON object a line.
SIGTERM or Ctrl-C lets running requests end; a second one ends at once.
A size is in bytes, or has a unit: kB, MB, GB and TB count by 1000, KiB, MiB, GiB and TiB by 1024.`;

export function serveCommand(program: Command): void {
  const command = program
    .command("serve")
    .summary("serve a model and its adapters by OpenAI's API")
    .description(
      "Serves a base model and any number of adapters by OpenAI's API. Requests with different adapters are answered side by side.",
    )
    .usage("--model <model> [--adapters <folder>] [options]");
  networkOptions(engineOptions(command)).optionsGroup(GROUPS.output).option("--quiet", "log errors only");
  generalOptions(command, { json: "one JSON line on stdout when the server is ready" });
  command.addHelpText("after", EXAMPLES).action(async (options: ServeOptions) => {
    const { runServe } = await import("./serve.ts");
    process.exitCode = await runServe(options);
  });
}
