// Metrics for Prometheus: events are counted where they happen, and what is in the database is read at a scrape.
import { setTimeout as sleep } from "node:timers/promises";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ServiceState } from "#store";
import type { runWorker } from "#worker";

type EndedSlice = Omit<Parameters<NonNullable<Parameters<typeof runWorker>[0]["onSlice"]>>[0], "times">;

const STATUSES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"] as const;
const SLICE_SECONDS = [1, 2.5, 5, 10, 20, 40, 80, 120, 160, 320, 640, 1280, 3600];
/** Milliseconds for which a state is shown again, and after which a scrape goes on without it. */
const [FRESH, READ_TIMEOUT] = [3000, 3000];

/** Counts of one process of a service. */
export function createMetrics() {
  const registry = new Registry();
  const counter = (name: string, help: string, ...labelNames: string[]): Counter =>
    new Counter({ name, help, labelNames, registers: [registry] });
  const slices = counter(
    "mos_slices_total",
    "Slices ended by this process, by result: stopped, succeeded, failed, interrupted, restarted, lost.",
    ...["model", "result"],
  );
  const seconds = new Histogram({
    name: "mos_slice_seconds",
    help: "Time from claiming a slice to its end, including storage transfers.",
    labelNames: ["model"],
    buckets: SLICE_SECONDS,
    registers: [registry],
  });
  const tokens = counter(
    "mos_trained_tokens_total",
    "Trained tokens of this process, without padding.",
    "model",
  );
  const stalled = counter(
    "mos_trainers_stalled_total",
    "Trainers killed by this process for lack of progress.",
    "model",
  );
  const attempts = counter(
    "mos_webhook_attempts_total",
    "Webhook delivery attempts of this process, by outcome: delivered, retried, failed.",
    "outcome",
  );
  const failures = counter(
    "mos_database_failures_total",
    "Database statements of this process that failed to connect.",
  );
  const stateText = stateGauges();
  return {
    /** A slice has ended; `trainedTokens` if they were kept. */
    sliceEnded: ({ model, result, ...slice }: EndedSlice): void => {
      slices.inc({ model, result });
      seconds.observe({ model }, slice.seconds);
      tokens.inc({ model }, slice.trainedTokens ?? 0);
    },
    trainerStalled: ({ model }: { readonly model: string }): void => stalled.inc({ model }),
    webhookAttempted: (outcome: "delivered" | "retried" | "failed"): void => attempts.inc({ outcome }),
    databaseFailed: (): void => failures.inc(),
    /** Prometheus' text format, with the state of the service where it is asked for. */
    render: async (state?: Parameters<typeof stateText>[0]): Promise<string> => {
      // before the counts: what fails in it is one of them
      const text = state === undefined ? "" : await stateText(state);
      return (await registry.metrics()) + text;
    },
  };
}

/** Gauges of the state, which are one for all processes; of `model` also where nothing waits for it. */
function stateGauges() {
  const registry = new Registry();
  const gauge = (name: string, help: string, ...labelNames: string[]): Gauge =>
    new Gauge({ name, help, labelNames, registers: [registry] });
  const jobs = gauge(
    "mos_jobs",
    "Jobs by status; held jobs wait for other jobs of their tenant.",
    ...["model", "status"],
  );
  const waiting = gauge("mos_slices_waiting", "Queued slices; scale workers by this.", "model");
  const oldest = gauge(
    "mos_slices_oldest_waiting_seconds",
    "Waiting time of the oldest queued slice.",
    "model",
  );
  const running = gauge("mos_slices_running", "Slices being trained.", "model");
  const workers = gauge(
    "mos_workers",
    "Workers with a heartbeat in the last minute, by version.",
    ...["model", "version"],
  );
  const deliveries = gauge("mos_webhook_deliveries_waiting", "Pending webhook deliveries.");
  const isUp = gauge(
    "mos_database_up",
    "1 if the database answers within 3 seconds. If not, 0, and the other metrics of shared state are missing.",
  );
  const show = (state: ServiceState, model: string): void => {
    for (const status of STATUSES) jobs.set({ model, status }, 0);
    for (const one of [waiting, oldest, running]) one.set({ model }, 0);
    for (const { status, model, count, age } of state.jobs) {
      jobs.set({ model, status }, count);
      if (status === "queued") {
        waiting.set({ model }, count);
        oldest.set({ model }, age);
      }
      if (status === "running") running.set({ model }, count);
    }
    for (const { model, version, count } of state.workers) workers.set({ model, version }, count);
    deliveries.set(state.deliveries);
  };
  const latest = cached();
  return async ({ read, model }: { read: () => Promise<ServiceState>; model: string }): Promise<string> => {
    const state = await latest(read);
    // stale values would mislead
    for (const one of [jobs, waiting, oldest, running, workers, deliveries]) one.reset();
    if (state !== undefined) show(state, model);
    else deliveries.remove();
    isUp.set(state === undefined ? 0 : 1);
    return registry.metrics();
  };
}

/** Reads at most every few seconds, and once at a time; undefined where there is no answer in time. */
function cached(): (read: () => Promise<ServiceState>) => Promise<ServiceState | undefined> {
  let reading: Promise<ServiceState | undefined> | undefined;
  let until = 0;
  return (read) => {
    if (reading === undefined || performance.now() > until) {
      const started = read().catch(() => undefined);
      reading = started;
      until = Number.POSITIVE_INFINITY;
      void started.then(() => {
        until = performance.now() + FRESH;
      });
    }
    const late = sleep(READ_TIMEOUT, undefined, { ref: false });
    return Promise.race([reading, late]);
  };
}
