// The benchmarks of the paper's table: what is asked of a cell's adapter, and all that decides its scores.
import { loadText } from "mixture-of-shards";
import { type BenchmarkName, previewTasks } from "#evaluation";
import type { Settings } from "./settings.ts";

type BenchmarkSettings = NonNullable<Settings["benchmarks"]>;

/** A benchmark as a cell is asked it. */
export interface BenchmarkSpec extends Omit<BenchmarkSettings, "tasks"> {
  readonly task: BenchmarkName;
  readonly folder: string;
  /** Digest of everything that determines the score, except the adapter. */
  readonly identity: string;
}

/** Seed of the choice of questions and of sampled answers: one for all cells, so that they differ by their adapters. */
export const BENCHMARK_SEED = 0;

/** Reads the data of all tasks, so that what is wrong with them is said before anything is trained. */
export async function planBenchmarks(
  settings: BenchmarkSettings,
  { model, dataFolder }: { readonly model: string; readonly dataFolder: (task: BenchmarkName) => string },
) {
  const text = await loadText(model);
  // making all prompts is for the cells
  const previews = await previewTasks({ ...settings, dataFolder, seed: BENCHMARK_SEED, text });
  return [...previews].map(([task, { dataDigest, shots, notes }]) => {
    return { task, folder: dataFolder(task), dataDigest, shots, notes };
  });
}
