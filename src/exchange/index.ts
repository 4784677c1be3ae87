export { type AssembledLora, assembleLora, type SiteFactors } from "./assemble-lora.ts";
export { FILE_DTYPES, type FileDtype } from "./file-dtype.ts";
export { type MergeProgress, type WriteMergedOptions, writeMerged } from "./merge.ts";
export {
  DEFAULT_SHARD_SIZE,
  type MergePlan,
  type MergePlanOptions,
  type MergeShard,
  planMerge,
} from "./merge-plan.ts";
export { IMPORT_SOURCES, type ImportSource, type ReadLora, readLora } from "./read-lora.ts";
export { toLora } from "./to-lora.ts";
export { writeGgufLora, writePeft } from "./write-lora.ts";
