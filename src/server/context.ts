// What all routes work with.
import type { HttpBindings } from "@hono/node-server";
import type { AdapterInfo, Engine } from "#inference";
import type { LoadedText } from "#text";
import type { Activity } from "./activity.ts";
import type { AdapterStore } from "./adapter-store.ts";
import type { Admission } from "./admission.ts";
import type { EngineWatch } from "./engine-watch.ts";
import type { ApiKey, KeyRing } from "./key-ring.ts";
import type { ServerLimits } from "./limits.ts";
import type { ServerMetrics } from "./metrics.ts";
import type { PromptReader } from "./prompts.ts";
import type { RequestRecord } from "./request-record.ts";

/** Where the server writes what happens; pino's loggers are of this kind. */
export interface ServerLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface ServerOptions {
  readonly engine: Engine;
  readonly text: LoadedText;
  /** What clients call the base. */
  readonly modelName: string;
  /** The folder whose sub-folders are the adapters; without it none can be added or removed. */
  readonly adapterFolder?: string | undefined;
  /** Checks a folder with an adapter's two files before it takes its name. Throws a MosError. */
  readonly checkAdapter?: ((folder: string) => Promise<void>) | undefined;
  /** Who may use the server; left out, everybody may, and nobody may change adapters. */
  readonly keys?: KeyRing | undefined;
  /**
   * Names that a request may call the server by; left out, any. Without keys they keep out web pages whose own name
   * was turned to this machine.
   */
  readonly hosts?: readonly string[] | undefined;
  /** Whether /metrics, which names adapters, is shown to everybody although there are keys. */
  readonly publicMetrics?: boolean;
  readonly limits?: Partial<ServerLimits>;
  readonly log: ServerLog;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** The seed of a request that brings none. */
  readonly nextSeed: () => number;
}

/** The options, completed. */
export interface ServerContext extends Omit<ServerOptions, "limits"> {
  readonly limits: ServerLimits;
  /** When the server was started, in seconds since 1970. */
  readonly createdAt: number;
  readonly activity: Activity;
  readonly engineWatch: EngineWatch;
  readonly admission: Admission;
  readonly prompts: PromptReader;
  readonly metrics: ServerMetrics;
  readonly store: AdapterStore;
}

/** What Hono carries with a request. */
export interface ServerEnv {
  readonly Bindings: Partial<HttpBindings>;
  readonly Variables: { readonly record: RequestRecord; readonly key: ApiKey };
}

/** An adapter that a key may use, by name. */
export function findAdapter(
  engine: Engine,
  { name, key }: { readonly name: string; readonly key: ApiKey },
): AdapterInfo | undefined {
  // asked first, so that the time tells nothing of others' names
  if (!key.mayUse(name)) return undefined;
  return engine.adapters().find((adapter) => adapter.name === name);
}
