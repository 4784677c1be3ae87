// All runs that a key may see, whoever ran them, as the API shows them: with a summary that grows with a run in a few bytes, and
// what it measured in columns for charts.
import { type Measurement, toMeasurement } from "mixture-of-shards-core/training";
import type { ApiKey } from "../auth.ts";
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
  const begin = (series: string) => ({
    series,
    value: make(),
    position: 0,
    version: undefined as string | undefined,
  });
  /** One request reads, the others wait for it. */
  const followed = new Map<string, ReturnType<typeof begin> & { reading: Promise<void> }>();
  const find = ({ facts: { id }, series }: RunEntry) => {
    const found = followed.get(id) ?? { ...begin(series), reading: Promise.resolve() };
    followed.delete(id);
    followed.set(id, found);
    for (const oldest of followed.keys()) {
      if (followed.size <= most) break;
      followed.delete(oldest);
    }
    return found;
  };
  type Followed = ReturnType<typeof find>;
  const read = async (found: Followed, { series, version, read: readFrom }: RunEntry): Promise<void> => {
    if (found.series !== series) Object.assign(found, begin(series));
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

const SPARKS = 48;

/** Means of at most 48 stretches of equal length: two become one when there are too many. */
function sparkline() {
  let [sums, width, open, count]: [number[], number, number, number] = [[], 1, 0, 0];
  return {
    add: (value: number): void => {
      open += value;
      if (++count < width) return;
      sums.push(open / width);
      [open, count] = [0, 0];
      if (sums.length < SPARKS) return;
      sums = Array.from({ length: SPARKS / 2 }, (_, i) => ((sums[2 * i] ?? 0) + (sums[2 * i + 1] ?? 0)) / 2);
      width *= 2;
    },
    values: (): number[] => [...sums, ...(count > 0 ? [open / count] : [])].map(rounded),
  };
}

/** Seven digits are more than anyone sees, and half the bytes. */
const rounded = (value: number): number => Number(value.toPrecision(7));

type Evaluation = Pick<Measurement, "step" | "loss">;

/** The last and the best values of a run. A measurement of an earlier step means that the run began again there. */
export function createSummary() {
  let step = 0;
  let loss: number | null = null;
  let validation: Evaluation | null = null;
  let best: Evaluation | null = null;
  let sparks = sparkline();
  return {
    add: (measurement: Measurement): void => {
      const isEvaluation = measurement.type === "evaluation";
      if (isEvaluation ? measurement.step < step : measurement.step <= step) {
        [loss, validation, best] = [null, null, null];
        sparks = sparkline();
      }
      ({ step } = measurement);
      if (isEvaluation) {
        validation = { step, loss: measurement.loss };
        if (best === null || validation.loss < best.loss) best = validation;
      } else {
        ({ loss } = measurement);
        sparks.add(loss);
      }
    },
    value: () => ({
      step,
      loss,
      validation_loss: validation?.loss ?? null,
      best_validation_loss: best?.loss ?? null,
      best_step: best?.step ?? null,
      sparkline: sparks.values(),
    }),
  };
}

/** Rows of numbers by column, the first of which rises. */
interface Columns {
  readonly length: number;
  readonly columns: readonly (readonly number[])[];
}

/** The rows with the extremes of one column in a stretch. */
function extremes(column: readonly number[], begin: number, end: number): readonly number[] {
  let [least, greatest] = [-1, -1];
  for (let row = begin; row < end; row++) {
    const value = column[row] ?? Number.NaN;
    if (Number.isNaN(value)) continue;
    if (least < 0 || value < (column[least] ?? 0)) least = row;
    if (greatest < 0 || value > (column[greatest] ?? 0)) greatest = row;
  }
  return least < 0 ? [] : [least, greatest];
}

/**
 * Fewer rows for a chart, none of which is made up: at most `points` by their numbers, in order: the first and the last one, and those with the extremes of each column but
 * the first within stretches of equal length. All rows where they are few enough.
 */
export function decimate({ columns, length }: Columns, points: number): readonly number[] {
  if (length <= points) return Array.from({ length }, (_, row) => row);
  const values = columns.slice(1);
  const stretches = Math.max(1, Math.floor((points - 2) / (2 * values.length)));
  const kept = new Set<number>([0]);
  for (let stretch = 0; stretch < stretches; stretch++) {
    const begin = Math.floor((stretch * length) / stretches);
    const end = Math.floor(((stretch + 1) * length) / stretches);
    const rows = new Set(values.flatMap((column) => extremes(column, begin, end)));
    for (const row of [...rows].sort((a, b) => a - b)) kept.add(row);
  }
  kept.add(length - 1);
  return [...kept];
}

/** Rows that are kept of a run; beyond, the extremes of neighbours stand for them. */
const MAX_ROWS = 1 << 18;
/** The same for rows times columns, 16 MB. */
const MAX_CELLS = 1 << 21;

export function growingColumns(count: number, most = MAX_ROWS) {
  let columns: number[][] = Array.from({ length: count }, () => []);
  return {
    /** Adds a row, in place of those of its step and later ones. One that is longer than those before adds columns, too. */
    add: (row: readonly number[]): void => {
      const [steps = []] = columns;
      const [first = 0] = row;
      let { length } = steps;
      while (columns.length < row.length) columns.push(new Array<number>(length).fill(Number.NaN));
      while (length > 0 && (steps[length - 1] ?? 0) >= first) length--;
      for (const [i, column] of columns.entries()) {
        column.length = length;
        column.push(row[i] ?? Number.NaN);
      }
      const limit = Math.min(most, Math.floor(MAX_CELLS / columns.length));
      if (++length < limit) return;
      const kept = decimate({ columns, length }, limit >> 1);
      columns = columns.map((column) => kept.map((at) => column[at] ?? 0));
    },
    view: (): Columns => ({ columns, length: columns[0]?.length ?? 0 }),
  };
}

/** Metrics of a run beyond which others are left out, and characters of a name: anybody may have written them. */
const [MAX_METRICS, MAX_NAME] = [48, 100];

/** Columns under these names, and behind them those of metrics as they come. */
function namedColumns(usual: readonly string[]) {
  const names = [...usual];
  const columns = growingColumns(usual.length);
  const learn = (name: string): void => {
    const isUsable = name.length <= MAX_NAME && names.length < usual.length + MAX_METRICS;
    if (isUsable && !names.includes(name)) names.push(name);
  };
  return {
    names: (): readonly string[] => names,
    view: columns.view,
    add: (row: readonly number[], metrics: Measurement["metrics"] = {}): void => {
      for (const name of Object.keys(metrics)) learn(name);
      columns.add([...row, ...names.slice(usual.length).map((name) => metrics[name] ?? Number.NaN)]);
    },
  };
}

export function createSeries() {
  const training = namedColumns(["step", "loss", "learning_rate", "gradient_norm", "tokens_per_second"]);
  const validation = namedColumns(["step", "loss"]);
  return {
    add: (measurement: Measurement): void => {
      const { step, loss, metrics } = measurement;
      if (measurement.type === "evaluation") validation.add([step, loss], metrics);
      else {
        const { learningRate, gradientNorm, tokens, seconds } = measurement;
        const tokensPerSecond = seconds > 0 ? tokens / seconds : Number.NaN;
        training.add([step, loss, learningRate, gradientNorm, tokensPerSecond], metrics);
      }
    },
    training,
    validation,
  };
}

/** Columns by their names, as `shownColumns` gives them. */
export function namedRows(
  { view, names }: ReturnType<typeof createSeries>["training"],
  part: ShownPart,
): Readonly<Record<string, (number | null)[]>> {
  const columns = shownColumns(view(), part);
  return Object.fromEntries(names().map((name, i) => [name, [...(columns[i] ?? [])]]));
}

/** Steps, and rows of them at most. */
export interface ShownPart {
  readonly fromStep: number;
  readonly toStep?: number;
  readonly points: number;
}

/** The columns of some steps, as JSON has them. */
export function shownColumns(
  all: Columns,
  { fromStep, toStep = Number.POSITIVE_INFINITY, points }: ShownPart,
): readonly (readonly (number | null)[])[] {
  const begin = firstAt(all, fromStep);
  const length = Math.max(0, firstAt(all, toStep + 1) - begin);
  const part = { columns: all.columns.map((column) => column.slice(begin)), length };
  const rows = decimate(part, points);
  return part.columns.map((column, i) =>
    rows.map((row) => {
      const value = column[row] ?? Number.NaN;
      if (i === 0) return value;
      return Number.isNaN(value) ? null : rounded(value);
    }),
  );
}

/** The first row whose step is not below another. */
function firstAt({ columns: [steps], length }: Columns, step: number): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((steps?.[middle] ?? 0) < step) low = middle + 1;
    else high = middle;
  }
  return low;
}
