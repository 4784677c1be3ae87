// All runs that a key may see, whoever ran them, as the API shows them.
import { type Measurement, toMeasurement } from "mixture-of-shards-core/training";
import type { ApiKey } from "../auth.ts";
import { createSeries, createSummary, namedRows, type ShownPart } from "./measurements.ts";
import {
  comparePlaces,
  type metricsSchema,
  placeOf,
  type Run,
  type RunEntry,
  type RunPlace,
  type RunSource,
  toSettings,
} from "./run.ts";

/** Runs whose summaries are kept, of about a kilobyte each, and those whose columns are, of up to about 16 MB. */
const [MAX_SUMMARIES, MAX_SERIES] = [10_000, 8];

export function createRuns(sources: readonly RunSource[]) {
  const summaryOf = followRuns(createSummary, MAX_SUMMARIES);
  const seriesOf = followRuns(createSeries, MAX_SERIES);
  const find = async (key: ApiKey, id: string): Promise<RunEntry | undefined> => {
    for (const source of sources) {
      const found = await source.find(key, id);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const show = async (entry: RunEntry): Promise<Run> => {
    const { facts, settings } = entry;
    const summary = (await summaryOf(entry)).value();
    return { ...facts, settings: toSettings(settings), ...summary, step: Math.max(facts.step, summary.step) };
  };
  return {
    find: async (key: ApiKey, id: string): Promise<Run | undefined> => {
      const entry = await find(key, id);
      return entry && (await show(entry));
    },
    /** A page, the newest first; undefined where `after` is no run. */
    list: async (
      key: ApiKey,
      { after, limit }: { readonly after?: string | undefined; readonly limit: number },
    ): Promise<{ readonly data: Run[]; readonly hasMore: boolean } | undefined> => {
      const last = after === undefined ? undefined : await find(key, after);
      if (after !== undefined && last === undefined) return undefined;
      const place: RunPlace | undefined = last && placeOf(last);
      const page = { after: place, limit: limit + 1 };
      const lists = await Promise.all(sources.map((source) => source.list(key, page)));
      const entries = lists.flat().sort((a, b) => comparePlaces(placeOf(a), placeOf(b)));
      const data: Run[] = [];
      // one after the other: their files are read in pieces, and other requests get their turn in between
      for (const entry of entries.slice(0, limit)) data.push(await show(entry));
      return { data, hasMore: entries.length > limit };
    },
    metrics: async (
      key: ApiKey,
      { id, ...part }: ShownPart & { readonly id: string },
    ): Promise<(typeof metricsSchema)["_output"] | undefined> => {
      const entry = await find(key, id);
      if (entry === undefined) return undefined;
      const series = await seriesOf(entry);
      const all = series.training.view();
      return {
        object: "run.metrics",
        training: namedRows(series.training, part),
        validation: namedRows(series.validation, part),
        last_step: all.columns[0]?.[all.length - 1] ?? 0,
      } as (typeof metricsSchema)["_output"]; // which has all columns of the series
    },
  };
}

interface Followed<T> {
  value: T;
  series: string;
  version: string | undefined;
  position: number;
  /** One request reads, the others wait for it. */
  reading: Promise<void>;
}

/**
 * Reads runs into values that `make` gives, once and then only as measurements are added; at most `most` of which are kept.
 *
 * @example
 * const follow = followRuns(createSummary, 1000);
 * const summary = await follow(entry);
 */
function followRuns<T extends { add(measurement: Measurement): void }>(
  make: () => T,
  most: number,
): (entry: RunEntry) => Promise<T> {
  const followed = new Map<string, Followed<T>>();
  const find = ({ facts: { id }, series }: RunEntry): Followed<T> => {
    const found = followed.get(id) ?? {
      value: make(),
      series,
      version: undefined,
      position: 0,
      reading: Promise.resolve(),
    };
    followed.delete(id);
    followed.set(id, found);
    for (const oldest of followed.keys()) {
      if (followed.size <= most) break;
      followed.delete(oldest);
    }
    return found;
  };
  const read = async (found: Followed<T>, { series, version, read: readFrom }: RunEntry): Promise<void> => {
    if (found.series !== series)
      Object.assign(found, { value: make(), series, version: undefined, position: 0 });
    if (version !== undefined && version === found.version) return;
    for await (const { measurements, position } of readFrom(found.position)) {
      for (const value of measurements) {
        const measurement = toMeasurement(value);
        if (measurement !== undefined) found.value.add(measurement);
      }
      found.position = position;
    }
    found.version = version;
  };
  return async (entry) => {
    const found = find(entry);
    found.reading = found.reading.catch(() => undefined).then(() => read(found, entry));
    await found.reading;
    return found.value;
  };
}
