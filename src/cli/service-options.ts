// Where fine-tuning as a service keeps its state: options of mos serve and of mos worker.
import { integer, MosError, text } from "#core";
import { variableOf } from "./sources.ts";

/** The database of a service. Other users of a machine see options, with the password in them, but not the environment. */
const DATABASE_URL = variableOf("databaseUrl");

/** @throws MosError `bad_option` where there is none. */
export function needDatabaseUrl(given: string | undefined): string {
  if (given === undefined)
    throw new MosError("bad_option", `--database-url is required; pass it or set ${DATABASE_URL}`);
  return given;
}

/** How long a process may take to end after --stop-seconds; then it is terminated. */
export const END_SECONDS = 15;

/** Of every process of a service. */
export const serviceOptions = {
  databaseUrl: text({
    placeholder: "url",
    defaultText: DATABASE_URL,
    help: "PostgreSQL database, for several machines: postgres://user:password@host/database",
  }),
  storage: text({
    placeholder: "folder",
    defaultText: "storage/ inside --state",
    help: "folder of files, checkpoints and models; with several machines, one that all of them mount",
  }),
  sliceSeconds: integer({
    min: 1,
    max: 3600,
    default: 120,
    placeholder: "n",
    help: "how long a job trains before the next one runs",
  }),
  leaseSeconds: integer({
    min: 2,
    max: 3600,
    default: 60,
    placeholder: "n",
    help: "time without a heartbeat after which another worker takes over the job",
  }),
  stopSeconds: integer({
    min: 0,
    max: 3600,
    default: 60,
    placeholder: "n",
    help: "time for a job to reach a checkpoint after SIGTERM before its trainer is killed",
  }),
  stallSeconds: integer({
    min: 10,
    max: 86_400,
    default: 120,
    placeholder: "n",
    help: "time without progress after which a trainer is killed and its job requeued",
  }),
};
