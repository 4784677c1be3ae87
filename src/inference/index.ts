export { createEngine, type EngineLimits, type EngineParts } from "./engine.ts";
export type { OpenProgress } from "./local-engine.ts";
export { type OpenEngineOptions, openEngine } from "./open-engine.ts";
export type { EngineSettings } from "./settings.ts";
export { createStepProgram, type StepProgram } from "./step-program.ts";
export type {
  AdapterInfo,
  Engine,
  EngineEvent,
  EngineFinish,
  EngineModel,
  EngineRequest,
  EngineStats,
  EngineUsage,
  TokenLogprob,
} from "./types.ts";
export { prepareWeights, type Quantize, type ServingWeights } from "./weights.ts";
