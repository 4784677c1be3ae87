export { toLora } from "./assemble-lora.ts";
export { FILE_DTYPES, type FileDtype } from "./file-dtype.ts";
export { type MergeProgress, writeMerged } from "./merge.ts";
export { DEFAULT_SHARD_SIZE, type MergePlan, planMerge } from "./merge-plan.ts";
export { IMPORT_SOURCES, type ImportSource, readLora } from "./read-lora.ts";
export { writeGgufLora, writePeft } from "./write-lora.ts";
