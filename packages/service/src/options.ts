// The options of a service: of mos worker, and those that mos serve has besides.
import { MosError } from "mixture-of-shards";
import { completeTracking, group, TRACKER_NAMES, type TrackOptions } from "mixture-of-shards/kit";
import type { ServerLog } from "mixture-of-shards/server";
import { bytes, distinct, type SettingValues, setting } from "mixture-of-shards-core/common";
import { z } from "zod";

/** The database of a service. Other users of a machine see options, with the password in them, but not the environment. */
const DATABASE_URL = "MOS_DATABASE_URL";

/** @throws MosError `bad_option` where there is none. */
export function needDatabaseUrl(given: string | undefined): string {
  if (given === undefined)
    throw new MosError("bad_option", `--database-url is required; pass it or set ${DATABASE_URL}`);
  return given;
}

/** @throws MosError `bad_option` where a process that trains does not know the address or the key of a tracker. */
export function checkTrackers(trackers: readonly TrackOptions["to"][] = []): void {
  for (const to of trackers) completeTracking({ to }, process.env);
}

/** Options of every process of a service. */
export const serviceOptions = {
  databaseUrl: setting(z.string(), {
    placeholder: "url",
    defaultText: DATABASE_URL,
    help: "PostgreSQL database, for several machines: postgres://user:password@host/database",
  }),
  storage: setting(z.string(), {
    placeholder: "place",
    defaultText: "storage/ inside --state",
    help: "files, checkpoints and models: a folder that all machines mount, or s3://bucket/prefix",
  }),
  storageEndpoint: setting(z.string(), {
    placeholder: "url",
    defaultText: "AWS_ENDPOINT_URL",
    help: "server of an s3:// storage other than AWS, such as MinIO or R2",
  }),
  storageCache: setting(bytes(), {
    default: 20e9,
    defaultText: "20GB",
    help: "disk space for copies from an s3:// storage; those in use can take more",
  }),
  sliceSeconds: setting(z.int().min(1).max(3600), {
    default: 120,
    placeholder: "n",
    help: "time that a job trains before the next one gets its turn",
  }),
  leaseSeconds: setting(z.int().min(2).max(3600), {
    default: 60,
    placeholder: "n",
    help: "time without a heartbeat after which another worker takes over the job",
  }),
  stopSeconds: setting(z.int().min(0).max(3600), {
    default: 60,
    placeholder: "n",
    help: "time for a job to reach a checkpoint after SIGTERM before its trainer is killed",
  }),
  stallSeconds: setting(z.int().min(10).max(86_400), {
    default: 120,
    placeholder: "n",
    help: "time without progress after which a trainer is killed and its job requeued",
  }),
  trackers: setting(distinct(z.enum(TRACKER_NAMES)).describe("a list of different trackers"), {
    defaultText: "none",
    help: "trackers that integrations of jobs may write to, by the variables of their own clients: mlflow, wandb, trackio",
  }),
};

/** What a configuration file that is only found may set. */
export const HARMLESS = [
  "storageCache",
  "sliceSeconds",
  "leaseSeconds",
  "stopSeconds",
  "stallSeconds",
] as const satisfies readonly (keyof typeof serviceOptions)[];

/** Options of `mos serve`. */
export const serveOptions = group("Fine-tuning", {
  state: setting(z.string(), {
    common: true,
    placeholder: "folder",
    help: "accept fine-tuning jobs, and store their state in this folder",
  }),
  ...serviceOptions,
  workers: setting(z.int().min(0), {
    defaultText: "1, or 0 with --database-url",
    help: "jobs that this server trains in parallel; mos worker adds more",
  }),
  webhookPorts: setting(distinct(z.int().min(1).max(65_535)).describe("a list of different ports"), {
    default: [443, 80],
    defaultText: "443,80",
    help: "ports allowed in webhook URLs of non-admin keys",
  }),
  peftFolder: setting(z.string(), {
    placeholder: "folder",
    help: "also export each trained model here as a PEFT LoRA, in the layout of vLLM's filesystem resolver",
  }),
  peftBaseName: setting(z.string(), {
    placeholder: "name",
    defaultText: "--model",
    help: "base_model_name_or_path of these exports, which must equal vLLM's --model",
  }),
  peftServers: setting(
    distinct(z.string().regex(/^https?:\/\/[^\s@/?#][^\s@?#]*$/)).describe(
      "a list of different http or https URLs",
    ),
    {
      placeholder: "urls",
      defaultText: "none",
      help: "vLLM servers of --peft-folder, which are told to unload models that were deleted",
    },
  ),
});

/** Options of a service: those of `mos serve`, and its server's. */
export interface ServiceOptions
  extends Omit<
    SettingValues<typeof serveOptions>,
    "workers" | "peftFolder" | "peftBaseName" | "peftServers"
  > {
  readonly workers: number;
  /** Folder to export models to for other servers, and their name of the base. */
  readonly peft:
    | { readonly folder: string; readonly baseName: string; readonly servers: readonly string[] }
    | undefined;
  /** The folder or file of the base. */
  readonly model: string;
  readonly threads: number;
  readonly log: ServerLog;
}
