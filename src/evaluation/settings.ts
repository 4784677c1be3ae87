import { choice, flag, integer, names, number } from "#core";
import { CHAT_FORMATS, RULES } from "./benchmark.ts";
import { BENCHMARK_NAMES } from "./benchmarks/index.ts";

/** Whose rules score a prediction. */
export const rulesSetting = choice(RULES, {
  default: "open-instruct",
  help: "rules of open-instruct, as in the paper, or of lm-evaluation-harness",
});

/** What is asked, and how. Each is an option of `mos eval`. */
export const evaluationSettings = {
  tasks: names(BENCHMARK_NAMES, {
    default: BENCHMARK_NAMES,
    defaultText: "all",
    help: `benchmarks, with commas between them: ${BENCHMARK_NAMES.join(", ")}`,
  }),
  rules: rulesSetting,
  chatFormat: choice(CHAT_FORMATS, {
    defaultText: "what the rules use",
    help: "how a prompt becomes a chat: Tulu's tags, the model's own template, or not at all",
  }),
  shots: integer({ min: 0, defaultText: "what the rules show", help: "examples before a question" }),
  limit: integer({ min: 1, defaultText: "all", help: "questions of each benchmark, drawn by the seed" }),
  samples: integer({
    min: 1,
    defaultText: "what the rules draw",
    help: "HumanEval: predictions for each problem",
  }),
  temperature: number({
    min: 0,
    defaultText: "what the rules draw at",
    help: "HumanEval: temperature of the predictions",
  }),
  direct: flag({ help: "BBH: examples with nothing but the answer" }),
  seed: integer({ min: 0, default: 0, help: "of questions and predictions that are drawn" }),
};
