// A run and its measurements, read again while it goes on.
import { useEffect, useMemo, useState } from "preact/hooks";
import { api, hasEnded, type Poll, type Run, usePoll } from "#api";
import type { Range } from "#chart";
import { type Metrics, merged, NO_METRICS, withDetail } from "./metrics.ts";

/** A run with what it measured so far. */
export interface RunState {
  readonly run: Run;
  readonly metrics: Metrics;
  /** Steps per second while this page looked on; undefined before it has seen some. */
  readonly speed: number | undefined;
}

/** Milliseconds between requests, and between those for a run that is over. */
const [LIVE, QUIET] = [1500, 15_000];

/** Reads a run as long as the page shows it. */
export function useRun(id: string): Poll<RunState> {
  const read = useMemo(() => reader(id), [id]);
  return usePoll(read, { every: LIVE }, [id]);
}

function reader(id: string): (signal: AbortSignal) => Promise<RunState> {
  let state: RunState | undefined;
  let readAt = Number.NEGATIVE_INFINITY;
  const speedOf = measureSpeed();
  return async (signal) => {
    const now = performance.now();
    if (state !== undefined && hasEnded(state.run) && now - readAt < QUIET) return state;
    const params = { id };
    const run = await api.get("/v1/runs/{id}", { params, signal });
    const rest = (from: number) =>
      api.get("/v1/runs/{id}/metrics", { params, query: { from_step: from }, signal });
    const known = state?.metrics ?? NO_METRICS;
    const isNew = state === undefined || run.step !== state.run.step || run.status !== state.run.status;
    const metrics = isNew ? (merged(known, await rest(known.last_step)) ?? (await rest(0))) : known;
    readAt = now;
    state = { run, metrics, speed: speedOf(run, now) };
    return state;
  };
}

/** Milliseconds without another zoom after which its rows are asked for. */
const AT_REST = 150;

/** Measurements of which the part that is looked at has as many rows as the whole. */
export function useZoom(id: string, metrics: Metrics) {
  const [range, zoom] = useState<Range>();
  const [detail, setDetail] = useState<{ readonly of: Range; readonly metrics: Metrics }>();
  useEffect(() => {
    setDetail(undefined);
    if (range === undefined) return;
    const left = new AbortController();
    const of = { min: Math.max(0, Math.floor(range.min)), max: Math.ceil(range.max) };
    const read = async (): Promise<void> => {
      const query = { from_step: of.min, to_step: of.max };
      const part = { params: { id }, query, signal: left.signal };
      setDetail({ of, metrics: await api.get("/v1/runs/{id}/metrics", part) });
    };
    // without the detail the outline stays
    const timer = setTimeout(() => void read().catch(() => undefined), AT_REST);
    return () => {
      clearTimeout(timer);
      left.abort();
    };
  }, [id, range]);
  const shown = useMemo(
    () => (detail === undefined ? metrics : withDetail(metrics, detail.metrics, detail.of)),
    [metrics, detail],
  );
  return { metrics: shown, zoom };
}

/** Steps of the past that speed is measured by. */
const SAMPLES = 20;

/** Steps per second of a running run, over the last half minute or so. */
export function measureSpeed(): (run: Pick<Run, "status" | "step">, now: number) => number | undefined {
  let samples: { readonly at: number; readonly step: number }[] = [];
  return ({ status, step }, now) => {
    const last = samples.at(-1);
    if (status !== "running" || step < (last?.step ?? 0)) samples = [];
    else if (last === undefined || step > last.step)
      samples = [...samples, { at: now, step }].slice(-SAMPLES);
    const [first] = samples;
    const newest = samples.at(-1);
    if (first === undefined || newest === undefined || newest.at === first.at) return undefined;
    return (1000 * (newest.step - first.step)) / (newest.at - first.at);
  };
}

/** Seconds until a run is done, at the speed it has; undefined where that is not known. */
export function secondsLeft({ run, speed }: Pick<RunState, "run" | "speed">): number | undefined {
  if (run.total_steps === null || speed === undefined || run.status !== "running") return undefined;
  return Math.max(0, run.total_steps - run.step) / speed;
}

/** Reads a list again while `isLive`, and once more when that ends. */
export function useList<T>(
  read: (signal: AbortSignal) => Promise<readonly T[]>,
  { isLive, id }: { readonly isLive: boolean; readonly id: string },
): Poll<readonly T[]> {
  const list = useMemo(() => {
    let known: readonly T[] | undefined;
    let isOver = false;
    const settings = {
      read: async (signal: AbortSignal): Promise<readonly T[]> => {
        if (known !== undefined && isOver) return known;
        known = await read(signal);
        isOver = !settings.isLive;
        return known;
      },
      isLive,
    };
    return settings;
  }, [id]);
  useEffect(() => {
    list.isLive = isLive;
  }, [isLive]);
  return usePoll(list.read, { every: 4000 }, [id]);
}
