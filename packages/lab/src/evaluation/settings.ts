import { flag, setting } from "mixture-of-shards-core/common";
import { z } from "zod";
import { CHAT_FORMATS, RULES } from "./benchmark.ts";
import { BENCHMARK_NAMES, PAPER_BENCHMARKS } from "./benchmarks/index.ts";

/** The interpreter of HumanEval's programs. */
export const python = setting(z.string(), {
  placeholder: "path",
  help: "run HumanEval programs with this Python interpreter, without a sandbox",
});

/** Settings of an evaluation. Each is an option of `mos eval`. */
export const evaluationSettings = {
  tasks: setting(z.array(z.enum(BENCHMARK_NAMES)).min(1).readonly(), {
    common: true,
    default: PAPER_BENCHMARKS,
    defaultText: "the paper's",
    help: `comma-separated benchmarks: ${BENCHMARK_NAMES.join(", ")}`,
  }),
  rules: setting(z.enum(RULES), {
    default: "open-instruct",
    help: "scoring rules: open-instruct's, as in the paper, or lm-evaluation-harness's",
  }),
  chatFormat: setting(z.enum(CHAT_FORMATS), {
    defaultText: "depends on --rules",
    help: "chat format of prompts: Tulu's tags, the model's own template, or none",
  }),
  shots: setting(z.int().min(0), {
    defaultText: "depends on --rules",
    help: "few-shot examples per question",
  }),
  limit: setting(z.int().min(1), {
    common: true,
    defaultText: "all",
    help: "questions per benchmark, sampled with --seed",
  }),
  samples: setting(z.int().min(1), {
    defaultText: "depends on --rules",
    help: "HumanEval: samples per problem",
  }),
  temperature: setting(z.number().min(0), {
    defaultText: "depends on --rules",
    help: "HumanEval: sampling temperature",
  }),
  direct: flag({ help: "BBH: direct answers without chain of thought" }),
  seed: setting(z.int().min(0), { default: 0, help: "random seed for sampling questions and answers" }),
};
