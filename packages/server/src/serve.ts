// A server over a model and its adapters: the keys, the engine, the routes, the port.
import { randomInt } from "node:crypto";
import { isIPv4 } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type LayerShapes, openAdapterFolder } from "mixture-of-shards-core/adapters";
import {
  checkCall,
  distinct,
  flag,
  kinds,
  locateKinds,
  MosError,
  matching,
  monotonicNow,
  type OptionKinds,
  parseSettings,
  pick,
  type SettingInput,
  type SettingValues,
  setting,
} from "mixture-of-shards-core/common";
import { repairFolder } from "mixture-of-shards-core/files";
import {
  defaultsSettings,
  type Engine,
  engineSettings,
  type OpenProgress,
  openEngine,
} from "mixture-of-shards-core/inference";
import { type LocateCalls, locatedPath, openModel, toLayerShapes } from "mixture-of-shards-core/models";
import { templateSettings } from "mixture-of-shards-core/text";
import { z } from "zod";
import { createServer } from "./app.ts";
import { type KeyFile, type KeyLimits, openKeyFile, seesAll } from "./auth.ts";
import type { ServerExtension } from "./context.ts";
import { assertFreePort, listen } from "./http.ts";
import { defaultLimits } from "./limits.ts";
import type { ServerLog } from "./metrics.ts";
import { openQuotas, type StoredQuotas } from "./quotas.ts";
import { defaultResponses } from "./responses/store.ts";
import { openRunFolders } from "./runs/folders.ts";
import { readStudio } from "./studio-page.ts";
import { openTelemetry } from "./telemetry.ts";
import { type OpenCertificate, openCertificate, type TlsOptions } from "./tls.ts";

/** In seconds; timers cannot be set to much more. */
const DAY = 86_400;

/** As browsers send it: no path, and no capitals. */
const origin = matching(
  /^(\*|[a-z][a-z\d+.-]*:\/\/[^\s/A-Z,]+)$/,
  "an origin such as https://app.example.com, without a path, or *",
);

/** Settings of the server's network: its clients and timeouts. */
export const networkSettings = {
  host: setting(z.string(), {
    common: true,
    default: "127.0.0.1",
    placeholder: "address",
    help: "address to listen on; one that other machines can reach requires --api-keys",
  }),
  port: setting(z.int().min(0).max(65_535), {
    common: true,
    default: 8080,
    help: "port to listen on; 0 picks a free one",
  }),
  apiKeys: setting(z.string(), {
    common: true,
    placeholder: "file",
    help: "file of API keys written by mos keys; reloaded when it changes",
  }),
  usageFile: setting(z.string(), {
    placeholder: "file",
    defaultText: "--api-keys with the suffix .usage.json",
    help: "file for token counts of keys with quotas",
  }),
  keys: flag({ default: true, help: "accept requests without API keys" }),
  tlsCert: setting(z.string(), {
    placeholder: "file",
    help: "serve HTTPS with this PEM certificate chain; reloaded when it changes",
  }),
  tlsKey: setting(z.string(), { placeholder: "file", help: "private key of the certificate, in PEM" }),
  cors: setting(distinct(origin).describe("a list of different origins"), {
    help: "web origins whose pages may call the server, or * for all",
  }),
  publicMetrics: flag({ help: "serve /metrics without a key, although it names adapters" }),
  drainSeconds: setting(z.int().min(0), {
    default: 30,
    help: "time for running requests to finish after SIGTERM",
  }),
  drainDelay: setting(z.int().min(0).max(DAY), {
    default: 0,
    placeholder: "seconds",
    help: "time to keep accepting requests after SIGTERM, while /ready returns 503",
  }),
  requestTimeout: setting(z.int().min(0), {
    default: defaultLimits.answerSeconds,
    placeholder: "seconds",
    help: "time limit of a request; 0 disables",
  }),
  engineTimeout: setting(z.int().min(0), {
    default: 30,
    placeholder: "seconds",
    help: "time without an engine heartbeat before /health returns 503 and requests are refused; 0 disables",
  }),
  responseBytes: setting(z.int().min(0), {
    default: defaultResponses.bytes,
    placeholder: "bytes",
    help: "bytes of stored responses for each key, the oldest of which give way; 0 stores none",
  }),
  responseDays: setting(z.int().min(1).max(3650), {
    default: defaultResponses.days,
    placeholder: "days",
    help: "days after which stored responses are deleted",
  }),
  keepAlive: setting(z.int().min(1).max(DAY), {
    default: defaultLimits.idleSeconds,
    placeholder: "seconds",
    help: "idle timeout of a connection",
  }),
};

/** Options of serving: the model, the clients and the resources. @inline */
export interface ServeOptions
  extends SettingInput<typeof networkSettings>,
    SettingInput<typeof engineSettings>,
    SettingInput<typeof defaultsSettings>,
    SettingInput<typeof templateSettings>,
    LocateCalls {
  /** A model folder, a .gguf file or org/name of the hub. */
  readonly model: string;
  /** Name of the base for clients. Default: the name of its folder, file or repository. */
  readonly modelName?: string | undefined;
  /** A folder with one sub-folder for each adapter; without it none can be added or removed. */
  readonly adapters?: string | undefined;
  /** A folder of run folders, whose course the server shows to administrators, or to all where there are no keys. */
  readonly runs?: string | undefined;
  /** Limits of add-ons that keys may have. */
  readonly keyLimits?: readonly KeyLimits[];
  /** For packed weights of a model whose own folder cannot be written; without it they are not kept then. */
  readonly cacheFolder?: string | undefined;
  /**
   * Sends traces and metrics by OpenTelemetry's API (`@opentelemetry/api`, which must be installed) to the SDK that the program
   * has registered; false by default.
   */
  readonly telemetry?: boolean | undefined;
  /** Logger of requests and failures, such as `console`. Default: none. */
  readonly log?: ServerLog;
  /** Creates another package's extension of the server, once the model is open. */
  readonly extension?: ((model: ServedModel) => Promise<ServerExtension>) | undefined;
  /** How clients get the routes of fine-tuning as a service where no extension has them; a part of errors. */
  readonly serviceHint?: string | undefined;
  /** Called while the model is loaded. */
  readonly onProgress?: (progress: OpenProgress) => void;
  /** Milliseconds since 1970, by a clock that never goes back; `monotonicNow` by default. */
  readonly now?: () => number;
  /** Milliseconds since 1970 by the machine's clock, for days and for keys that expire; `Date.now` by default. */
  readonly date?: () => number;
}

const serveKinds: OptionKinds<ServeOptions> = {
  ...networkSettings,
  ...engineSettings,
  ...defaultsSettings,
  ...templateSettings,
  ...locateKinds,
  model: z.string(),
  modelName: z.string().optional(),
  adapters: z.string().optional(),
  runs: z.string().optional(),
  keyLimits: kinds.array.optional(),
  cacheFolder: z.string().optional(),
  telemetry: z.boolean().optional(),
  log: kinds.object.optional(),
  extension: kinds.function.optional(),
  serviceHint: z.string().optional(),
  onProgress: kinds.function.optional(),
  now: kinds.function.optional(),
  date: kinds.function.optional(),
};

/** The model of a server. @inline */
export interface ServedModel {
  /** Name of the base for clients. */
  readonly name: string;
  /** Shapes of its adapters. */
  readonly shapes: LayerShapes;
  readonly hiddenSize: number;
  /** Its folder or file. */
  readonly path: string;
}

/** OpenAI's API over an engine. Disposing it closes the engine, which cancels what runs. @inline */
export interface ServedApp extends AsyncDisposable {
  readonly modelName: string;
  readonly engine: Engine;
  /** Answers a request. Its signal, or not reading the answer's body to the end, cancels it. */
  readonly fetch: (request: Request) => Promise<Response>;
  /**
   * Accepts requests for `drainDelay` more, lets running ones finish for `drainSeconds`, then closes the engine, and the
   * port if there is one. Without its engine, at once.
   */
  stop(): Promise<void>;
}

/** A server that answers. Disposing it closes the port, too. `signal` stops opening, and no open server. @inline */
export interface RunningServer extends ServedApp {
  /** Such as `http://127.0.0.1:8080`. */
  readonly address: string;
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
 * const server = await serve({ model: "assets/tiny-english", adapters: "adapters", port: 8080 });
 * console.log(`${server.address}/v1`); // until the process ends, or server.stop()
 */
export const serve = (options: ServeOptions): Promise<RunningServer> => openServer(options, true);

/**
 * The same without a port, as a part of another server: whatever speaks in web-standard `Request` and `Response` calls
 * `fetch`. Without `apiKeys` everyone who gets there may use it, so the other server decides who does. Paths begin with
 * `/v1`; below another path cut that off, as Hono's `mount` does.
 *
 * @throws MosError as `serve`.
 * @example
 * await using app = await openApp({ model: "assets/tiny-english", adapters: "adapters" });
 * const answer = await app.fetch(new Request("http://localhost/v1/models"));
 * new Hono().mount("/llm", app.fetch); // or createServer(getRequestListener(app.fetch)) of @hono/node-server
 */
export const openApp = (
  options: Omit<ServeOptions, "host" | "port" | "keys" | "tlsCert" | "tlsKey" | "keepAlive">,
): Promise<ServedApp> => openServer(options, false);

const silent = (): void => undefined;
const NO_LOG: ServerLog = { info: silent, warn: silent, error: silent };

/** Disposes of them once, the last one first. */
async function disposeAll(owned: AsyncDisposable[]): Promise<void> {
  for (const one of owned.splice(0).reverse()) await one[Symbol.asyncDispose]();
}

async function openServer(options: ServeOptions, hasPort: boolean): Promise<RunningServer> {
  checkCall<ServeOptions>(hasPort ? "serve" : "openApp", options, serveKinds);
  const network = parseSettings(networkSettings, pick(networkSettings, options));
  const { host, port, apiKeys, ...life } = network;
  const { adapters, log = NO_LOG, now = monotonicNow, date = Date.now, keyLimits = [] } = options;
  if (hasPort) await checkNetwork(network);
  const tls = hasPort ? await loadCertificate(network, { date, log }) : undefined;
  const model = await locatedPath(options.model, options);
  if (adapters !== undefined) await repairFolder(adapters);
  const { name, shapes, hiddenSize, checkAdapter } = await readModel(model);
  const clients = await openKeys(network, { now, date, log, keyLimits });
  const runFolders = await openRuns(options, clients);
  const modelName = options.modelName ?? name;
  const owned: AsyncDisposable[] = clients.quotas === undefined ? [] : [clients.quotas];
  const dispose = () => disposeAll(owned);
  try {
    const engine = await openServedEngine(options, { model, silentSeconds: life.engineTimeout });
    owned.push(engine);
    const server = createServer({
      extension: await options.extension?.({ name: modelName, path: model, shapes, hiddenSize }),
      serviceHint: options.serviceHint,
      runFolders,
      studio: await readStudio(),
      engine,
      modelName,
      telemetry: options.telemetry === true ? await openTelemetry({ engine, modelName, now }) : undefined,
      ...{ log, now, date },
      ...{ ...clients, keyFile: clients.keys, checkAdapter },
      ...{ publicMetrics: life.publicMetrics, cors: life.cors },
      limits: { answerSeconds: life.requestTimeout, idleSeconds: life.keepAlive },
      responses: { bytes: life.responseBytes, days: life.responseDays },
      nextSeed: () => randomInt(2 ** 32),
      hosts: hasPort && clients.keys === undefined && isLoopback(host) ? LOOPBACK_NAMES : undefined,
      adapterFolder: adapters,
      modelPath: model,
      privatePaths: apiKeys === undefined ? [model] : [model, apiKeys],
    });
    const listening = hasPort ? await listen(server, { host, port, tls }) : undefined;
    if (listening !== undefined) warnOfFewFiles(listening, log);
    let isClosing = false;
    const close = async (seconds: number): Promise<void> => {
      isClosing = true;
      await (listening?.close({ drainSeconds: seconds }) ?? server.inFlight.drain(seconds));
    };
    return {
      address: listening?.address ?? "",
      modelName,
      engine,
      fetch: async (request) => await server.app.fetch(request, {}),
      stop: async () => {
        const { inFlight } = server;
        inFlight.leave();
        log.info({ running: inFlight.count, drainDelay: life.drainDelay }, "draining");
        const delay = sleep(life.drainDelay * 1000, false, { ref: false });
        const isGone = await Promise.race([engine.closed.then(() => true), delay]);
        await close(isGone ? SECONDS_WITHOUT_ENGINE : life.drainSeconds);
        await dispose();
      },
      [Symbol.asyncDispose]: async () => {
        if (!isClosing) await close(0);
        await dispose();
      },
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** Run folders belong to no tenant. */
const openRuns = async ({ runs, adapters }: ServeOptions, clients: { readonly keys?: KeyFile }) =>
  runs === undefined ? undefined : openRunFolders(runs, { adapters, maySee: (key) => seesAll(clients, key) });

const openServedEngine = (
  { adapters, cacheFolder, onProgress, signal, ...options }: ServeOptions,
  { model, silentSeconds }: { readonly model: string; readonly silentSeconds: number },
): Promise<Engine> =>
  openEngine({
    model,
    adapters,
    ...pick(engineSettings, options),
    defaults: pick(defaultsSettings, options),
    ...parseSettings(templateSettings, pick(templateSettings, options)),
    cacheFolder,
    ...(onProgress === undefined ? {} : { onProgress }),
    silentSeconds,
    signal,
  });

function warnOfFewFiles({ connections }: { readonly connections: number }, log: ServerLog): void {
  const message = "the limit of open files is low, so fewer connections are accepted; raise ulimit -n";
  if (connections < defaultLimits.connections) log.warn({ connections }, message);
}

type NetworkSettings = SettingValues<typeof networkSettings>;

/** Throws `bad_option` where everyone would get in and nobody has said so, and for a port that is taken. */
async function checkNetwork({ host, port, apiKeys, keys }: NetworkSettings): Promise<void> {
  if (apiKeys === undefined && keys && !isLoopback(host))
    throw new MosError(
      "bad_option",
      `--host ${host} is reachable from other machines; pass --api-keys FILE (see mos keys create), or --no-keys to let everyone in`,
    );
  await assertFreePort({ host, port });
}

async function loadCertificate(
  { tlsCert: certFile, tlsKey: keyFile }: NetworkSettings,
  parts: Pick<TlsOptions, "date" | "log">,
): Promise<OpenCertificate | undefined> {
  if (certFile !== undefined && keyFile !== undefined)
    return openCertificate({ certFile, keyFile, ...parts });
  if (certFile === undefined && keyFile === undefined) return undefined;
  const [there, missing] = certFile === undefined ? ["--tls-key", "--tls-cert"] : ["--tls-cert", "--tls-key"];
  throw new MosError("bad_option", `${there} requires ${missing}`);
}

/** The keys of clients, and the tokens that they have had. */
async function openKeys(
  { apiKeys, usageFile = `${apiKeys}.usage.json` }: NetworkSettings,
  { now, date, log, keyLimits: limits }: Pick<Required<ServeOptions>, "now" | "date" | "log" | "keyLimits">,
): Promise<{ readonly keys?: KeyFile; readonly quotas?: StoredQuotas }> {
  if (apiKeys === undefined) return {};
  const keys = await openKeyFile(apiKeys, { now, log, limits });
  return { keys, quotas: await openQuotas(usageFile, { date, log, isNeeded: keys.hasQuotas }) };
}

/** In place of tensors that the seed gives, which need no check and may be large. */
const UNDRAWN_DEPENDENCIES = new Float32Array(0);

/** Reads what the server itself needs of a model; the engine reads its weights. */
async function readModel(path: string) {
  await using files = await openModel(path);
  const { config, name } = files;
  const shapes = toLayerShapes(config);
  return {
    name,
    shapes,
    hiddenSize: config.hiddenSize,
    // whether it was trained on this base is for the engine to say, which has read the weights
    checkAdapter: async (folder: string) => {
      await using opened = await openAdapterFolder(folder);
      const { read } = await opened.check({ shapes, fingerprint: undefined });
      await read(async ({ shape }) => ({ shape, data: UNDRAWN_DEPENDENCIES }));
    },
  };
}
