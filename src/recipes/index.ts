// Recipes: the whole jobs, each wired together on one page. This is the package's public door.
export { type AdapterConfig, type AdapterConfigInput, type Budget, METHOD_NAMES } from "#adapters";
export { type ErrorCode, MosError } from "#core";
export type { ExampleInput } from "#data";
export type { FileDtype, ImportSource } from "#exchange";
export { type HubOptions, type HubSettings, hubSettings, type TransferEvent } from "#hub";
export {
  type Engine,
  type EngineEvent,
  type EngineRequest,
  type EngineUsage,
  type FinishReason,
  type OpenEngineOptions,
  type OpenProgress,
  openEngine,
  type SamplingOptions,
  type TextRequest,
} from "#inference";
export {
  type BaseDtype,
  type DownloadEvent,
  geometryOf,
  type LoadProgress,
  type LocateCalls,
  type LocateOptions,
  locateModel,
  type PresetName,
  presetConfig,
  presets,
} from "#models";
export type { Device } from "#runtime";
export type { ChatMessage, LoadedText } from "#text";
export type { ScheduleName } from "#training";
export { type DescribedAdapter, type ListedAdapter, listAdapters } from "./adapters.ts";
export { type BaseModel, type LoadOptions, loadModel, loadText } from "./base.ts";
export { type EvaluateModelEvent, type EvaluateModelOptions, evaluateModel } from "./evaluate.ts";
export {
  EXPORT_FORMATS,
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
} from "./exchange.ts";
export { finetune } from "./finetune.ts";
export {
  checkpointSettings,
  dataSettings,
  type FinetuneSettings,
  type FinetuneSettingsInput,
  finetuneSettings,
  memorySettings,
  trainingSettings,
  usualLearningRate,
} from "./finetune-settings.ts";
export { type GenerateOptions, generate, type Prompt, textStream } from "./generate.ts";
export { type Inspection, type InspectOptions, inspectAdapter } from "./inspect.ts";
export {
  formText,
  type InspectModelOptions,
  inspectModel,
  type ModelInspection,
  type TypeUse,
} from "./inspect-model.ts";
export {
  baseOfConfig,
  baseOfFiles,
  expectRunMemory,
  keptAs,
  type PlannedBase,
  planMemory,
  type RunMemory,
  type RunSize,
} from "./memory.ts";
export { type MergeEvent, type MergeOptions, mergeAdapter, mergeSettings } from "./merge.ts";
export {
  FLEETS,
  type FleetBytes,
  PAPER_ROWS,
  type PaperRow,
  type PaperTableRow,
  PRECISIONS,
  type Precision,
  paperTable,
} from "./paper-table.ts";
export {
  type AdapterParams,
  adapterParams,
  parameterCount,
  readModelConfig,
  type TypeParams,
} from "./params.ts";
export type { DataInput, FinetuneOptions } from "./prepare-run.ts";
export {
  type PreviewedLine,
  type PreviewedToken,
  type PreviewOptions,
  type PreviewWarning,
  previewRun,
  type RunPreview,
} from "./preview.ts";
export { type FinetuneEvent, KEPT_VERSIONS, type ModelSummary, type WarningReason } from "./run-results.ts";
export {
  type AppOptions,
  networkSettings,
  openApp,
  type RunningServer,
  type ServedApp,
  type ServedModel,
  type ServeOptions,
  serve,
} from "./serve.ts";
export { metricsToTensorboard } from "./tensorboard.ts";
export { adapterModel, frozenModel, wholeModel } from "./trainable.ts";
