export { mergeAdapter, type PrepareOptions, prepareWeights } from "./base-weights.ts";
export { unitVector } from "./embedding.ts";
export { EngineClient } from "./engine-client.ts";
export { type CoreParts, LocalCore } from "./engine-core.ts";
export {
  adapterSettings,
  answerSettings,
  baseSettings,
  batchSettings,
  defaultMaxLength,
  defaultsSettings,
  type EngineOptions,
  engineSettings,
  type OpenProgress,
  samplingSettings,
} from "./engine-options.ts";
export { generate, type Prompt, textResponse, textStream } from "./generate.ts";
export * from "./live-engine.ts";
export { unpackLogprobs } from "./logprobs.ts";
export { liveEngineBytes, slotCacheBytes } from "./memory.ts";
export { createModelRunner, type ModelRunner } from "./model-runner.ts";
export { openEngine } from "./open-engine.ts";
export { samplingBy } from "./sampler.ts";
export { bytesPerPosition, capacityFor, KVCache } from "./slots.ts";
export { stateBytes } from "./states.ts";
export type { ModelRunnerOptions } from "./step-graphs.ts";
export type * from "./types.ts";
