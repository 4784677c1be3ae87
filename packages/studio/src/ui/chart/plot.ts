// A chart without its surroundings: the plotting library with this page's colours, scales, zoom and crosshair.
import uPlot from "uplot";
import { type Aligned, align, nearestRow, type Points, valuesNear } from "./align.ts";
import { readTheme, type Theme, watchTheme } from "./chart-colours.ts";
import { attachGestures, isWhole, type Range } from "./range.ts";
import { tickText } from "./ticks.ts";

/** One line, or single points. */
export interface Series extends Points {
  readonly label: string;
  /** Default: a line. */
  readonly kind?: "line" | "points";
  /** Drawn pale, behind a line that sums it up. */
  readonly faint?: boolean;
  /** Number of its colour. Default: its place among the series. */
  readonly colour?: number;
}

/** What a plot is made with; `update` changes the rest. */
export interface PlotSettings {
  readonly series: readonly Series[];
  readonly height: number;
  readonly isLog: boolean;
  /** Labels of series that are not drawn at first. */
  readonly hidden: ReadonlySet<string>;
  /** Charts of one name share crosshair and zoom. */
  readonly group: string | undefined;
  readonly onCursor: (cursor: CursorValues | undefined) => void;
  /** Told the part of x that is shown; undefined for all of it. */
  readonly onZoom: (shown: Range | undefined) => void;
}

/** Values at the crosshair, which has one x in all charts of a group: of each series the nearest one, where one is near. */
export interface CursorValues {
  readonly x: number;
  readonly values: readonly (number | null)[];
}

/** A drawn chart. */
export interface Plot {
  readonly update: (series: readonly Series[]) => void;
  /** Shows a part of the x axis, or with undefined all of it, in all charts of the group at the next frame. */
  readonly show: (range: Range | undefined) => void;
  readonly toggle: (index: number, isShown: boolean) => void;
  /** Moves the crosshair to the next points of this chart, or to an end. */
  readonly step: (by: number) => void;
  readonly shown: () => Range;
  readonly bounds: () => Range;
  readonly destroy: () => void;
}

/** What charts of a group do together. */
interface Member extends Pick<Plot, "show"> {
  /** Moves the crosshair to an x, or away. */
  readonly point: (x: number | undefined) => void;
}

const groups = new Map<string, Set<Member>>();

/** Adds a chart to its group. What it gives acts on all of them, and leaves the group. */
function join(group: string | undefined, member: Member): Member & { readonly leave: () => void } {
  if (group === undefined) return { ...member, leave: () => {} };
  const members = groups.get(group) ?? new Set();
  groups.set(group, members.add(member));
  return {
    show: (range) => {
      for (const { show } of members) show(range);
    },
    point: (x) => {
      for (const { point } of members) point(x);
    },
    leave: () => {
      members.delete(member);
      if (members.size === 0) groups.delete(group);
    },
  };
}

/** Space for the numbers of the y axis: the same in all charts, so that their x axes lie below each other. */
const AXIS_WIDTH = 58;

/** Pixels from the crosshair within which a series shows its nearest point. */
const NEAR = 24;

/** Draws a chart into an element, as wide as that is and whenever its width or the theme changes. */
export function createPlot(host: HTMLElement, settings: PlotSettings): Plot {
  const { group, height, onCursor, onZoom } = settings;
  let theme = readTheme(host);
  let range: Range | undefined;
  let frame = 0;
  let at: number | undefined;
  let drawn = settings.series;
  let data = align(drawn);
  const plot = new uPlot(
    { width: host.clientWidth, height, ...staticOptions(settings, () => theme) },
    undefined,
    host,
  );
  const bounds = (): Range => wholeRange(data[0]);
  const shown = (): Range => range ?? bounds();
  const placeCursor = (): void => onCursor(placeCrosshair(plot, { x: at, data }));
  const draw = (): void => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => {
      drawData(plot, data, shown());
      if (at !== undefined) placeCursor();
    });
  };
  const { show, point, leave } = join(group, {
    show: (next) => {
      range = next === undefined || isWhole(next, bounds()) ? undefined : next;
      onZoom(range);
      draw();
    },
    point: (x) => {
      at = x;
      placeCursor();
    },
  });
  plot.hooks.setSelect = [() => show(takeSelection(plot))];
  draw();
  const stops = [
    () => cancelAnimationFrame(frame),
    leave,
    attachGestures(plot, { shown, bounds, show }),
    watchPointer(plot, { steps: () => data[0], point }),
    watchWidth(host, (width) => {
      plot.setSize({ width, height });
    }),
    watchTheme(() => {
      theme = readTheme(host);
      plot.redraw(false, true);
    }),
    () => plot.destroy(),
  ];
  return {
    shown,
    bounds,
    show,
    update: (series) => {
      if (series === drawn) return;
      drawn = series;
      data = align(series);
      draw();
    },
    toggle: (index, isShown) => plot.setSeries(index + 1, { show: isShown }),
    step: (by) => point(stepFrom(data[0], { ...shown(), at, by })),
    destroy: () => {
      for (const stop of stops) stop();
    },
  };
}

/** Draws a part of the x axis. */
function drawData(plot: uPlot, data: Aligned, { min, max }: Range): void {
  plot.batch(() => {
    if (data !== plot.data) plot.setData(data, false);
    plot.setScale("x", { min, max });
  });
}

/**
 * Moves the crosshair to the x nearest to the pointer, of those that `steps` gives, and away once that has left. The library has
 * seen the event before.
 */
function watchPointer(
  plot: uPlot,
  { steps, point }: Pick<Member, "point"> & { readonly steps: () => readonly number[] },
): () => void {
  const { over } = plot;
  const look = (): void => {
    const { left = -1 } = plot.cursor;
    point(left < 0 ? undefined : steps()[nearestRow(steps(), plot.posToVal(left, "x"))]);
  };
  const ended = new AbortController();
  for (const type of ["mousemove", "mouseleave"]) over.addEventListener(type, look, ended);
  return () => ended.abort();
}

/** Draws the crosshair at an x, and gives the values there; without one, it is not drawn. */
function placeCrosshair(
  plot: uPlot,
  { x, data }: { readonly x: number | undefined; readonly data: Aligned },
): CursorValues | undefined {
  const { clientWidth, clientHeight } = plot.over;
  if (x === undefined) {
    plot.setCursor({ left: -10, top: -10 }, false);
    return undefined;
  }
  const left = Math.min(clientWidth - 0.01, Math.max(0, plot.valToPos(x, "x")));
  plot.setCursor({ left, top: clientHeight / 2 }, false);
  const near = plot.posToVal(NEAR, "x") - plot.posToVal(0, "x");
  return { x, values: valuesNear(data, x, near) };
}

function watchWidth(host: HTMLElement, changed: (width: number) => void): () => void {
  let width = host.clientWidth;
  const observer = new ResizeObserver(() => {
    if (host.clientWidth === width || host.clientWidth === 0) return;
    width = host.clientWidth;
    changed(width);
  });
  observer.observe(host);
  return () => observer.disconnect();
}

/** From the first x to the last; a width of its own where there is one point. */
function wholeRange(x: ArrayLike<number> | undefined): Range {
  if (!x?.length) return { min: 0, max: 100 };
  const min = x[0] ?? 0;
  const max = x[x.length - 1] ?? 0;
  return max > min ? { min, max } : { min: min - 0.5, max: min + 0.5 };
}

type Look = () => Theme;

function staticOptions(
  { series, isLog, hidden }: PlotSettings,
  look: Look,
): Pick<uPlot.Options, "series" | "scales" | "axes" | "cursor" | "legend" | "padding"> {
  const axis = {
    stroke: () => look().text,
    font: look().font,
    ticks: { show: false },
    grid: { stroke: () => look().line, width: 1 },
    values: (_: uPlot, splits: number[]) => splits.map((value) => (value === null ? "" : tickText(value))),
  };
  return {
    legend: { show: false },
    padding: [8, 20, 0, 0], // half of the last label
    scales: {
      x: { time: false, range: (_, min, max) => [min, max] },
      y: { distr: isLog ? 3 : 1, range: isLog ? logRange : linearRange },
    },
    axes: [
      { ...axis, size: 28, gap: 6, grid: { show: false } },
      { ...axis, size: AXIS_WIDTH, gap: 6, space: 36 },
    ],
    series: [
      {},
      ...series.map((one, index) => ({ show: !hidden.has(one.label), ...seriesOptions(one, index, look) })),
    ],
    cursor: {
      y: false,
      drag: { x: true, y: false, setScale: false, dist: 4 },
      hover: { prox: NEAR, skip: [null, undefined] },
      points: { size: 7, width: 2 },
      bind: { dblclick: () => () => null },
    },
  };
}

function seriesOptions(
  { kind = "line", faint = false, colour }: Series,
  index: number,
  look: Look,
): uPlot.Series {
  const stroke = () => look().series(colour ?? index, faint);
  if (kind === "points") {
    return {
      stroke,
      paths: () => null,
      points: { show: true, size: 7, width: 1.5, stroke, fill: stroke },
    };
  }
  // with few values so far they are seen as points, as a line of one point is not
  return {
    stroke,
    width: faint ? 1 : 1.75,
    pxAlign: false,
    points: { size: 4, space: 28, stroke, fill: stroke },
  };
}

function linearRange(_: uPlot, min: number | null, max: number | null): uPlot.Range.MinMax {
  if (min === null || max === null) return [0, 1];
  const spare = (max - min || Math.abs(max) || 1) * 0.06;
  // a quantity that is never negative has no axis that is
  return [min >= 0 ? Math.max(0, min - spare) : min - spare, max + spare];
}

function logRange(_: uPlot, min: number | null, max: number | null): uPlot.Range.MinMax {
  if (min === null || max === null || max <= 0) return [0.1, 10];
  const least = min > 0 ? min : max / 1e4;
  return [least / 1.15, max * 1.15];
}

/** The part of the x axis that was marked by dragging. */
function takeSelection(plot: uPlot): Range | undefined {
  const { left, width } = plot.select;
  const range = { min: plot.posToVal(left, "x"), max: plot.posToVal(left + width, "x") };
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  return range;
}

interface Step extends Range {
  /** Where the crosshair is. */
  readonly at: number | undefined;
  readonly by: number;
}

/** The x some points further within the shown part; from an end where there is no crosshair yet. */
function stepFrom(x: readonly number[], { min, max, at, by }: Step): number | undefined {
  const [first, last] = [nearestRow(x, min), nearestRow(x, max)];
  const from = at === undefined ? (by < 0 ? last + 1 : first - 1) : nearestRow(x, at);
  return x[Math.min(last, Math.max(first, from + by))];
}
