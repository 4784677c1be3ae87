// Context of the routes: the options of a server, its parts, and the variables of a request.
import type { HttpBindings } from "@hono/node-server";
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Engine } from "mixture-of-shards-core/inference";
import { createAdapterStore } from "./adapter-store.ts";
import { createAdapterTasks } from "./adapter-tasks.ts";
import type { ApiKey, KeyFile, KeyRing } from "./auth.ts";
import { createPromptReader } from "./engine-requests.ts";
import { createAnswers, watchEngine, watchStorage } from "./errors.ts";
import {
  createBudget,
  createConcurrencyLimiter,
  createInFlight,
  createRateLimiter,
  defaultLimits,
  type RunningRequest,
  type ServerLimits,
} from "./limits.ts";
import { createMetrics, type RequestRecord, type ServerLog } from "./metrics.ts";
import { createQuotas, type Quotas } from "./quotas.ts";
import {
  createMemoryStore,
  defaultResponses,
  type ResponseLimits,
  type ResponseStore,
} from "./responses/store.ts";
import type { TrainingState } from "./routes/system.ts";
import type { RunSource } from "./runs/run.ts";
import { createRuns } from "./runs/runs.ts";
import { packageVersion, type Studio } from "./studio-page.ts";
import type { Telemetry } from "./telemetry.ts";

/** Extension of a server by another package. */
export interface ServerExtension {
  /** Adds its routes, under /v1. */
  readonly routes: (app: ServerApp) => void;
  /** The tenant of a running job, by the key with which its trainer asks models. */
  readonly jobTenant?: (key: string) => Promise<string | undefined>;
  readonly models?: ExtensionModels;
  /** Training runs of its own, beside run folders. */
  readonly runs?: RunSource;
  /** Where responses are stored, in place of this process's memory. */
  readonly responses?: (limits: ResponseLimits) => ResponseStore;
  readonly health?: {
    /** @throws MosError `storage` while a disk that it needs cannot be used: then the server is not ready. */
    check?(): Promise<void>;
    /** Its workers and the queue of their jobs. @throws MosError `network` while that cannot be known. */
    training?(): Promise<TrainingState>;
  };
  readonly metrics?: {
    /** Counts a request that has ended, after some seconds. */
    ended(record: RequestRecord, seconds: number): void;
    /** Further lines of /metrics, in Prometheus' text format. */
    render?(): Promise<string>;
  };
}

/** The models of an extension, which are adapters, and names that stand for models. */
interface ExtensionModels {
  /** Whether a key may use a model, and download it if it is its own; undefined for a name that is no model of the extension. */
  access(name: string, key: ApiKey): "own" | "use" | "none" | undefined;
  /** Brings a model of this name into the folder of adapters where it is not there yet. False for a name it does not know. */
  fetch(name: string): Promise<boolean>;
  /** A request needs a model in the folder of adapters. */
  use(name: string): void;
  /**
   * The model that another name stands for now, of those that the key's tenant has given. It is asked at each request for what
   * is neither the base nor an adapter.
   *
   * @throws ApiError 503 where it cannot be known now.
   */
  resolve(name: string, key: ApiKey): Promise<string | undefined>;
  /** Notes on a key's models for their list, beside adapters. */
  describe(key: ApiKey): Promise<ModelNotes>;
}

/** Notes on models beside their adapters. Times in seconds since 1970. */
export interface ModelNotes {
  /** Names that stand for other models. */
  readonly aliases: readonly { readonly id: string; readonly model: string; readonly changedAt: number }[];
  /** Models by name, whether or not they are in the folder of adapters yet. */
  readonly models: ReadonlyMap<
    string,
    { readonly changedAt: number; readonly expiresAt?: number | undefined }
  >;
}

/** Options of a server: its model, its clients and their limits. */
export interface ServerOptions {
  /** Runs the requests, and has the model's tokenizer and chat template. */
  readonly engine: Engine;
  /** Name of the base for clients. */
  readonly modelName: string;
  /** The folder whose sub-folders are the adapters. Without it none can be added or removed. */
  readonly adapterFolder?: string | undefined;
  /** The model's folder or file; without it adapters are neither described layer by layer nor exported. */
  readonly modelPath?: string | undefined;
  /** Private prefixes of paths that an error may name: clients see only the rest. */
  readonly privatePaths?: readonly string[];
  /** Checks a folder with an adapter's two files before it takes its name. Throws a MosError. */
  readonly checkAdapter?: ((folder: string) => Promise<void>) | undefined;
  /** The keys of clients. Without them every client may use the server, and none may change adapters. */
  readonly keys?: KeyRing | undefined;
  /** The file of these keys, if administrators may make and revoke them by the API. */
  readonly keyFile?: KeyFile | undefined;
  /** Host names that a request may use; left out, any. */
  readonly hosts?: readonly string[] | undefined;
  /** Origins whose pages may use the server, such as `https://app.example.com`, or `*`; left out, none. */
  readonly cors?: readonly string[] | undefined;
  /** Shows /metrics, which names adapters, to every client although there are keys (false). */
  readonly publicMetrics?: boolean;
  readonly limits?: Partial<ServerLimits>;
  /** Bounds of stored responses for each key (16 MB, 30 days). */
  readonly responses?: Partial<ResponseLimits> | undefined;
  readonly extension?: ServerExtension | undefined;
  /** The page below /studio/; left out, there is none. */
  readonly studio?: Studio | undefined;
  /** Training runs in folders. */
  readonly runFolders?: RunSource | undefined;
  /** How to get the routes of fine-tuning as a service where there is no extension; a part of errors. */
  readonly serviceHint?: string | undefined;
  /** Where traces go; left out, nowhere. */
  readonly telemetry?: Telemetry | undefined;
  readonly log: ServerLog;
  /** Milliseconds since 1970, by a clock that never goes back (`monotonicNow`): intervals are measured with it. */
  readonly now: () => number;
  /** Milliseconds since 1970 by the machine's clock, for days and for keys that expire (`now`). */
  readonly date?: () => number;
  /** The tokens of keys that have a quota (counted until the server ends). */
  readonly quotas?: Quotas | undefined;
  /** The seed of a request that brings none. */
  readonly nextSeed: () => number;
}

/** The options, and the parts that are made of them. */
export type ServerContext = ReturnType<typeof createContext>;

export function createContext(options: ServerOptions) {
  const { engine, modelName, now, date = now, quotas = createQuotas(date) } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const engineWatch = watchEngine(engine);
  const { adapterFolder, privatePaths = [] } = options;
  const stored = { ...defaultResponses, ...options.responses };
  const openStore = options.extension?.responses ?? ((given) => createMemoryStore(given, date));
  return {
    ...options,
    limits,
    date,
    quotas,
    /** Start time of the server, in seconds since 1970. */
    createdAt: Math.floor(now() / 1000),
    inFlight: createInFlight(limits.answerSeconds),
    logprobBudget: createBudget(limits.logprobsInFlight, "log-probabilities"),
    embeddingBudget: createBudget(limits.embeddingsInFlight, "numbers of embeddings"),
    engineWatch,
    storageWatch: watchStorage({ check: async () => options.extension?.health?.check?.(), log: options.log }),
    answerTo: createAnswers(engineWatch, [adapterFolder ?? [], privatePaths].flat()),
    runs: createRuns([options.runFolders, options.extension?.runs].filter((source) => source !== undefined)),
    /** Undefined where nothing is stored. */
    responses: stored.bytes === 0 ? undefined : openStore(stored),
    /** When each adapter was last asked for, in seconds since 1970. */
    lastUse: new Map<string, number>(),
    /** Of the package; undefined in a bundle. */
    version: packageVersion(),
    adapterTasks: options.modelPath === undefined ? undefined : createAdapterTasks(options.modelPath),
    rateLimiter: createRateLimiter(now),
    concurrencyLimiter: createConcurrencyLimiter(),
    prompts: createPromptReader(engine.text, engine.model),
    metrics: createMetrics({ engine, modelName, now, more: options.extension?.metrics?.render }),
    store: createAdapterStore({ engine, modelName, folder: adapterFolder, check: options.checkAdapter }),
  };
}

export interface ServerEnv {
  readonly Bindings: Partial<HttpBindings> & {
    /** A part of another request, with which it was counted. No client can send it. */
    readonly isNested?: boolean | undefined;
    /** It asks what the jobs of the key's tenant may do. No client can send it, either. */
    readonly isForJob?: boolean | undefined;
  };
  readonly Variables: {
    readonly server: ServerContext;
    readonly record: RequestRecord;
    readonly key: ApiKey;
    /** Only of requests that may run long: all but GET. */
    readonly running: RunningRequest;
  };
}

/** A Hono app whose requests carry the server, the key and the record of the request. */
export type ServerApp = OpenAPIHono<ServerEnv>;
export type RequestContext = Context<ServerEnv>;
