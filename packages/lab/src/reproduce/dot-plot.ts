// Means over seeds as a dot plot. Observable Plot draws, on a document of linkedom's; it leaves no room for words by itself.
import { axisX, dot, frame, gridX, type Markish, plot, ruleY, text, tickX } from "@observablehq/plot";
import { DOMParser } from "linkedom";

/** One row: a mean over seeds, its standard deviation, and the values of the seeds. */
export interface DotRow {
  readonly label: string;
  readonly mean: number;
  /** Standard deviation: the error bar extends this far to both sides. */
  readonly deviation: number | undefined;
  /** The values of the seeds, drawn as rings below the mean. */
  readonly points: readonly number[];
  /** Another colour and a bold label. */
  readonly emphasised: boolean;
  /** Details in columns after the label. */
  readonly details: readonly string[];
}

/** Options of a dot plot. */
export interface DotPlotOptions {
  readonly title: string;
  readonly subtitle: string;
  /** Note on the marks and the values; each line wraps. */
  readonly note: string;
  /** At least one, with labels that differ, from top to bottom. */
  readonly rows: readonly DotRow[];
  /** Heads of the columns of details. */
  readonly detailTitles: readonly string[];
  /** Title of the values, with their unit. */
  readonly valueTitle: string;
  /** Written at the axis. */
  readonly better: "lower" | "higher";
  /** The least and the largest possible value: the axis begins at the least, and error bars end at both. */
  readonly limits: readonly [least: number, largest: number] | undefined;
  /** Decimals of the means. */
  readonly decimals: number;
}

const INK = "#222222";
const PALE = "#555555";
const PAPER = "#ffffff";
/** Lines behind the data. */
const GRID = "#dddddd";
/** Blue, and orange where something is emphasised (Okabe and Ito, 2008): distinguishable with any colour vision. */
const [PLAIN, EMPHASISED] = ["#0072b2", "#d55e00"];
/** The same colours where the reader's system is dark. Paper changes with ink: a page may be of the other kind. */
const DARK: Readonly<Record<string, string>> = {
  [INK]: "#e6edf3",
  [PALE]: "#a5adb6",
  [PAPER]: "#0d1117",
  [GRID]: "#30363d",
  [PLAIN]: "#56b4e9",
};

/** Pixels of the whole picture; its height grows with the rows. */
const WIDTH = 800;
/** Pixels between the picture's edge and its content. */
const PADDING = 12;
const FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";
const FONT_SIZE = 12;
const TITLE_SIZE = 16;
/** From one line of text to the next, as a share of the font's size. */
const LEADING = 1.3;
/** A letter's width as a share of the font's size: rather too much, as fonts differ from viewer to viewer. */
const LETTER = 0.6;
/** Pixels of the longest line of a label; longer ones wrap. */
const LABEL_WIDTH = 220;
/** Bold letters are wider. */
const BOLD = 1.05;
/** Pixels of the caps at the ends of an error bar. */
const CAP = 9;
/** Pixels from a row's middle up to its mean and error bar, and down to its rings. */
const [UP, DOWN] = [-4, 8];
/** Pixels between the heads of columns and the axes. */
const GAP = 4;

/** About how many pixels the longest line of some texts takes. */
const textWidth = (texts: readonly string[], fontSize: number = FONT_SIZE): number =>
  LETTER * fontSize * Math.max(...texts.flatMap((words) => words.split("\n")).map(({ length }) => length));

/** Pixels that the lines of a text take, one below the other. */
const textHeight = (words: string, fontSize: number = FONT_SIZE): number =>
  LEADING * fontSize * words.split("\n").length;

const tallest = (texts: readonly string[]): number => Math.max(...texts.map((words) => textHeight(words)));

/** Breaks the lines of a text between words into lines of at most `width` pixels. */
const wrap = (words: string, width: number, fontSize: number = FONT_SIZE): string =>
  words.split(/ +|(?<=\n)/).reduce((lines, word) => {
    const line = `${lines.slice(lines.lastIndexOf("\n") + 1)} ${word}`;
    if (lines.endsWith("\n")) return `${lines}${word}`;
    return `${lines}${textWidth([line], fontSize) > width ? "\n" : " "}${word}`;
  });

/** A range that holds all values and is not empty. */
function valueRange(values: readonly number[]): [low: number, high: number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return high > low ? [low, high] : [low, low + (Math.abs(low) || 1)];
}

/** Ends of a row's error bar, between the least and the largest possible value; at its mean if it has none. */
function errorBar(
  { mean, deviation = 0 }: DotRow,
  [least, largest]: readonly [number, number] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
): readonly [low: number, high: number] {
  return [Math.max(least, mean - deviation), Math.min(largest, mean + deviation)];
}

const rowLabel = ({ label }: DotRow): string => label;

/** A column of texts beside the plot, with its head above. */
interface TextColumn {
  readonly title: string;
  readonly cell: (row: DotRow, index: number) => string;
  readonly frameAnchor: "left" | "right";
  /** Pixels from the anchor to the end of its texts. */
  readonly dx: number;
}

/**
 * Draws means with their error bars (standard deviation) and the values of the seeds, a row each. The means in numbers
 * have a column of their own: beside a ring a number would read as the ring's value.
 *
 * @returns self-contained SVG on light or dark paper, as the reader's system has it; the same text for the same options.
 */
export function dotPlot(options: DotPlotOptions): string {
  const { rows, detailTitles, valueTitle, better, limits, decimals } = options;
  const labels = new Map(rows.map(({ label }) => [label, wrap(label, LABEL_WIDTH)]));
  const step = PADDING + tallest([...labels.values()]);
  const widths = detailTitles.map(
    (title, i) => 2 * PADDING + textWidth([title, ...rows.map(({ details }) => details[i] ?? "")]),
  );
  const means = rows.map(({ mean }) => mean.toFixed(decimals).replace("-", "−"));
  const meansWidth = textWidth(["mean", ...means]);
  const marginLeft =
    3 * PADDING + BOLD * textWidth([...labels.values()]) + widths.reduce((sum, width) => sum + width, 0);
  const columns: readonly TextColumn[] = [
    ...detailTitles.map((title, i) => ({
      title,
      cell: ({ details }: DotRow) => details[i] ?? "",
      frameAnchor: "left" as const,
      dx: -widths.slice(i + 1).reduce((sum, width) => sum + width, 2 * PADDING),
    })),
    {
      title: "mean",
      cell: (_, index) => means[index] ?? "",
      frameAnchor: "right",
      dx: PADDING + meansWidth,
    },
  ];
  const values = rows.flatMap((row) => [row.mean, ...row.points, ...errorBar(row, limits)]);
  const axis = `${valueTitle}; ${better} is better`;
  const marginAxis = 2 * PADDING + textHeight(axis);
  return draw(options, {
    height: step * rows.length,
    above: tallest(columns.map(({ title }) => title)) + GAP,
    marginLeft,
    marginRight: 2 * PADDING + meansWidth,
    marginAxis,
    x: { domain: valueRange([...values, ...(limits?.slice(0, 1) ?? [])]), nice: 6 },
    y: { type: "band", domain: rows.map(rowLabel), padding: 0, axis: null },
    marks: [
      gridX({ stroke: GRID, strokeOpacity: 1 }),
      axisX({
        tickSize: 0,
        label: axis,
        labelAnchor: "center",
        labelArrow: "none",
        labelOffset: marginAxis - 3,
      }),
      ...[false, true].map((bold) =>
        text(
          rows.filter(({ emphasised }) => emphasised === bold),
          {
            y: rowLabel,
            text: ({ label }: DotRow) => labels.get(label),
            lineHeight: LEADING,
            frameAnchor: "left",
            textAnchor: "start",
            dx: PADDING - marginLeft,
            fontWeight: bold ? "bold" : "normal",
          },
        ),
      ),
      ...columns.flatMap((column) => textColumn(rows, column)),
      ...plotMarks(options, step),
    ],
  });
}

function textColumn(
  rows: readonly DotRow[],
  { title, cell, frameAnchor, dx }: TextColumn,
): readonly Markish[] {
  const aligned = { textAnchor: "end", dx, lineHeight: LEADING } as const;
  return [
    text(rows, { ...aligned, y: rowLabel, text: cell, frameAnchor }),
    text([title], { ...aligned, frameAnchor: `top-${frameAnchor}`, lineAnchor: "bottom", dy: -GAP }),
  ];
}

/** Means, error bars and rings; each row has `step` pixels. */
function plotMarks({ rows, limits }: DotPlotOptions, step: number): readonly Markish[] {
  const y = rowLabel;
  const fill = ({ emphasised }: DotRow) => (emphasised ? EMPHASISED : PLAIN);
  const line = { y, stroke: INK, strokeWidth: 1.5 };
  const caps = { ...line, insetTop: (step - CAP) / 2, insetBottom: (step - CAP) / 2, dy: UP };
  const deviating = rows.filter(({ deviation = 0 }) => deviation > 0);
  const rings = rows.flatMap(({ label, points }) => points.map((point) => ({ label, point })));
  return [
    ruleY(deviating, {
      ...line,
      dy: UP,
      x1: (row: DotRow) => errorBar(row, limits)[0],
      x2: (row: DotRow) => errorBar(row, limits)[1],
    }),
    // no cap where a bar is cut
    ...([-1, 1] as const).map((side) => {
      const end = ({ mean, deviation = 0 }: DotRow): number => mean + side * deviation;
      const isWhole = (row: DotRow): boolean => errorBar(row, limits).includes(end(row));
      return tickX(deviating.filter(isWhole), { ...caps, x: end });
    }),
    dot(rows, { x: "mean", y, fill, r: 5, dy: UP }),
    dot(rings, {
      x: "point",
      y: "label",
      r: 3,
      stroke: INK,
      strokeWidth: 1,
      fill: INK,
      fillOpacity: 0.15,
      dy: DOWN,
    }),
  ];
}

/** The part that Plot draws between heading and note. */
interface Drawing {
  /** Pixels inside the axes. */
  readonly height: number;
  /** Pixels between the heading and the axes. */
  readonly above: number;
  readonly marginLeft: number;
  readonly marginRight: number;
  /** Pixels of the axis below. */
  readonly marginAxis: number;
  readonly x: object;
  readonly y: object;
  readonly marks: readonly Markish[];
}

function draw(
  { title, subtitle, note }: DotPlotOptions,
  { height, above, marginLeft, marginRight, marginAxis, x, y, marks }: Drawing,
): string {
  const room = WIDTH - 2 * PADDING;
  const [big, small, last] = [wrap(title, room, TITLE_SIZE), wrap(subtitle, room), wrap(note, room)];
  const below = PADDING + textHeight(big, TITLE_SIZE);
  const marginTop = below + textHeight(small) + PADDING + above;
  const marginBottom = marginAxis + textHeight(last) + 1.5 * PADDING;
  const document = new DOMParser().parseFromString("<svg/>", "image/svg+xml");
  const words = (lines: string, options: object) =>
    text([lines], { frameAnchor: "top-left", dx: PADDING - marginLeft, lineHeight: LEADING, ...options });
  const edges = { insetLeft: -marginLeft, insetRight: -marginRight, insetTop: -marginTop };
  const svg = plot({
    document,
    className: "plot",
    style: { font: `${FONT_SIZE}px ${FONT}` },
    width: WIDTH,
    ariaLabel: title,
    marginLeft,
    marginRight,
    marginTop,
    marginBottom,
    height: marginTop + height + marginBottom,
    x,
    y,
    marks: [
      frame({ ...edges, insetBottom: -marginBottom, fill: PAPER, stroke: "none" }),
      words(big, { dy: PADDING - marginTop, fontSize: TITLE_SIZE, fontWeight: "bold" }),
      words(small, { dy: below - marginTop, fill: PALE }),
      words(last, { dy: height + marginAxis + PADDING / 2, fill: PALE }),
      ...marks,
    ],
  });
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("role", "img");
  svg.setAttribute("color", INK);
  const style = document.createElement("style");
  style.textContent = darkStyle();
  svg.append(style);
  // a group a line, so that a change can be read
  return `${svg.outerHTML.replaceAll("<g", "\n<g")}\n`;
}

/** Styles, which a picture inside `<img>` follows too, have precedence over the attributes that they select. */
function darkStyle(): string {
  const rules = Object.entries(DARK).flatMap(([light, dark]) =>
    ["fill", "stroke"].map((name) => `.plot [${name}="${light}"]{${name}:${dark}}`),
  );
  return `@media (prefers-color-scheme:dark){.plot{color:${DARK[INK]}}${rules.join("")}}`;
}
