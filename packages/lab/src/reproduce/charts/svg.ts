// Shared parts of charts: Observable Plot draws, on a document of linkedom's; a heading, and room for words.
import {
  type AxisXOptions,
  axisX,
  frame,
  type Markish,
  type PlotOptions,
  plot,
  text,
} from "@observablehq/plot";
import { DOMParser } from "linkedom";
import { MosError } from "mixture-of-shards";

/** The words above a picture, and below it. */
export interface Heading {
  readonly title?: string;
  readonly subtitle?: string;
  /** Note on the marks and the numbers; each line wraps. */
  readonly note?: string;
}

/** The end of the values that is the good one. */
export type Better = "lower" | "higher";

export const INK = "#222222";
const PALE = "#555555";
export const PAPER = "#ffffff";
/** Lines behind the data. */
export const GRID = "#dddddd";
/** Blue, and orange where something is emphasised (Okabe and Ito, 2008): distinguishable with any colour vision. */
export const [PLAIN, EMPHASISED] = ["#0072b2", "#d55e00"];
/** The same colours where the reader's system is dark. Paper changes with ink: a page may be of the other kind. */
const AT_NIGHT: Readonly<Record<string, string>> = {
  [INK]: "#e6edf3",
  [PALE]: "#a5adb6",
  [PAPER]: "#0d1117",
  [GRID]: "#30363d",
  [PLAIN]: "#56b4e9",
};
/** Pixels between the picture's edge and its content. */
export const PADDING = 12;
const FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";
const FONT_SIZE = 12;
const TITLE_SIZE = 16;
/** From one line of text to the next, as a share of the font's size. */
export const LEADING = 1.3;
/** A letter's width as a share of the font's size: rather too much, as fonts differ from viewer to viewer. */
const LETTER = 0.6;

/** About how many pixels the longest line of a text takes. */
const textWidth = (words: string, fontSize: number = FONT_SIZE): number =>
  LETTER * fontSize * Math.max(...words.split("\n").map(({ length }) => length));

/** The same of the longest of some texts. */
export const longest = (texts: readonly string[]): number =>
  Math.max(...texts.map((words) => textWidth(words)));

/** Breaks the lines of a text between words into lines of at most `width` pixels. */
export const wrap = (words: string, width: number, fontSize: number = FONT_SIZE): string =>
  words.split(/ +|(?<=\n)/).reduce((lines, word) => {
    const line = `${lines.slice(lines.lastIndexOf("\n") + 1)} ${word}`;
    if (lines.endsWith("\n")) return `${lines}${word}`;
    return `${lines}${textWidth(line, fontSize) > width ? "\n" : " "}${word}`;
  });

/** Pixels that the lines of a text take, one below the other. */
export const textHeight = (words: string, fontSize: number = FONT_SIZE): number =>
  words === "" ? 0 : LEADING * fontSize * words.split("\n").length;

/** Pixels that the axis below a chart takes. */
export const roomBelow = (title: string): number => 2 * PADDING + textHeight(title);

/** That axis: its values, without ticks, and a title. */
export const axisBelow = (title: string, ticks: AxisXOptions = {}): Markish =>
  axisX({
    ...ticks,
    tickSize: 0,
    label: title || null,
    labelAnchor: "center",
    labelArrow: "none",
    labelOffset: roomBelow(title) - 3,
  });

/** A number with a given number of decimals, or in three significant digits; whole from 100 on. */
export function written(value: number, decimals?: number): string {
  if (decimals !== undefined) return value.toFixed(decimals).replace("-", "−");
  const digits = Math.abs(value) < 100 && value !== 0 ? value.toPrecision(3) : String(Math.round(value));
  return digits.replace("-", "−");
}

/** A range that holds all values and is not empty. */
export function valueRange(values: readonly number[]): [low: number, high: number] {
  const [low, high] = values.length === 0 ? [0, 1] : [Math.min(...values), Math.max(...values)];
  return high > low ? [low, high] : [low, low + (Math.abs(low) || 1)];
}

/** Where a bar of this half width around a mean ends, between the least and the largest possible value. */
export function barEnds(
  mean: number,
  half = 0,
  limits: readonly [least: number, largest: number] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
): readonly [low: number, high: number] {
  return [Math.max(limits[0], mean - half), Math.min(limits[1], mean + half)];
}

/** @throws MosError `bad_option`: nothing to draw, a name twice, or a number that is not finite. */
export function check(
  kind: string,
  items: readonly { readonly name: string; readonly values: readonly number[] }[],
) {
  if (items.length === 0) throw new MosError("bad_option", `a chart without ${kind}s: give at least one`);
  const seen = new Set<string>();
  for (const { name, values } of items) {
    const broken = values.find((value) => !Number.isFinite(value));
    if (broken !== undefined)
      throw new MosError(
        "bad_option",
        `${kind} ${name} holds ${broken}, which cannot be drawn: leave it out`,
      );
    if (seen.has(name)) throw new MosError("bad_option", `${kind} ${name} occurs twice`);
    seen.add(name);
  }
}

/** What Plot draws between heading and note. `height` is that of the part inside the axes. */
export interface Drawing extends PlotOptions {
  readonly width: number;
  readonly height: number;
  readonly marginLeft: number;
  readonly marginRight: number;
  readonly marginBottom: number;
  readonly marks: Markish[];
  /** Pixels between the heading and the axes. */
  readonly above?: number;
}

/** Draws on light or dark paper, as the reader's system has it, as a self-contained SVG: the same text for the same options. */
export function draw(
  { title = "", subtitle = "", note = "" }: Heading,
  { above = 0, ...drawing }: Drawing,
): string {
  const { width, height, marginLeft, marginRight } = drawing;
  const room = width - 2 * PADDING;
  const [big, small, last] = [wrap(title, room, TITLE_SIZE), wrap(subtitle, room), wrap(note, room)];
  const below = PADDING + textHeight(big, TITLE_SIZE);
  const marginTop = below + textHeight(small) + (title + subtitle === "" ? 0 : PADDING) + above;
  const marginBottom = drawing.marginBottom + (note === "" ? 0 : textHeight(last) + 1.5 * PADDING);
  const common = {
    document: new DOMParser().parseFromString("<svg/>", "image/svg+xml"),
    className: "plot",
    style: { font: `${FONT_SIZE}px ${FONT}` },
  };
  const words = (lines: string, options: object) =>
    text([lines], { frameAnchor: "top-left", dx: PADDING - marginLeft, lineHeight: LEADING, ...options });
  const edges = { insetLeft: -marginLeft, insetRight: -marginRight, insetTop: -marginTop };
  const svg = plot({
    ...common,
    ...drawing,
    ...(title === "" ? {} : { ariaLabel: title }),
    marginTop,
    marginBottom,
    height: marginTop + height + marginBottom,
    marks: [
      frame({ ...edges, insetBottom: -marginBottom, fill: PAPER, stroke: "none" }),
      words(big, { dy: PADDING - marginTop, fontSize: TITLE_SIZE, fontWeight: "bold" }),
      words(small, { dy: below - marginTop, fill: PALE }),
      words(last, { dy: height + drawing.marginBottom + PADDING / 2, fill: PALE }),
      ...drawing.marks,
    ],
  });
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("role", "img");
  svg.setAttribute("color", INK);
  const style = common.document.createElement("style");
  style.textContent = nightStyle();
  svg.append(style);
  // a group a line, so that a change can be read
  return `${svg.outerHTML.replaceAll("<g", "\n<g")}\n`;
}

/** Styles, which a picture inside `<img>` follows too, have precedence over the attributes that they select. */
function nightStyle(): string {
  const rules = Object.entries(AT_NIGHT).flatMap(([day, night]) =>
    ["fill", "stroke"].map((name) => `.plot [${name}="${day}"]{${name}:${night}}`),
  );
  return `@media (prefers-color-scheme:dark){.plot{color:${AT_NIGHT[INK]}}${rules.join("")}}`;
}
