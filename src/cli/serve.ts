import { randomInt } from "node:crypto";
import { isIPv4 } from "node:net";
import { pino } from "pino";
import { loadAdapter } from "#adapters";
import { MosError } from "#core";
import { type AdapterInfo, type Engine, type OpenEngineOptions, openEngine } from "#inference";
import { geometryOf, openModel } from "#models";
import { type ApiServer, createServer, listen, openKeyFile, restoreAdapters, type ServerLog } from "#server";
import { findModel } from "./base-model.ts";
import { engineProgress } from "./engine-progress.ts";
import { type Interrupt, listenForInterrupt } from "./interrupt.ts";
import { given } from "./option-values.ts";
import { formatBytes, formatInteger } from "./progress.ts";
import type { ServeOptions } from "./serve-command.ts";
import { counted, labelled, liveLine, note, sayJson, sayLine } from "./terminal.ts";

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));

/** With any other name a request has not come from here, but from a page that was given this address. */
const LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"];

/** What others can reach asks for keys, unless its owner says that it shall not. */
function checkHost({ host, apiKeys, keys }: ServeOptions): void {
  if (apiKeys === undefined && keys && !isLoopback(host))
    throw new MosError(
      "bad_option",
      `--host ${host} lets other machines in; give --api-keys FILE (mos keys create makes keys), or --no-keys to let everybody in`,
    );
}

/** What the server itself needs of a model; its weights are the engine's. */
interface Served {
  readonly name: string;
  readonly checkAdapter: (folder: string) => Promise<void>;
}

async function readModel(path: string): Promise<Served> {
  await using files = await openModel(path);
  const { config, name } = files;
  const geometry = geometryOf(config);
  return {
    name,
    // whether it was trained on this base is the engine's to say, which has read the weights
    checkAdapter: async (folder) => void (await loadAdapter(folder, { geometry, fingerprint: undefined })),
  };
}

async function openWithProgress(path: string, options: ServeOptions, interrupt: Interrupt): Promise<Engine> {
  const silent = options.quiet === true || options.json === true;
  using line = liveLine({ silent });
  const { quantize, adapterMemory, adapterDtype, slotMemory, cacheMemory, maxBatch, maxWaiting } = options;
  const settings: OpenEngineOptions = {
    model: path,
    ...{ quantize, adapterMemory, adapterDtype, slotMemory, cacheMemory, maxBatch, maxWaiting },
    ...given({ adapters: options.adapters, maxLength: options.maxLength, threads: options.threads }),
    onProgress: engineProgress(line),
    signal: interrupt.signal,
  };
  return openEngine(settings);
}

/** A line for each kind of adapter there is, with how many of it the memory holds. */
function adapterRows(
  adapters: readonly AdapterInfo[],
  memory: number,
): readonly (readonly [string, string])[] {
  const kinds = new Map<string, AdapterInfo[]>();
  for (const adapter of adapters) {
    const kind = `${adapter.method} ${adapter.rank} ${adapter.residentBytes}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), adapter]);
  }
  return [...kinds.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const { method, rank, residentBytes } = first;
    const held = formatInteger(Math.floor(memory / Math.max(1, residentBytes)));
    return [
      [
        "adapters",
        `${counted(group.length, "adapter")}: ${method} of rank ${rank}, ${formatBytes(residentBytes)} each`,
      ],
      ["", `${formatBytes(memory)} hold ${held} adapters of this kind`],
    ];
  });
}

interface Started {
  readonly engine: Engine;
  readonly options: ServeOptions;
  readonly modelName: string;
  readonly address: string;
}

function sayStart({ engine, options, modelName, address }: Started): void {
  const adapters = engine.adapters();
  const { adapterMemory, maxBatch, quantize } = options;
  if (options.json === true) {
    sayJson({ type: "ready", address, model: modelName, adapters: adapters.length });
    return;
  }
  const weights = quantize === "none" ? "" : `, weights in ${quantize}`;
  sayLine(
    labelled([
      ["model", `${modelName}: sequences of ${formatInteger(engine.model.maxLength)} tokens${weights}`],
      ...(adapters.length === 0 ? [["adapters", "none"] as const] : adapterRows(adapters, adapterMemory)),
      ["batch", `${counted(maxBatch, "request")} side by side`],
      ["keys", options.apiKeys ?? "none: everybody who reaches the port may use the server"],
      ["address", `${address}/v1`],
    ]),
  );
}

/**
 * Serves until SIGTERM or Ctrl-C, and returns the exit code.
 *
 * @throws MosError what broke the engine, so that the process ends and its supervisor starts another one.
 */
export async function runServe(options: ServeOptions): Promise<number> {
  checkHost(options);
  const silent = options.quiet === true || options.json === true;
  using interrupt = listenForInterrupt(() => {
    if (!silent) note("stopping when running requests have ended; Ctrl-C again ends at once");
  });
  const log = pino({ level: options.quiet === true ? "error" : "info", base: null }, pino.destination(2));
  const path = await findModel(options.model, { signal: interrupt.signal, silent });
  if (options.adapters !== undefined) await restoreAdapters(options.adapters);
  const { name, checkAdapter } = await readModel(path);
  const keys =
    options.apiKeys === undefined ? undefined : await openKeyFile(options.apiKeys, { now: Date.now, log });
  const modelName = options.modelName ?? name;
  await using engine = await openWithProgress(path, options, interrupt);
  const server = createServer({
    engine,
    modelName,
    log,
    now: Date.now,
    nextSeed: () => randomInt(2 ** 32),
    publicMetrics: options.publicMetrics === true,
    checkAdapter,
    ...given({
      keys,
      hosts: keys === undefined && isLoopback(options.host) ? LOOPBACK_NAMES : undefined,
      adapterFolder: options.adapters,
    }),
  });
  await serveUntil(interrupt.signal, { server, log, options, modelName, engine });
  return 0;
}

interface Serving extends Omit<Started, "address"> {
  readonly server: ApiServer;
  readonly log: ServerLog;
}

/** Without its engine a server has only errors to give, which are on their way at once. */
const SECONDS_WITHOUT_ENGINE = 2;

const aborted = (signal: AbortSignal): Promise<undefined> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });

async function serveUntil(signal: AbortSignal, { server, log, ...started }: Serving): Promise<void> {
  const { options, engine } = started;
  const { host, port, drainSeconds } = options;
  const listening = await listen(server, { host, port });
  sayStart({ ...started, address: listening.address });
  const failure = await Promise.race([aborted(signal), engine.closed]);
  if (failure !== undefined) log.error({ reason: failure.message }, "the engine is gone");
  log.info({ running: server.inFlight.count }, "draining");
  await listening.close({ drainSeconds: failure === undefined ? drainSeconds : SECONDS_WITHOUT_ENGINE });
  if (failure !== undefined) throw failure;
  log.info({}, "stopped");
}
