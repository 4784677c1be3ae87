// Means over seeds as a dot plot, in SVG.

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

/** Text of an element or attribute. */
const escapeXml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** An SVG element on a line of its own, so that a change can be read. */
function element(name: string, attributes: Readonly<Record<string, string | number>>, content = ""): string {
  const written = Object.entries(attributes).map(
    ([key, value]) => ` ${key}="${typeof value === "number" ? Number(value.toFixed(2)) : escapeXml(value)}"`,
  );
  return `<${name}${written.join("")}${content === "" ? "/>" : `>${content}</${name}>`}\n`;
}

/** Lines of text; `y` is the top of the first. */
function textLines(
  { words, x, y }: { readonly words: string; readonly x: number; readonly y: number },
  { anchor = "start", fontSize = FONT_SIZE, bold = false, fill = INK } = {},
): string {
  const style = {
    "text-anchor": anchor,
    "font-size": fontSize,
    "font-weight": bold ? "bold" : "normal",
    fill,
  };
  return words
    .split("\n")
    .map((line, i) => element("text", { x, y: y + (i * LEADING + 1) * fontSize, ...style }, escapeXml(line)))
    .join("");
}

const line = (name: string, x: readonly [number, number], y: readonly [number, number]): string =>
  element("line", { class: name, x1: x[0], x2: x[1], y1: y[0], y2: y[1] });

/** Round values that cover a range: about six steps of 1, 2 or 5 times a power of ten. */
function roundTicks(values: readonly number[]) {
  const low = Math.min(...values);
  const high = Math.max(...values) > low ? Math.max(...values) : low + (Math.abs(low) || 1);
  const power = Math.floor(Math.log10((high - low) / 6));
  const excess = (high - low) / 6 / 10 ** power;
  // nearest by ratio: the bounds are the geometric means of 1, 2, 5 and 10
  const factor = [1, 2, 5, 10].find((each, i, all) => excess < Math.sqrt(each * (all[i + 1] ?? 100))) ?? 10;
  const step = factor * 10 ** power;
  const [first, last] = [Math.floor(low / step), Math.ceil(high / step)];
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  return { ticks, decimals: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

/** A minus sign as wide as a plus sign. */
const formatNumber = (value: number, decimals: number): string => value.toFixed(decimals).replace("-", "−");

/** Ends of a row's error bar, between the least and the largest possible value; at its mean if it has none. */
function errorBar(
  { mean, deviation = 0 }: DotRow,
  [least, largest]: readonly [number, number] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
): readonly [low: number, high: number] {
  return [Math.max(least, mean - deviation), Math.min(largest, mean + deviation)];
}

/** Pixels of the area that holds the marks, from one row to the next, and where the texts of each column beside it end. */
function layOut({ rows, detailTitles, decimals }: DotPlotOptions, headingHeight: number) {
  const labels = rows.map(({ label }) => wrap(label, LABEL_WIDTH));
  const means = rows.map(({ mean }) => formatNumber(mean, decimals));
  const right = WIDTH - 3 * PADDING - textWidth(["mean", ...means]);
  let end = PADDING + BOLD * textWidth(labels);
  const details = detailTitles.map((title, i) => {
    const cells = rows.map((row) => row.details[i] ?? "");
    end += 2 * PADDING + textWidth([title, ...cells]);
    return { title, cells, end };
  });
  const columns = [...details, { title: "mean", cells: means, end: WIDTH - PADDING }];
  const top = headingHeight + PADDING + tallest(columns.map(({ title }) => title)) + GAP;
  return { left: end + 2 * PADDING, right, top, step: PADDING + tallest(labels), labels, columns };
}

/**
 * Draws means with their error bars (standard deviation) and the values of the seeds, a row each. The means in numbers
 * have a column of their own: beside a ring a number would read as the ring's value.
 *
 * @returns self-contained SVG on light or dark paper, as the reader's system has it; the same text for the same options.
 */
export function dotPlot(options: DotPlotOptions): string {
  const { rows, valueTitle, better, limits } = options;
  const room = WIDTH - 2 * PADDING;
  const [title, subtitle, note] = [
    wrap(options.title, room, TITLE_SIZE),
    wrap(options.subtitle, room),
    wrap(options.note, room),
  ];
  const below = PADDING + textHeight(title, TITLE_SIZE);
  const layout = layOut(options, below + textHeight(subtitle));
  const { left, right, top, step, labels, columns } = layout;
  const bottom = top + step * rows.length;
  const middle = (words: string, i: number): number => top + step * (i + 0.5) - textHeight(words) / 2;

  const values = rows.flatMap((row) => [row.mean, ...row.points, ...errorBar(row, limits)]);
  const { ticks, decimals } = roundTicks([...values, ...(limits?.slice(0, 1) ?? [])]);
  const [first = 0, last = 1] = [ticks[0], ticks.at(-1)];
  const toX = (value: number): number => left + ((value - first) / (last - first)) * (right - left);

  const axis = `${valueTitle}; ${better} is better`;
  const axisTop = bottom + GAP + textHeight("0");
  const noteTop = axisTop + textHeight(axis) + PADDING;
  const height = noteTop + textHeight(note) + PADDING;
  const content = [
    element("rect", { x: 0, y: 0, width: WIDTH, height, fill: PAPER }),
    textLines({ words: title, x: PADDING, y: PADDING }, { fontSize: TITLE_SIZE, bold: true }),
    textLines({ words: subtitle, x: PADDING, y: below }, { fill: PALE }),
    ...columns.map(({ title: words, end }) =>
      textLines({ words, x: end, y: top - GAP - textHeight(words) }, { anchor: "end" }),
    ),
    ...ticks.map((tick) => line("grid", [toX(tick), toX(tick)], [top, bottom])),
    ...rows.flatMap((row, i) => [
      textLines(
        { words: labels[i] ?? "", x: PADDING, y: middle(labels[i] ?? "", i) },
        { bold: row.emphasised },
      ),
      ...columns.map(({ cells, end }) =>
        textLines({ words: cells[i] ?? "", x: end, y: middle("0", i) }, { anchor: "end" }),
      ),
      drawRow(row, { toX, y: top + step * (i + 0.5), limits }),
    ]),
    ...ticks.map((tick) =>
      textLines({ words: formatNumber(tick, decimals), x: toX(tick), y: bottom + GAP }, { anchor: "middle" }),
    ),
    textLines({ words: axis, x: (left + right) / 2, y: axisTop }, { anchor: "middle" }),
    textLines({ words: note, x: PADDING, y: noteTop }, { fill: PALE }),
    element("style", {}, STYLE),
  ];
  const root = {
    xmlns: "http://www.w3.org/2000/svg",
    class: "plot",
    role: "img",
    "aria-label": options.title,
    width: WIDTH,
    height,
    viewBox: `0 0 ${WIDTH} ${Math.ceil(height)}`,
    "font-family": FONT,
  };
  return element("svg", root, `\n${content.join("")}`);
}

/** Mean, error bar and rings; `y` is the middle of the row. */
function drawRow(
  row: DotRow,
  {
    toX,
    y,
    limits,
  }: { readonly toX: (value: number) => number; readonly y: number } & Pick<DotPlotOptions, "limits">,
): string {
  const { mean, deviation = 0, points, emphasised } = row;
  const bar = errorBar(row, limits);
  const up = y + UP;
  // no cap where a bar is cut
  const caps = bar.filter((end) => end === mean - deviation || end === mean + deviation);
  return [
    ...(deviation > 0 ? [line("bar", [toX(bar[0]), toX(bar[1])], [up, up])] : []),
    ...(deviation > 0
      ? caps.map((end) => line("cap", [toX(end), toX(end)], [up - CAP / 2, up + CAP / 2]))
      : []),
    element("circle", { cx: toX(mean), cy: up, r: 5, fill: emphasised ? EMPHASISED : PLAIN }),
    ...points.map((point) =>
      element("circle", { class: "ring", cx: toX(point), cy: y + DOWN, r: 3, fill: INK }),
    ),
  ].join("");
}

/** Styles, which a picture inside `<img>` follows too, have precedence over the attributes that they select. */
const STYLE = [
  `.grid{stroke:${GRID}}.bar,.cap{stroke:${INK};stroke-width:1.5}.ring{stroke:${INK};fill-opacity:.15}`,
  "@media (prefers-color-scheme:dark){",
  ...Object.entries(DARK).map(([light, dark]) => `.plot [fill="${light}"]{fill:${dark}}`),
  `.grid{stroke:${DARK[GRID]}}.bar,.cap,.ring{stroke:${DARK[INK]}}}`,
].join("");
