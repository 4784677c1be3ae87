import type { TaskName } from "../types.ts";
import { readBbh } from "./bbh.ts";
import type { Count } from "./counts.ts";
import { readGsm8k } from "./gsm8k.ts";
import { readHumanEval } from "./humaneval.ts";
import { readMmlu } from "./mmlu.ts";
import { readTydiqa } from "./tydiqa.ts";

/** What every benchmark's data say of themselves. */
export interface BenchmarkData {
  readonly counts: readonly Count[];
  readonly digest: string;
}

/** Reads and checks all of a benchmark's data. */
export const readers: Readonly<Record<TaskName, (folder: string) => Promise<BenchmarkData>>> = {
  mmlu: readMmlu,
  bbh: readBbh,
  gsm8k: readGsm8k,
  tydiqa: readTydiqa,
  humaneval: readHumanEval,
};
