import { MosError } from "#core";
import type { Engine } from "#inference";
import { Refusal } from "./refusal.ts";

/** Whether the engine is still there. A request can fail without it, and only another start brings it back. */
export interface EngineWatch {
  readonly isGone: boolean;
  /** @throws Refusal 503 where it is gone. */
  check(): void;
  /** What was thrown, or a refusal with 503 where the engine's end is the reason. */
  explain(error: unknown): unknown;
}

const unavailable = (cause?: unknown): Refusal =>
  new Refusal("the engine behind this server is gone; send the request again when the server is back", {
    status: 503,
    reason: "engine_unavailable",
    retryAfter: 5,
    headers: { connection: "close" },
    cause,
  });

export function watchEngine({ closed }: Pick<Engine, "closed">): EngineWatch {
  let isGone = false;
  void closed.then(() => {
    isGone = true;
  });
  return {
    get isGone() {
      return isGone;
    },
    check() {
      if (isGone) throw unavailable();
    },
    explain(error) {
      const isItsEnd = error instanceof MosError && !(error instanceof Refusal) && error.code === "device";
      return isGone && isItsEnd ? unavailable(error) : error;
    },
  };
}
