export { samplingBy } from "./answer-defaults.ts";
export { type BaseWeights, type PrepareOptions, prepareWeights, type WeightStream } from "./base-weights.ts";
export { createEngine, type EngineOptions, type FrontLimits } from "./engine.ts";
export { type CoreLimits, type CoreParts, createCore, type EngineCore } from "./engine-core.ts";
export { type GenerateOptions, generate, type Prompt, textStream } from "./generate.ts";
export { bytesPerPosition, capacityFor, KVCache } from "./kv-cache.ts";
export { createModelRunner, type ModelRunner, type ModelRunnerOptions } from "./model-runner.ts";
export type { OpenProgress } from "./open-core.ts";
export { type OpenEngineOptions, openEngine } from "./open-engine.ts";
export type { ModelWithText } from "./open-weights.ts";
export type { SamplingOptions, TokenLogprob } from "./sampler.ts";
export {
  adapterSettings,
  answerSettings,
  baseSettings,
  batchSettings,
  defaultsSettings,
  type EngineSettings,
  engineSettings,
} from "./settings.ts";
export type {
  AdapterInfo,
  AnswerDefaults,
  Engine,
  EngineEvent,
  EngineModel,
  EngineRequest,
  EngineStats,
  EngineUsage,
  FinishReason,
  RefusedAdapter,
  TextRequest,
} from "./types.ts";
