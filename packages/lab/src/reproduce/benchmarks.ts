// The benchmarks of the paper's table: what is asked of a cell's adapter, and all that decides its scores.
import { loadText } from "mixture-of-shards";
import { adjust, distinct, parseSettings, setting } from "mixture-of-shards-core/common";
import { z } from "zod";
import {
  BENCHMARK_NAMES,
  type BenchmarkName,
  type ChatFormat,
  defaultChatFormat,
  evaluationSettings,
  previewTasks,
  type Rules,
} from "#evaluation";

/** Benchmarks whose scores are columns, named and valued as in `evaluate`. */
export interface BenchmarkSettings {
  readonly tasks: readonly BenchmarkName[];
  /** Questions of each task, the same ones for every cell; all without. */
  readonly limit?: number | undefined;
  /** Answers to each question of HumanEval; what the rules draw without. */
  readonly samples?: number | undefined;
  /** Examples before each question, where the benchmark leaves the choice. Default: the rules' own number. */
  readonly shots?: number | undefined;
  readonly rules: Rules;
  readonly format: ChatFormat;
}

/** The same as given. Default: open-instruct's rules, as in the paper, and the rules' own format. */
export interface BenchmarkOptions extends Omit<BenchmarkSettings, "rules" | "format"> {
  readonly rules?: Rules | undefined;
  readonly format?: ChatFormat | undefined;
  /** Folder of a task's data, in the layout of `mos eval --data`. */
  readonly dataFolder: (task: BenchmarkName) => string;
}

/** A benchmark as a cell is asked it. */
export interface BenchmarkSpec extends Omit<BenchmarkSettings, "tasks"> {
  readonly task: BenchmarkName;
  readonly folder: string;
  /** Digest of everything that determines the score, except the adapter. */
  readonly identity: string;
}

/** Seed of the choice of questions and of sampled answers: one for all cells, so that they differ by their adapters. */
export const BENCHMARK_SEED = 0;

/** Each is an option of `mos reproduce`. */
export const benchmarkSettings = {
  benchmarks: setting(
    distinct(z.enum(BENCHMARK_NAMES)).describe(`one or more different ones of ${BENCHMARK_NAMES.join(", ")}`),
    {
      placeholder: "names",
      help: `comma-separated benchmarks to add as columns: ${BENCHMARK_NAMES.join(", ")}`,
    },
  ),
  benchmarkLimit: adjust(evaluationSettings.limit, {
    help: "questions per benchmark, the same for all runs",
  }),
  benchmarkSamples: evaluationSettings.samples,
  benchmarkShots: evaluationSettings.shots,
  benchmarkRules: evaluationSettings.rules,
  benchmarkFormat: evaluationSettings.chatFormat,
};

/** Throws `bad_option` with the name of the setting. */
export function resolveBenchmarkSettings(options: BenchmarkOptions): BenchmarkSettings {
  const { limit, samples, shots, rules = "open-instruct" } = options;
  const format = options.format ?? defaultChatFormat(rules);
  parseSettings(benchmarkSettings, {
    benchmarks: options.tasks,
    benchmarkLimit: limit,
    benchmarkSamples: samples,
    benchmarkShots: shots,
    benchmarkRules: rules,
    benchmarkFormat: format,
  });
  // in the order of the paper's columns
  const tasks = BENCHMARK_NAMES.filter((name) => options.tasks.includes(name));
  return { tasks, limit, samples, shots, rules, format };
}

/** Reads the data of all tasks, so that what is wrong with them is said before anything is trained. */
export async function planBenchmarks(
  settings: BenchmarkSettings,
  { model, dataFolder }: { readonly model: string; readonly dataFolder: BenchmarkOptions["dataFolder"] },
) {
  const text = await loadText(model);
  // making all prompts is for the cells
  const previews = await previewTasks({ ...settings, dataFolder, seed: BENCHMARK_SEED, text });
  return [...previews].map(([task, { dataDigest, shots, notes }]) => {
    return { task, folder: dataFolder(task), dataDigest, shots, notes };
  });
}
