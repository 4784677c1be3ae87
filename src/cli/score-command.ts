import { type Command, Option } from "commander";
import { type GeneralOptions, GROUPS, generalOptions, TASK_RULES, TASKS } from "./command-options.ts";

/** Options of `mos score`. */
export interface ScoreOptions extends GeneralOptions {
  readonly task: (typeof TASKS)[number];
  readonly rules: (typeof TASK_RULES)[number];
  readonly file: string;
  readonly out?: string;
  readonly python?: string;
}

const EXAMPLES = `
Examples:
  mos score --task gsm8k --file cases.jsonl
  mos score --task bbh --rules lm-eval --file cases.jsonl --out marks.jsonl
  mos score --task humaneval --file completions.jsonl
  mos score --task humaneval --file completions.jsonl --python /usr/bin/python3

A line of the file is {"prediction": "So the answer is 18.", "references": "18"}; references may be a list, of which the best
counts. In mmlu they are a letter, in gsm8k a number or a worked answer with ####, in humaneval the list
["<prompt>", "<test>", "<entry point>"], and programs run in a sandbox, without files and network; --python runs them with a
Python of this machine instead, which is no sandbox.
Each becomes a line {"extracted": "18", "score": 1}: 0 to 1, but 0 to 100 in tydiqa, where score is f1. Where a task has
several metrics, each has a field of its own. The mean goes to stderr.`;

/** Adds `mos score`. */
export function scoreCommand(program: Command): void {
  const command = program
    .command("score")
    .summary("mark answers that are there already, by the rules of a benchmark")
    .description("Marks answers that any program wrote, by the rules of one of the five benchmarks.")
    .usage("--task <name> --file <file> [options]")
    .optionsGroup(GROUPS.data)
    .addOption(
      new Option("--task <name>", "the benchmark whose rules count").choices(TASKS).makeOptionMandatory(),
    )
    .addOption(
      new Option("--rules <name>", "open-instruct's, as in the paper, or lm-evaluation-harness's")
        .choices(TASK_RULES)
        .default("open-instruct"),
    )
    .addOption(new Option("--file <file>", "JSON Lines of predictions and references").makeOptionMandatory())
    .optionsGroup(GROUPS.output)
    .option("--out <file>", "write the marks to this file instead of stdout")
    .optionsGroup(GROUPS.machine)
    .option("--python <path>", "run HumanEval's programs with this Python, which is no sandbox");
  generalOptions(command, { json: "print the mean as JSON, too; marks are JSON Lines always" });
  command.addHelpText("after", EXAMPLES).action(async (options: ScoreOptions) => {
    const { runScore } = await import("./score.ts");
    await runScore(options);
  });
}
