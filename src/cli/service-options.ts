// Where fine-tuning as a service keeps its state: options of mos serve and of mos worker.
import { integer, text } from "#core";

/** Of every process of a service. */
export const serviceOptions = {
  databaseUrl: text({
    placeholder: "url",
    help: "PostgreSQL, for several machines: postgres://user:password@host/database",
  }),
  storage: text({
    placeholder: "folder",
    defaultText: "storage in --state",
    help: "files, checkpoints and models; with several machines a folder that all of them mount",
  }),
  sliceSeconds: integer({
    min: 1,
    max: 3600,
    default: 120,
    placeholder: "n",
    help: "how long a job trains before another one has its turn",
  }),
  leaseSeconds: integer({
    min: 2,
    max: 3600,
    default: 60,
    placeholder: "n",
    help: "how long a worker may be silent before another one goes on with its job",
  }),
};
