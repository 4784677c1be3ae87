export {
  type BaseWeights,
  isWorthMerging,
  type PrepareOptions,
  prepareWeights,
  type Quantize,
} from "./base-weights.ts";
export { createDecoder, type DecoderOptions, type RowAdapter } from "./decoder.ts";
export { createEngine, type EngineLimits, type EngineParts } from "./engine.ts";
export { bytesPerPosition, capacityFor, KVCache } from "./kv-cache.ts";
export type { OpenProgress } from "./local-engine.ts";
export { createModelRunner, type ModelRunner, type ModelRunnerOptions } from "./model-runner.ts";
export { type OpenEngineOptions, openEngine } from "./open-engine.ts";
export {
  adapterSettings,
  answerSettings,
  baseSettings,
  batchSettings,
  type EngineSettings,
  engineSettings,
} from "./settings.ts";
export type {
  AdapterInfo,
  Engine,
  EngineEvent,
  EngineModel,
  EngineRequest,
  EngineStats,
  EngineUsage,
  FinishReason,
  TokenLogprob,
} from "./types.ts";
