import { describeTrainedOn } from "mixture-of-shards-core/adapters";
import {
  adjust,
  describeBytes,
  describePlan,
  pick,
  type SettingValues,
  setting,
} from "mixture-of-shards-core/common";
import {
  type AdapterInfo,
  adapterSettings,
  baseSettings,
  batchSettings,
  defaultsSettings,
  type EngineModel,
} from "mixture-of-shards-core/inference";
import { templateSettings } from "mixture-of-shards-core/text";
import { networkSettings, type RunningServer, serve } from "mixture-of-shards-server";
import { z } from "zod";
import {
  installedServeAddOns,
  listKeyLimits,
  type OpenServeAddOn,
  packageOfOption,
  type ServeAddOn,
} from "./add-ons.ts";
import { type Command, defineCommand, group } from "./command.ts";
import { model, quiet, SIZES } from "./common-options.ts";
import { counted, formatInteger, labelled, type Row } from "./format.ts";
import { forceExit, listenForInterrupt } from "./interrupt.ts";
import { engineProgress, findModel, userPlaces } from "./loading.ts";
import { openLog } from "./log.ts";
import { defaultsText } from "./model-text.ts";
import { startTelemetry } from "./telemetry.ts";
import { liveLine, MOS, printJson, printLine } from "./terminal.ts";

const options = {
  ...group("Model", {
    model,
    modelName: setting(z.string(), {
      placeholder: "name",
      defaultText: "the name of its folder or file",
      help: "name of the base model in the API",
    }),
    ...baseSettings,
  }),
  ...group("Adapters", {
    adapters: setting(z.string(), {
      common: true,
      placeholder: "folder",
      help: "folder of adapters; each sub-folder is served as a model of that name",
    }),
    ...adapterSettings,
    runs: setting(z.string(), {
      placeholder: "folder",
      help: "folder whose run folders, at any of 4 levels, are shown by /v1/runs",
    }),
  }),
  ...group("Sampling", {
    ...defaultsSettings,
    maxTokens: adjust(defaultsSettings.maxTokens, {
      defaultText: "the model's, else the rest of the context; 16 for /v1/completions",
    }),
    ...templateSettings,
  }),
  ...group("Machine", batchSettings),
  ...group("Network", networkSettings),
  ...group("Output", { quiet: adjust(quiet, { help: "log errors only" }) }),
};
/** What a configuration file that is only found may set: speed, memory, sampling and times. */
const harmlessGroups = { ...baseSettings, ...adapterSettings, ...defaultsSettings, ...batchSettings };
const HARMLESS: readonly (keyof typeof options)[] = [
  "modelName",
  ...(Object.keys(harmlessGroups) as (keyof typeof harmlessGroups)[]),
  ...(["port", "drainSeconds", "drainDelay", "requestTimeout", "engineTimeout", "keepAlive"] as const),
];
/** What `serve` takes of them. */
const { quiet: _, ...serverOptions } = options;
/** The options of a server, those of add-ons aside. */
type Values = SettingValues<typeof options> & { readonly json: boolean };

/** The options with those of add-ons, and which of them exclude each other. */
export const serveOptions = (addOns: readonly ServeAddOn[]) => ({
  // an add-on reads its own values only
  options: Object.assign({ ...options }, ...addOns.map((addOn) => addOn.options)) as typeof options,
  conflicts: [
    ["keys", "apiKeys"],
    ...addOns.flatMap(({ conflicts = [] }) => conflicts),
  ] as (keyof typeof options)[][],
});

/** The command, with what installed add-ons bring to it. */
export async function loadCommand(): Promise<Command> {
  const addOns = await installedServeAddOns();
  return defineCommand({
    description:
      "Serves a base model and any number of adapters through OpenAI's API. Requests for different adapters run in one batch.",
    usage: "--model <model> [--adapters <folder>] [options]",
    ...serveOptions(addOns),
    json: "print one JSON line on stdout when the server is ready",
    isConfigurable: true,
    harmless: [...HARMLESS, ...(addOns.flatMap(({ harmless = [] }) => harmless) as [])],
    examples: `
Examples:
  mos serve --model org/name --adapters adapters
  mos serve --model model.gguf --adapters adapters --adapter-memory 4GB
  mos serve --model org/name --adapters adapters --max-batch 64 --max-length 16384 --cache-memory 24GB
  mos serve --model org/name --adapters adapters --host 0.0.0.0 --api-keys keys.jsonl
  mos serve --model org/name --host 0.0.0.0 --api-keys keys.jsonl --tls-cert cert.pem --tls-key key.pem
  mos serve --model org/name --cors https://app.example.com --temperature 0.7 --top-p 0.9

Point OpenAI clients at http://127.0.0.1:8080/v1 and name the base or an adapter as model.
Sampling options set the defaults of requests; without them, the model's generation_config.json or GGUF metadata apply.
/studio is a page to fine-tune and compare in, /docs lists the routes, /metrics serves Prometheus. Requests are logged on stderr: a line each
on a terminal, else JSON.
On SIGTERM or Ctrl-C, running requests may finish, and the server exits within --drain-delay + --drain-seconds + 15 s.
A second signal exits at once.
${SIZES}`,
    run: (values) => serveUntilStopped(values, { addOns }),
  });
}

interface Serving {
  readonly addOns: readonly ServeAddOn[];
  /** Called with the address of the studio's page when the server answers. */
  readonly onReady?: (studio: string) => void;
}

/**
 * Serves until SIGTERM or Ctrl-C, and returns the exit code.
 *
 * @throws MosError what broke the engine, so that the process ends and its supervisor starts another one; and that it had
 * to be killed in the end.
 */
export async function serveUntilStopped(options: Values, { addOns, onReady }: Serving): Promise<number> {
  for (const addOn of addOns) addOn.check?.(options, options);
  const silent = options.quiet || options.json;
  using interrupt = listenForInterrupt("shutting down after running requests", { silent });
  const log = openLog({ quiet: options.quiet });
  const { drainDelay, drainSeconds } = options;
  const stopSeconds = addOns.map((addOn) => addOn.stopSeconds(options));
  using _exit = forceExit(interrupt.signal, {
    seconds: Math.max(drainDelay + drainSeconds, ...stopSeconds),
    onForced: (seconds) => log.error({}, `the server did not exit within ${seconds} s and is terminated`),
  });
  const model = await findModel(options.model, { signal: interrupt.signal, silent });
  const { model: requestedModel, threads } = options;
  let opened: OpenServeAddOn | undefined; // a server has room for one
  for (const one of addOns) opened ??= await one.open(options, { model, requestedModel, threads, log });
  await using addOn = opened;
  await using telemetry = await startTelemetry(log);
  using line = liveLine({ silent });
  await using server = await serve({
    ...pick(serverOptions, options),
    model,
    log,
    telemetry: telemetry !== undefined,
    onProgress: engineProgress(line),
    signal: interrupt.signal,
    cacheFolder: (await userPlaces()).weights,
    keyLimits: listKeyLimits(addOns),
    serviceHint: serviceHint(addOns.length > 0),
    ...(addOn === undefined ? {} : { adapters: addOn.adapters, extension: (model) => addOn.start(model) }),
  });
  line[Symbol.dispose]();
  printStart(server, options, addOn);
  onReady?.(studioAddress(server));
  const { engine } = server;
  const broken = await Promise.race([aborted(interrupt.signal), engine.closed]);
  if (broken !== undefined) log.error({ reason: broken.message }, "the engine exited");
  await Promise.all([server.stop(), addOn?.stop()]);
  const failure = broken ?? (await engine.closed);
  if (failure !== undefined) throw failure;
  log.info({}, "stopped");
  return 0;
}

/** How to get the routes of fine-tuning as a service. */
export function serviceHint(isInstalled: boolean): string {
  const install = isInstalled
    ? ""
    : `install ${packageOfOption("serve", "--state")} (README.md says how), and `;
  return `${install}start the server with ${MOS} serve --model … --state FOLDER (docs/how-to/fine-tuning-service.md)`;
}

const aborted = (signal: AbortSignal): Promise<undefined> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });

/** For a browser on this machine: a server that listens everywhere is at localhost, too. */
const studioAddress = ({ address }: Pick<RunningServer, "address">): string =>
  `${address.replace(/\/\/(0\.0\.0\.0|\[::\])(?=:)/, "//localhost")}/studio/`;

function printStart(
  { engine, modelName, address }: RunningServer,
  options: Values,
  addOn: OpenServeAddOn | undefined,
): void {
  const adapters = engine.adapters();
  const { adapterMemory } = options;
  const { maxLength, baseDtype, computeDtype, drafts, plan } = engine.model;
  const moved = adapters.filter((one) => one.trainedOn !== undefined);
  if (options.json) {
    const trainedOn = Object.fromEntries(moved.map((info) => [info.name, info.trainedOn]));
    const { defaults } = engine;
    const what = { address, model: modelName, adapters: adapters.length, trainedOn, plan, defaults, drafts };
    printJson({ type: "ready", ...what });
    return;
  }
  printLine(
    labelled([
      ["model", `${modelName}: sequences of ${formatInteger(maxLength)} tokens`],
      ["weights", `${baseDtype === "stored" ? "as stored" : `in ${baseDtype}`}, computed in ${computeDtype}`],
      plan !== undefined && ["memory", `about ${describeBytes(plan.bytes)}: ${describePlan(plan)}`],
      ...adapterRows(adapters, adapterMemory),
      ...movedRows(moved),
      ["sampling", defaultsText(engine.defaults)],
      engine.text.template.source === "fallback" && [
        "chats",
        "Tulu's format, for adapters trained with it: the model has no chat template",
      ],
      ["batch", batchText(options, engine.model)],
      ["drafts", draftsText(engine.model)],
      addOn !== undefined && ["service", addOn.summary],
      ["keys", options.apiKeys ?? "none: everyone who can reach the port may use the server"],
      ["address", `${address}/v1`],
      ["studio", studioAddress({ address })],
    ]),
  );
}

/** What a seed repeats. */
export function batchText(
  { maxBatch, deterministic }: Pick<Values, "maxBatch" | "deterministic">,
  { computeDtype }: Pick<EngineModel, "computeDtype">,
): string {
  const requests = counted(maxBatch, "concurrent request");
  if (deterministic) return `${requests}; a seed repeats an answer, whatever runs beside it`;
  return computeDtype === "int8"
    ? `${requests}; a seed repeats the answer of a request that runs alone (--deterministic: any)`
    : requests;
}

/** Whether drafts change answers. */
export function draftsText({ drafts, maxLength }: Pick<EngineModel, "drafts" | "maxLength">): string {
  const { tokens, sameUpTo } = drafts;
  if (tokens === 0) return "none";
  const most = `at most ${counted(tokens, "token")}`;
  if (sameUpTo >= maxLength) return `${most}; answers stay the same`;
  const from = sameUpTo === 0 ? "" : ` beyond ${formatInteger(sameUpTo)} tokens`;
  return `${most};${from} where two tokens are about as likely, the other may be chosen (--draft-tokens 0: none)`;
}

/** A line for each kind of adapter there is, with how many of it the memory holds. */
function adapterRows(adapters: readonly AdapterInfo[], memory: number): readonly Row[] {
  if (adapters.length === 0) return [["adapters", "none"]];
  const kinds = new Map<string, AdapterInfo[]>();
  for (const adapter of adapters) {
    const kind = `${adapter.method} ${adapter.rank} ${adapter.residentBytes}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), adapter]);
  }
  return [...kinds.values()].flatMap((group) =>
    group.slice(0, 1).flatMap(({ method, rank, residentBytes }): readonly Row[] => {
      const held = formatInteger(Math.floor(memory / Math.max(1, residentBytes)));
      const what = `${method} of rank ${rank}, ${describeBytes(residentBytes)} each`;
      return [
        ["adapters", `${counted(group.length, "adapter")}: ${what}`],
        ["", `${held} of these fit into ${describeBytes(memory)}`],
      ];
    }),
  );
}

type RetrainedAdapters = Pick<AdapterInfo, "name" | "trainedOn">;

/**
 * Adapters that were trained on another quantisation of the model, or with other token ids: a line for all that differ in one
 * way; which one is which, /v1/adapters says.
 */
export function movedRows(adapters: readonly RetrainedAdapters[]): readonly Row[] {
  const [first] = adapters;
  if (first?.trainedOn === undefined) return [];
  if (adapters.length === 1) return [["", `${first.name}: ${describeTrainedOn(first.trainedOn)}`]];
  const toRows = (
    group: readonly RetrainedAdapters[],
    what: (first: RetrainedAdapters) => string,
  ): readonly Row[] => {
    const were = group.length === 1 ? "1 adapter was" : `${counted(group.length, "adapter")} were`;
    return group.slice(0, 1).map((one): Row => ["", `${were} trained ${what(one)}; used unchanged`]);
  };
  return [
    ...toRows(
      adapters.filter(({ trainedOn }) => trainedOn?.sameNumbers !== true),
      ({ name, trainedOn }) =>
        `on another quantisation of the same model, such as ${name} on ${trainedOn?.name ?? "an unnamed one"}`,
    ),
    ...toRows(
      adapters.filter(({ trainedOn }) => trainedOn?.otherTokens === true),
      ({ name }) => `with token ids that differ from this base's, such as ${name}: retrain them`,
    ),
  ];
}
