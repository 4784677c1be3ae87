// The table of benchmarks: adding one is its file and a row here.
import type { Benchmark } from "../benchmark.ts";
import { bbh } from "./bbh.ts";
import { bfcl, bfclFree } from "./bfcl.ts";
import { facts } from "./facts.ts";
import { gsm8k } from "./gsm8k.ts";
import { humaneval } from "./humaneval.ts";
import { mmlu } from "./mmlu.ts";
import { tydiqa } from "./tydiqa.ts";

/**
 * The benchmarks by name: the paper's in the order of its tables, then others.
 *
 * @example
 * const { questions } = await benchmarks.gsm8k.questions("data", { rules: "open-instruct", format: "tulu", seed: 0, text });
 */
export const benchmarks = {
  mmlu,
  bbh,
  gsm8k,
  tydiqa,
  humaneval,
  bfcl,
  bfcl_free: bfclFree,
  facts,
} as const satisfies Record<string, Benchmark>;

/** One of the table's names. */
export type BenchmarkName = keyof typeof benchmarks;

/** In the order of the table. That each row has its benchmark's own name is checked by the type. */
export const BENCHMARK_NAMES: readonly BenchmarkName[] = Object.values(benchmarks).map(({ name }) => name);

/** The benchmarks of the paper, which are asked by default. */
export const PAPER_BENCHMARKS: readonly BenchmarkName[] = ["mmlu", "bbh", "gsm8k", "tydiqa", "humaneval"];

/** One of them, whichever it is. */
export const findBenchmark = (name: BenchmarkName): Benchmark<BenchmarkName> => benchmarks[name];
