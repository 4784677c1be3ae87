import { basename } from "node:path";
import {
  defineCommand,
  findModel,
  forceExit,
  group,
  listenForInterrupt,
  model,
  openLog,
  quiet,
} from "mixture-of-shards/kit";
import { listen, watchStorage } from "mixture-of-shards/server";
import { adjust, type SettingValues, setting, settingInfo } from "mixture-of-shards-core/common";
import { z } from "zod";
import { checkTrackers, HARMLESS, needDatabaseUrl, serviceOptions } from "./options.ts";
import { openResources, work, workerName } from "./resources.ts";

const { storage } = serviceOptions;

const options = {
  ...group("Model", {
    model,
    modelName: setting(z.string(), {
      placeholder: "name",
      defaultText: "the name of its folder or file",
      help: "name of the base model in the API, as given to mos serve",
    }),
  }),
  ...group("Service", {
    ...serviceOptions,
    storage: setting(z.string(), { placeholder: "place", required: true, help: settingInfo(storage).help }),
    serverUrl: setting(
      z
        .string()
        .regex(/^https?:\/\/[^\s@/?#]+([/?#]|$)/i)
        .refine((url) => URL.canParse(url))
        .describe("an http or https URL without a password"),
      {
        placeholder: "url",
        defaultText: "none",
        help: "URL of a mos serve on the same database, for jobs whose graders ask models",
      },
    ),
  }),
  ...group("Machine", {
    threads: setting(z.int().min(0), {
      default: 0,
      defaultText: "one per core",
      help: "compute threads",
    }),
  }),
  ...group("Network", {
    port: setting(z.int().min(1).max(65_535), {
      placeholder: "n",
      defaultText: "none",
      help: "serve /health, /ready and Prometheus /metrics on this port",
    }),
    host: setting(z.string(), {
      placeholder: "address",
      default: "127.0.0.1",
      help: "address to listen on; 0.0.0.0 for all interfaces",
    }),
  }),
  ...group("Output", { quiet: adjust(quiet, { help: "log errors only" }) }),
};

/** `mos worker`: trains the jobs of a service until it is stopped. */
export const command: ReturnType<typeof defineCommand> = defineCommand({
  description:
    "Runs the fine-tuning jobs of mos serve --database-url, on any machine with access to the database and the storage.",
  usage: "--model <model> --storage <folder> [options]",
  options,
  json: "log JSON lines on stdout",
  isConfigurable: true,
  harmless: [...HARMLESS, "modelName", "threads", "port"],
  examples: `
Examples:
  mos worker --model org/name --database-url postgres://mos@db/mos --storage /mnt/mos

A worker runs one slice of a job at a time. Each slice ends at a checkpoint from which any worker can resume. On SIGTERM or
Ctrl-C the slice stops at its next step, or after --stop-seconds at the previous checkpoint, and the process exits within
15 more seconds. A killed worker loses only the work since its last checkpoint.`,
  run,
});

async function run(given: SettingValues<typeof options> & { readonly json: boolean }): Promise<number> {
  const options = { ...given, databaseUrl: needDatabaseUrl(given.databaseUrl) };
  checkTrackers(options.trackers);
  const log = openLog({ quiet: options.quiet, toStdout: options.json });
  const worker = workerName(0);
  using interrupt = listenForInterrupt("stopping at the next step of the slice", {
    silent: options.quiet || options.json,
    print: (text) => log.info({ worker }, text),
  });
  const { signal } = interrupt;
  using _exit = forceExit(signal, {
    seconds: options.stopSeconds,
    onForced: (seconds) =>
      log.error({ worker }, `the worker did not exit within ${seconds} s and is terminated`),
  });
  const path = await findModel(options.model, { signal, silent: options.quiet });
  const modelName = options.modelName ?? basename(path).replace(/\.gguf$/i, "");
  await using resources = await openResources({ ...options, state: undefined }, { log });
  const { host, port } = options;
  const metrics = (): Promise<string> => resources.metrics.render();
  const problem = watchStorage({ check: resources.check, log });
  await using _probes =
    port === undefined ? undefined : await listenForProbes({ host, port, metrics, problem });
  if (options.serverUrl === undefined)
    log.info({ worker }, "without --server-url, jobs whose graders ask models are left to other workers");
  log.info({ worker, model: modelName }, "ready");
  await work({ ...options, model: path, log, name: worker, modelName, resources, signal });
  log.info({ worker }, "stopped");
  return 0;
}

/** The port of mos worker, for probes and Prometheus. */
interface ProbeOptions {
  readonly host: string;
  readonly port: number;
  readonly metrics: () => Promise<string>;
  /** Problem of its storage, for anybody to read; undefined while there is none. */
  readonly problem: () => Promise<string | undefined>;
}

/** Answers /health, /ready and /metrics until it is disposed. Throws as `listen`. */
export const listenForProbes = ({ host, port, ...parts }: ProbeOptions) =>
  listen({ app: { fetch: (request) => answerProbe(request, parts) } }, { host, port });

async function answerProbe(
  { method, url }: Request,
  { metrics, problem }: Pick<ProbeOptions, "metrics" | "problem">,
): Promise<Response> {
  if (method !== "GET") return new Response("only GET is allowed\n", { status: 405 });
  switch (new URL(url).pathname) {
    case "/health":
      return Response.json({ status: "up" });
    case "/ready": {
      const reason = await problem();
      if (reason === undefined) return Response.json({ status: "ready" });
      return Response.json({ status: "storage_unavailable", reason }, { status: 503 });
    }
    case "/metrics":
      return new Response(await metrics(), {
        headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
      });
    default:
      return new Response("not found; use /health, /ready or /metrics\n", { status: 404 });
  }
}
