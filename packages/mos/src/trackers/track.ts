// Sends what a run measures to a tracker, from the run's own file of metrics. Training never waits for it: what could not be sent is
// sent later, and a file in the run's folder says how far that has come.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RUN_FILES } from "mixture-of-shards-core/adapters";
import { errorText, monotonicNow } from "mixture-of-shards-core/common";
import { pathExists, readJson, writeFileAtomic } from "mixture-of-shards-core/files";
import { type RunFollower, readMeasurements, readRecord, toScalars } from "mixture-of-shards-core/training";
import { z } from "zod";
import { TRACKERS } from "./kinds.ts";
import { type TrackedRow, type Tracker, type TrackOptions, trackerClient } from "./tracker.ts";

/** How far a run is at its tracker. */
const accountSchema = z.object({
  to: z.string(),
  url: z.string(),
  project: z.string(),
  /** Of the run there. */
  id: z.string(),
  /** Milliseconds since 1970. */
  startedAt: z.number(),
  /** Rows that the tracker has. */
  sent: z.int().min(0),
});
type Account = z.output<typeof accountSchema>;

const writeAccount = (run: string, account: Account): Promise<void> =>
  writeFileAtomic(join(run, RUN_FILES.tracking), `${JSON.stringify(account)}\n`);

/** Rows of a request. */
const BATCH = 100;
/** Milliseconds between two looks for more rows, of the longest pause after failures, of one at the end, and of the end. */
const [EVERY, MAX_PAUSE, SHORT, PATIENCE] = [1000, 60_000, 200, 5000];

interface TrackRunOptions extends TrackOptions {
  readonly name: string;
  /** Of the run at the tracker, where its folder may be lost and made again (random). */
  readonly id?: string;
  /** Milliseconds since 1970 (`monotonicNow`). */
  readonly now?: () => number;
  /** Milliseconds that the end of a run waits for its tracker. */
  readonly patience?: number;
}

/**
 * Begins to write a run, whose record is there, to a tracker, or goes on where that has stopped.
 *
 * @throws MosError `not_found` where there is no run, `bad_data`, `storage`; nothing where the tracker is away.
 */
export async function trackRun(run: string, options: TrackRunOptions): Promise<Tracking> {
  const { to, url, project, now = monotonicNow } = options;
  await readRecord(run); // nothing is written to a folder without a run
  const file = join(run, RUN_FILES.tracking);
  const found = (await pathExists(file))
    ? await readJson(file, accountSchema, { code: "bad_data" })
    : undefined;
  const isSame = found?.to === to && found.url === url && found.project === project;
  const { id = randomUUID().replaceAll("-", "").slice(0, 16) } = options;
  const account = isSame ? found : { to, url, project, id, startedAt: now(), sent: 0 };
  await writeAccount(run, account);
  return new Tracking(run, options, account);
}

/** A run that is being written to its tracker. */
class Tracking implements RunFollower {
  readonly #run: string;
  readonly #options: TrackRunOptions;
  #account: Account;
  /** What was read of the metrics: bytes, rows, and seconds that they took. */
  #read = { position: 0, rows: 0, seconds: 0 };
  #tracker: Tracker | undefined;
  readonly #ended = new AbortController();
  readonly #stop = new AbortController();
  readonly #working: Promise<void>;
  #isComplete = false;

  constructor(run: string, options: TrackRunOptions, account: Account) {
    this.#run = run;
    this.#options = options;
    this.#account = account;
    this.#working = this.#work();
  }

  /** Sends what is left within some seconds; false where rows stay behind. `isComplete`: the run is over, rather than stopped. */
  async end({ isComplete }: { readonly isComplete: boolean }): Promise<boolean> {
    const { to, onAway, patience = PATIENCE } = this.#options;
    this.#isComplete = isComplete;
    this.#ended.abort();
    const timer = setTimeout(() => this.#stop.abort(), patience);
    await this.#working;
    clearTimeout(timer);
    const isSent = !this.#stop.signal.aborted;
    if (!isSent) onAway?.(`${to} has not had all metrics yet; mos adapters track sends the rest`);
    return isSent;
  }

  async #work(): Promise<void> {
    const [ended, stop] = [this.#ended.signal, this.#stop.signal];
    for (let failures = 0; ; ) {
      const isLast = ended.aborted;
      try {
        await this.#send(isLast && this.#isComplete);
        if (isLast) return;
        failures = 0;
      } catch (error) {
        if (stop.aborted) return;
        this.#noteFailure(error, failures++);
      }
      const pause = ended.aborted ? SHORT : Math.min(EVERY * 2 ** failures, MAX_PAUSE);
      await sleep(pause, undefined, { signal: ended.aborted ? stop : ended }).catch(() => undefined);
    }
  }

  #noteFailure(error: unknown, before: number): void {
    this.#tracker = undefined; // which says what it has when it is opened again
    if (before > 0) return;
    this.#options.onAway?.(`${errorText(error)}; the run goes on, and its metrics are sent later`);
  }

  async #send(isComplete: boolean): Promise<void> {
    this.#tracker ??= await this.#open();
    while (await this.#sendSome(this.#tracker));
    if (isComplete) await this.#tracker.finish?.(this.#timeAfter(this.#read.seconds));
  }

  async #open(): Promise<Tracker> {
    const { to, name } = this.#options;
    const { augmented: _, ...record } = await readRecord(this.#run);
    const kind = TRACKERS[to];
    const ask = trackerClient(kind, this.#options, this.#stop.signal);
    return kind.open(ask, this.#options, { ...this.#account, name, config: flat(record) });
  }

  /** Sends some rows; false where there are no more. */
  async #sendSome(tracker: Tracker): Promise<boolean> {
    const rows: TrackedRow[] = [];
    let { position, rows: index, seconds } = this.#read;
    for await (const { measurement, end } of readMeasurements(this.#run, position)) {
      seconds += measurement.seconds;
      const row = {
        index,
        step: measurement.step,
        at: this.#timeAfter(seconds),
        scalars: toScalars(measurement),
      };
      // a resumed run makes some rows again, which are the same
      if (index >= this.#account.sent) rows.push(row);
      position = end;
      index++;
      if (rows.length === BATCH) break;
    }
    if (rows.length > 0) {
      await tracker.send(rows);
      this.#account = { ...this.#account, sent: index };
      await writeAccount(this.#run, this.#account);
    }
    this.#read = { position, rows: index, seconds };
    return rows.length === BATCH;
  }

  #timeAfter(seconds: number): number {
    return Math.round(this.#account.startedAt + seconds * 1000);
  }
}

/** Values by their paths, such as `settings.steps`. */
function flat(value: unknown, path = ""): Readonly<Record<string, unknown>> {
  if (value === null || typeof value !== "object" || Array.isArray(value))
    return { [path]: Array.isArray(value) ? JSON.stringify(value) : value };
  const parts = Object.entries(value).map(([name, one]) => flat(one, path === "" ? name : `${path}.${name}`));
  return Object.assign({}, ...parts);
}
