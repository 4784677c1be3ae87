// Measurements of many runs, read once and then only as they are added; the runs that were asked for last are kept.
import { toMeasurement } from "#training";
import type { Measurements } from "./measurements.ts";
import type { RunEntry } from "./run.ts";

interface Followed<T> {
  value: T;
  series: string;
  version: string | undefined;
  position: number;
  /** One request reads, the others wait for it. */
  reading: Promise<void>;
}

/**
 * Reads runs into values that `make` gives, at most `most` of which are kept.
 *
 * @example
 * const follow = followRuns(createSummary, 1000);
 * const summary = await follow(entry);
 */
export function followRuns<T extends Measurements>(
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
