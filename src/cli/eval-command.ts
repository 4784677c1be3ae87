import { type Command, Option } from "commander";
import { type GeneralOptions, GROUPS, generalOptions, TASK_RULES, TASKS } from "./command-options.ts";
import { collected, decimal, namesOf, whole } from "./option-values.ts";

/** Options of `mos eval`. */
export interface EvalOptions extends GeneralOptions {
  readonly model: string;
  readonly adapter?: readonly string[];
  readonly base?: boolean;
  readonly tasks: readonly (typeof TASKS)[number][];
  readonly rules: (typeof TASK_RULES)[number];
  readonly chatFormat?: "tulu" | "model" | "none";
  readonly shots?: number;
  readonly limit?: number;
  readonly samples?: number;
  readonly temperature?: number;
  readonly direct?: boolean;
  readonly data?: string;
  readonly seed: number;
  readonly out: string;
  readonly python?: string;
  readonly quantize: "none" | "int8" | "int4";
  readonly maxBatch: number;
  readonly maxLength?: number;
  readonly threads?: number;
  readonly quiet?: boolean;
}

const EXAMPLES = `
Examples:
  mos eval --model org/name --tasks gsm8k --limit 200 --out results.json
  mos eval --model model.gguf --adapter adapters/mos --adapter adapters/lora --base --out results.json
  mos eval --model org/name --tasks mmlu,bbh --rules lm-eval --data benchmarks --out results.json
  mos eval --model org/name --tasks humaneval --samples 5 --chat-format model --out results.json

Without --data the benchmarks are fetched from the Hugging Face Hub, once. Answers are logged in a folder beside the
result (results.answers), one JSON line each. Ctrl-C stops; the same command goes on with what is missing, and a larger
--limit keeps what is there. HumanEval runs the model's programs in a sandbox, without files and network; --python runs
them with a Python of this machine instead, which is no sandbox.`;

function askingOptions(command: Command): Command {
  return command
    .optionsGroup("Benchmarks:")
    .addOption(
      new Option("--tasks <names>", `with commas: ${TASKS.join(", ")}`)
        .argParser(namesOf(TASKS))
        .default(TASKS, "all"),
    )
    .addOption(
      new Option("--rules <name>", "open-instruct's, as in the paper, or lm-evaluation-harness's")
        .choices(TASK_RULES)
        .default("open-instruct"),
    )
    .addOption(
      new Option(
        "--chat-format <name>",
        "Tulu's tags, the model's own template, or none (default: what the rules use)",
      ).choices(["tulu", "model", "none"]),
    )
    .option("--shots <n>", "examples before a question (default: what the rules show)", whole(0))
    .option("--limit <n>", "questions of each task, drawn by the seed (default: all)", whole(1))
    .option("--samples <n>", "HumanEval: answers of each problem (default: what the rules draw)", whole(1))
    .option("--temperature <x>", "HumanEval: of the answers (default: what the rules draw at)", decimal)
    .option("--direct", "BBH: examples with nothing but the answer")
    .option("--seed <n>", "of questions and answers that are drawn", whole(0), 0)
    .optionsGroup(GROUPS.data)
    .option("--data <folder>", "gsm8k/test.jsonl and so on, as docs/12-evaluation.md lists them");
}

/** Adds `mos eval`. */
export function evalCommand(program: Command): void {
  const command = program
    .command("eval")
    .summary("score a model and its adapters on MMLU, BBH, GSM8K, TyDi QA and HumanEval")
    .description(
      "Asks a model, and adapters on it, the questions of five benchmarks, and marks the answers as the " +
        "Mixture-of-Shards paper's authors did, or as lm-evaluation-harness does.",
    )
    .usage("--model <model> --out <file> [options]")
    .optionsGroup(GROUPS.model)
    .requiredOption("--model <model>", "a model folder, a .gguf file, or org/name of the Hugging Face Hub")
    .option("--adapter <folder>", "an adapter to score; may be given several times", collected)
    .option("--base", "score the base, too, where there are adapters")
    .addOption(
      new Option("--quantize <bits>", "keep the base's weights in fewer bits")
        .choices(["none", "int8", "int4"])
        .default("none"),
    );
  askingOptions(command)
    .optionsGroup(GROUPS.output)
    .requiredOption("--out <file>", "the result as JSON")
    .option("--quiet", "errors only")
    .optionsGroup(GROUPS.machine)
    .option("--python <path>", "run HumanEval's programs with this Python, which is no sandbox")
    .option("--max-batch <n>", "questions that are answered side by side", whole(1), 32)
    .option(
      "--max-length <tokens>",
      "longest prompt and answer together (default: what the model allows, 4096 at most)",
      whole(2),
    )
    .option("--threads <n>", "threads to compute with (default: one for each core)", whole(1));
  generalOptions(command, { json: "one JSON line for each event on stdout" });
  command.addHelpText("after", EXAMPLES).action(async (options: EvalOptions) => {
    const { runEval } = await import("./eval.ts");
    await runEval(options, program.version() ?? "");
  });
}
