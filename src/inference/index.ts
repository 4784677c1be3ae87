export { samplingBy } from "./answer-defaults.ts";
export { type PrepareOptions, prepareWeights } from "./base-weights.ts";
export { createEngine } from "./engine-client.ts";
export { type CoreLimits, createCore } from "./engine-core.ts";
export type { EngineOptions, OpenProgress } from "./engine-options.ts";
export { generate, type Prompt, textStream } from "./generate.ts";
export { bytesPerPosition, capacityFor, KVCache } from "./kv-cache.ts";
export { createModelRunner, type ModelRunner, type ModelRunnerOptions } from "./model-runner.ts";
export { openEngine } from "./open-engine.ts";
export { unpackLogprobs } from "./packed-logprobs.ts";
export type { SamplingOptions, TokenLogprob } from "./sampler.ts";
export {
  adapterSettings,
  answerSettings,
  baseSettings,
  batchSettings,
  defaultsSettings,
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
