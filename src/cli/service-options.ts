// Where fine-tuning as a service keeps its state: options of mos serve and of mos worker.
import { integer, MosError, text } from "#core";

/** The database of a service. Other users of a machine see options, with the password in them, but not the environment. */
const DATABASE_URL = "MOS_DATABASE_URL";

/** `--database-url`, or what the environment has in its place. */
export const databaseUrlOfUser = (given: string | undefined): string | undefined =>
  given ?? (process.env[DATABASE_URL]?.trim() || undefined); // a file of a secret may end with a new line

/** @throws MosError `bad_option` where there is none. */
export function needDatabaseUrl(given: string | undefined): string {
  const url = databaseUrlOfUser(given);
  if (url === undefined)
    throw new MosError("bad_option", `give --database-url, or set ${DATABASE_URL} in the environment`);
  return url;
}

/** Of every process of a service. */
export const serviceOptions = {
  databaseUrl: text({
    placeholder: "url",
    defaultText: DATABASE_URL,
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
