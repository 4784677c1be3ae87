// A server over a model and its adapters: the keys, the engine, the routes, the port.
import { randomInt } from "node:crypto";
import { isIPv4 } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type AdapterGeometry, openAdapterFolder } from "#adapters";
import { flag, integer, MosError, parseSettings, pick, type SettingInput, steadyNow, text } from "#core";
import { type Engine, engineSettings, type OpenProgress, openEngine } from "#inference";
import { geometryOf, openModel } from "#models";
import {
  createServer,
  defaultLimits,
  listen,
  openKeyFile,
  type ServerExtension,
  type ServerLog,
} from "#server";
import { repairFolder } from "#storage";
import { baseOfFiles } from "./memory.ts";
import { checkRun, type FinetuneOptions } from "./prepare-run.ts";

/** In seconds; timers cannot be set to much more. */
const DAY = 86_400;

/** Which clients reach the server, and how long it waits for what. */
export const networkSettings = {
  host: text({
    default: "127.0.0.1",
    placeholder: "address",
    help: "where to listen; addresses that other machines reach need --api-keys",
  }),
  port: integer({ min: 0, max: 65_535, default: 8080, help: "0 takes a free one" }),
  apiKeys: text({
    placeholder: "file",
    help: "keys as mos keys writes them; the file is read again when it changes",
  }),
  keys: flag({ default: true, help: "let everyone who reaches the port use the server" }),
  publicMetrics: flag({ help: "show /metrics, which names adapters, without a key" }),
  drainSeconds: integer({
    min: 0,
    default: 30,
    help: "how long running requests may continue after SIGTERM",
  }),
  drainDelay: integer({
    min: 0,
    max: DAY,
    default: 0,
    placeholder: "seconds",
    help: "how long requests are still accepted after SIGTERM, while /ready says 503",
  }),
  requestTimeout: integer({
    min: 0,
    default: defaultLimits.answerSeconds,
    placeholder: "seconds",
    help: "how long a request may take before it ends with an error; 0 is for ever",
  }),
  engineTimeout: integer({
    min: 0,
    default: 30,
    placeholder: "seconds",
    help: "how long the engine may be silent before /health says 503 and requests are refused; 0 is for ever",
  }),
  keepAlive: integer({
    min: 1,
    max: DAY,
    default: defaultLimits.idleSeconds,
    placeholder: "seconds",
    help: "how long a connection stays open without a request",
  }),
};

/** What is served, to which clients, and how much of the machine it takes. */
export interface ServeOptions
  extends SettingInput<typeof networkSettings>,
    SettingInput<typeof engineSettings> {
  /** A model folder or a .gguf file. */
  readonly model: string;
  /** What clients call the base. Default: the name of its folder or file. */
  readonly modelName?: string | undefined;
  /** A folder with one sub-folder for each adapter; without it none can be added or removed. */
  readonly adapters?: string | undefined;
  readonly log: ServerLog;
  /** What another package adds to the server, once the model is open. */
  readonly extension?: ((model: ServedModel) => Promise<ServerExtension>) | undefined;
  /** Called while the model is loaded. */
  readonly onProgress?: (progress: OpenProgress) => void;
  /** Stops opening; an open server is stopped by `stop`. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds since 1970, by a clock that never goes back; `steadyNow` by default. */
  readonly now?: () => number;
}

/** The model of a server. */
export interface ServedModel {
  /** What clients call the base. */
  readonly name: string;
  /** What adapters of it are shaped by. */
  readonly geometry: AdapterGeometry;
  /** Throws a MosError for a run that it cannot have, whatever its data are. */
  readonly checkRun: (run: Pick<FinetuneOptions, "adapter" | "settings">) => void;
}

/** A server that answers. Disposing it closes the engine. */
export interface RunningServer extends AsyncDisposable {
  /** Such as `http://127.0.0.1:8080`. */
  readonly address: string;
  readonly modelName: string;
  readonly engine: Engine;
  /**
   * Accepts requests for `drainDelay` more, lets running ones finish for `drainSeconds`, then closes the port. Without its
   * engine, at once.
   */
  stop(): Promise<void>;
}

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));

/** With any other name a request has not come from here, but from a page that was given this address. */
const LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"];

/** Without its engine a server has only errors to give, which are sent at once. */
const SECONDS_WITHOUT_ENGINE = 2;

/**
 * Opens a model with its adapters and serves it by OpenAI's API.
 *
 * @throws MosError `bad_option`, also for a host that other machines reach without keys; what opening an engine throws.
 * @example
 * await using server = await serve({ model: "assets/tiny-english", port: 0, log: console });
 * console.log(server.address);
 */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const {
    host,
    port,
    apiKeys,
    keys: needsKeys,
    publicMetrics,
    ...life
  } = parseSettings(networkSettings, pick(networkSettings, options));
  const { adapters, log, onProgress, signal, now = steadyNow } = options;
  if (apiKeys === undefined && needsKeys && !isLoopback(host))
    throw new MosError(
      "bad_option",
      `--host ${host} lets other machines in; give --api-keys FILE (mos keys create makes keys), or --no-keys to let everyone in`,
    );
  if (adapters !== undefined) await repairFolder(adapters);
  const { name, geometry, checkRun: check, checkAdapter } = await readModel(options.model);
  const keys = apiKeys === undefined ? undefined : await openKeyFile(apiKeys, { now, log });
  const modelName = options.modelName ?? name;
  const engine = await openEngine({
    model: options.model,
    ...(adapters === undefined ? {} : { adapters }),
    ...pick(engineSettings, options),
    ...(onProgress === undefined ? {} : { onProgress }),
    silentSeconds: life.engineTimeout,
    signal,
  });
  try {
    const server = createServer({
      extension: await options.extension?.({ name: modelName, geometry, checkRun: check }),
      ...{ engine, modelName, log, now, keys, checkAdapter, publicMetrics },
      nextSeed: () => randomInt(2 ** 32),
      hosts: keys === undefined && isLoopback(host) ? LOOPBACK_NAMES : undefined,
      adapterFolder: adapters,
      limits: { answerSeconds: life.requestTimeout, idleSeconds: life.keepAlive },
      privatePaths: apiKeys === undefined ? [options.model] : [options.model, apiKeys],
    });
    const listening = await listen(server, { host, port });
    const gone = engine.closed.then(() => true);
    return {
      address: listening.address,
      modelName,
      engine,
      stop: async () => {
        const { inFlight } = server;
        inFlight.leave();
        log.info({ running: inFlight.count, drainDelay: life.drainDelay }, "draining");
        const isGone = await Promise.race([gone, sleep(life.drainDelay * 1000, false, { ref: false })]);
        await listening.close({ drainSeconds: isGone ? SECONDS_WITHOUT_ENGINE : life.drainSeconds });
      },
      [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
    };
  } catch (error) {
    await engine[Symbol.asyncDispose]();
    throw error;
  }
}

/** In place of tensors that the seed gives, which need no check and may be large. */
const NOT_DRAWN = new Float32Array(0);

/** What the server itself needs of a model; its weights are the engine's. */
async function readModel(path: string) {
  await using files = await openModel(path);
  const { config, name } = files;
  const geometry = geometryOf(config);
  const base = baseOfFiles(files);
  return {
    name,
    geometry,
    checkRun: (run: Parameters<ServedModel["checkRun"]>[0]) => checkRun(base, run),
    // whether it was trained on this base is for the engine to say, which has read the weights
    checkAdapter: async (folder: string) => {
      await using opened = await openAdapterFolder(folder);
      const { read } = await opened.check({ geometry, fingerprint: undefined });
      await read(async ({ shape }) => ({ shape, data: NOT_DRAWN }));
    },
  };
}
