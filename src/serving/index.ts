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
