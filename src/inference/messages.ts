// What the engine's process and its client say to each other.
import type { ErrorCode } from "#core";
import type { OpenProgress } from "./local-engine.ts";
import type { EngineSettings } from "./settings.ts";
import type { AdapterInfo, EngineEvent, EngineModel, EngineRequest, EngineStats } from "./types.ts";

/** An error on its way between processes. */
export interface SentError {
  readonly code: ErrorCode;
  readonly message: string;
}

/** A request without its signal, which stays with the client. */
export type SentRequest = Omit<EngineRequest, "signal">;

/** Questions that have one answer. */
export interface Questions {
  readonly stats: EngineStats;
  readonly refresh: readonly AdapterInfo[];
  readonly drain: null;
  readonly close: null;
}

export type ToEngine =
  | { readonly type: "open"; readonly settings: EngineSettings }
  | { readonly type: "submit"; readonly id: number; readonly request: SentRequest }
  | { readonly type: "cancel"; readonly id: number }
  | { readonly type: "ask"; readonly id: number; readonly question: keyof Questions };

export type FromEngine =
  | { readonly type: "progress"; readonly progress: OpenProgress }
  | { readonly type: "open"; readonly model: EngineModel; readonly adapters: readonly AdapterInfo[] }
  | { readonly type: "refused"; readonly error: SentError }
  | { readonly type: "adapters"; readonly adapters: readonly AdapterInfo[] }
  | { readonly type: "events"; readonly id: number; readonly events: readonly EngineEvent[] }
  | { readonly type: "ended"; readonly id: number; readonly error?: SentError }
  | { readonly type: "answer"; readonly id: number; readonly value: Questions[keyof Questions] }
  | { readonly type: "noAnswer"; readonly id: number; readonly error: SentError };
