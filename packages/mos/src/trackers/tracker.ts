// What the trackers of experiments have in common: how one is asked, and what it is told.

import { abortAfter, MosError, parseWith, rootCause, tryJson } from "mixture-of-shards-core/common";
import { readBounded } from "mixture-of-shards-core/hub";
import type { z } from "zod";

export const TRACKER_NAMES = ["mlflow", "wandb", "trackio"] as const;
export type TrackerName = (typeof TRACKER_NAMES)[number];

/** Where a run is written, besides its folder. */
export interface TrackOptions {
  readonly to: TrackerName;
  /** Address of the tracker's server, without a slash at its end. */
  readonly url: string;
  /** An experiment of MLflow, a project of the others. */
  readonly project: string;
  /** Of Weights & Biases; the owner of the key by default. */
  readonly entity?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  /** A token, or with `user` a password. */
  readonly key?: string | undefined;
  readonly user?: string | undefined;
  /** Told that the tracker takes nothing, and in the end that it has not had all. */
  readonly onAway?: ((reason: string) => void) | undefined;
}

/** A run as trackers know it. Times are milliseconds since 1970. */
export interface TrackedRun {
  /** Of our own making. */
  readonly id: string;
  readonly name: string;
  readonly startedAt: number;
  /** Settings by their paths. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** A measurement as trackers take it. */
export interface TrackedRow {
  /** Its place among all rows of the run, also when it is sent again. */
  readonly index: number;
  readonly step: number;
  readonly at: number;
  readonly scalars: Readonly<Record<string, number>>;
}

/** A run at a tracker, which ends up with each row once, though it may be sent again. */
export interface Tracker {
  send(rows: readonly TrackedRow[]): Promise<void>;
  /** The run is complete. */
  finish?(at: number): Promise<void>;
}

/** Sends a request to a path of a tracker, POST where it has a body, and checks the answer. Throws `network`. */
export type Ask = <S extends z.ZodType>(path: string, answer: S, body?: object) => Promise<z.output<S>>;

/** A tracker of experiments. */
export interface TrackerKind {
  /** Environment variables that its own client reads. */
  readonly variables: {
    readonly url: string;
    readonly project: string;
    readonly key: string;
    readonly entity?: string;
  };
  readonly headers: (key: string, user: string | undefined) => Readonly<Record<string, string>>;
  /** Finds a run, or makes it. */
  readonly open: (ask: Ask, options: TrackOptions, run: TrackedRun) => Promise<Tracker>;
}

export const basicAuth = (user: string, password: string) => ({
  authorization: `Basic ${btoa(`${user}:${password}`)}`,
});

/** Milliseconds for an answer, and bytes of one. */
const [TIMEOUT, MAX_BYTES] = [10_000, 4e6];

export const trackerClient =
  ({ headers }: TrackerKind, { to, url, key, user }: TrackOptions, signal: AbortSignal): Ask =>
  async (path, answer, body) => {
    const place = `${to} at ${new URL(url).origin}`;
    using limit = abortAfter(TIMEOUT, signal);
    try {
      const response = await fetch(`${url}${path}`, {
        ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
        headers: { "content-type": "application/json", ...(key === undefined ? {} : headers(key, user)) },
        redirect: "error", // the key is for this server
        signal: limit.signal,
      });
      const text = new TextDecoder().decode(await readBounded(response, MAX_BYTES));
      if (!response.ok)
        throw new MosError("network", `${place} answered ${response.status}: ${text.slice(0, 200)}`);
      return parseWith(answer, tryJson(text), { code: "network", where: `the answer of ${place}` });
    } catch (cause) {
      if (cause instanceof MosError) throw cause;
      const why = limit.signal.aborted ? "too late" : rootCause(cause);
      throw new MosError("network", `${place} does not answer (${why})`, { cause });
    }
  };
