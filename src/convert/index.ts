export { toLora } from "./assemble-lora.ts";
export {
  type ExportFormat,
  type ExportOptions,
  type ExportSummary,
  exportAdapter,
  exportSettings,
  type ImportOptions,
  type ImportSummary,
  importAdapter,
  importSettings,
  type LoraSummary,
} from "./export-import.ts";
export type { FileDtype } from "./file-dtype.ts";
export { type MergeEvent, type MergeOptions, mergeAdapter, mergeSettings } from "./merge-adapter.ts";
export { planMerge } from "./merge-plan.ts";
export type { ImportSource } from "./read-lora.ts";
