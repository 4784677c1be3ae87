// A worker's sign of life, also while it trains.
import { readFileSync } from "node:fs";
import type { ServiceWatch, WorkerSign } from "#store";

/** Seconds between signs. */
const HEARTBEAT_SECONDS = 10;

const { version }: { readonly version: string } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
);

/** Shows that a worker is alive until it is disposed. */
export function startHeartbeat(watch: ServiceWatch, worker: Omit<WorkerSign, "version">): AsyncDisposable {
  // a database that is away for a while is said elsewhere
  const beat = (isNew?: boolean): Promise<void> =>
    watch.beat({ ...worker, version }, isNew).catch(() => undefined);
  let last = beat(true);
  const timer = setInterval(() => {
    last = last.then(() => beat());
  }, HEARTBEAT_SECONDS * 1000);
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await last;
      await watch.leave(worker.name).catch(() => undefined);
    },
  };
}
