export { toLora } from "./assemble-lora.ts";
export { type AverageSummary, averageAdapters, averageSettings } from "./average-adapters.ts";
export {
  type ExportSummary,
  exportAdapter,
  exportSettings,
  type ImportSummary,
  importAdapter,
  importSettings,
  type LoraSummary,
} from "./export-import.ts";
export * from "./manifest.ts";
export * from "./merge-adapter.ts";
export { baseFile, type ChatFacts, chatFacts } from "./modelfile.ts";
