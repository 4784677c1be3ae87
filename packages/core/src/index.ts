export {
  type Adapter,
  type AdapterConfig,
  type AdapterConfigInput,
  adapterParams,
  budget,
  createAdapter,
  describeTrainedOn,
  findProblem,
  inspectAdapter,
  isAdapterInUse,
  listAdapters,
  loadAdapter,
  methods,
  PAPER_ROWS,
  parseAdapterConfig,
  saveAdapter,
  shardCounts,
  unfinishedText,
} from "#adapters";
export { type ErrorCode, MosError } from "#common";
export { exportAdapter, importAdapter, mergeAdapter } from "#convert";
export type { ExampleInput } from "#data";
export { checkDataset, type Example, encodeExample, encodePrompt, readDataset, splitValidation } from "#data";

export { fetchTextFile, hubSettings, pullDataset, type TransferEvent } from "#hub";
export {
  baseSettings,
  batchSettings,
  type Engine,
  type EngineEvent,
  type EngineOptions,
  generate,
  openEngine,
  textResponse,
  textStream,
  unpackLogprobs,
} from "#inference";
export { type LearnEvent, type LearnOptions, learn, type NightReport } from "#learning";
export {
  type BaseModel,
  inspectModel,
  loadModel,
  loadText,
  locateModel,
  openModel,
  presetConfig,
  readModelConfig,
  toLayerShapes,
} from "#models";
export type { ChatMessage, LoadedText } from "#text";
export {
  type FinetuneEvent,
  type FinetuneOptions,
  type FinetuneSettings,
  type FinetuneSettingsInput,
  finetune,
  finetuneSettings,
  previewRun,
  type RunPreview,
  runCheck,
  usualLearningRate,
  validationLoss,
} from "#training";
