// What the charts share: Observable Plot draws, on a document of linkedom's; a heading, and room for words.
import { frame, type Markish, type PlotOptions, plot, text } from "@observablehq/plot";
import { DOMParser } from "linkedom";
import { MosError } from "mixture-of-shards";

/** The words above a picture. */
export interface Heading {
  readonly title?: string;
  readonly subtitle?: string;
}

export const INK = "#222222";
const PALE = "#555555";
/** Pixels between the picture's edge and its content. */
export const PADDING = 12;
const FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";
const FONT_SIZE = 12;
const TITLE_SIZE = 16;
/** From one line of text to the next, as a share of the font's size. */
export const LEADING = 1.3;
/** Pixels from one line of a label to the next. */
export const LINE = LEADING * FONT_SIZE;
/** A letter's width as a share of the font's size: rather too much, as fonts differ from viewer to viewer. */
const LETTER = 0.64;

/** About how many pixels the longest line of a text takes. */
export const widthOf = (words: string, fontSize: number = FONT_SIZE): number =>
  LETTER * fontSize * Math.max(...words.split("\n").map(({ length }) => length));

/** Breaks a text between words into lines of at most `width` pixels. */
export const wrap = (words: string, width: number, fontSize: number = FONT_SIZE): string =>
  words.split(/\s+/).reduce((lines, word) => {
    const line = `${lines.slice(lines.lastIndexOf("\n") + 1)} ${word}`;
    return `${lines}${widthOf(line, fontSize) > width ? "\n" : " "}${word}`;
  });

/** Pixels that the lines of a text take, one below the other. */
export const heightOf = (words: string, fontSize: number = FONT_SIZE): number =>
  words === "" ? 0 : LEADING * fontSize * words.split("\n").length;

/** A number in three significant digits, or with a given number of decimals. */
export const written = (value: number, decimals?: number): string =>
  (decimals === undefined ? String(Number(value.toPrecision(3))) : value.toFixed(decimals)).replace("-", "−");

/** A range that holds all values and is not empty. */
export function rangeOf(values: readonly number[]): [low: number, high: number] {
  const [low, high] = values.length === 0 ? [0, 1] : [Math.min(...values), Math.max(...values)];
  return high > low ? [low, high] : [low, low + (Math.abs(low) || 1)];
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

/** What Plot draws below the heading. `height` is that of the part inside the axes. */
export interface Drawing extends PlotOptions {
  readonly width: number;
  readonly height: number;
  readonly marginLeft: number;
  readonly marginRight: number;
  readonly marginBottom: number;
  readonly marks: Markish[];
  /** Another picture between the heading and the axes, such as a scale of colours. */
  readonly key?: PlotOptions & { readonly height: number; readonly marginLeft: number };
}

/** Draws on white, with a heading, as a self-contained SVG: the same text for the same options. */
export function draw({ title = "", subtitle = "" }: Heading, { key, ...drawing }: Drawing): string {
  const { width, height, marginLeft, marginRight, marginBottom } = drawing;
  const room = width - 2 * PADDING;
  const [big, small] = [wrap(title, room, TITLE_SIZE), wrap(subtitle, room)];
  const below = PADDING + heightOf(big, TITLE_SIZE);
  const headed = below + heightOf(small) + (title + subtitle === "" ? 0 : PADDING);
  const marginTop = headed + (key?.height ?? 0);
  const common = {
    document: new DOMParser().parseFromString("<svg/>", "image/svg+xml"),
    className: "plot",
    style: { font: `${FONT_SIZE}px ${FONT}`, color: INK },
  };
  const heading = (words: string, y: number, options: object) =>
    text([words], {
      ...{ frameAnchor: "top-left", dx: PADDING - marginLeft, dy: y - marginTop, lineHeight: LEADING },
      ...options,
    });
  const edges = { insetLeft: -marginLeft, insetRight: -marginRight, insetTop: -marginTop };
  const svg = plot({
    ...{ ...common, ...drawing, ...(title === "" ? {} : { ariaLabel: title }) },
    ...{ marginTop, height: marginTop + height + marginBottom },
    marks: [
      frame({ ...edges, insetBottom: -marginBottom, fill: "white", stroke: "none" }),
      heading(big, PADDING, { fontSize: TITLE_SIZE, fontWeight: "bold" }),
      heading(small, below, { fill: PALE }),
      ...drawing.marks,
    ],
  });
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  if (key !== undefined) {
    const inner = plot({ ...common, ...key });
    inner.setAttribute("x", String(marginLeft - key.marginLeft));
    inner.setAttribute("y", String(headed));
    svg.append(inner);
  }
  // a group a line, so that a change can be read
  return `${svg.outerHTML.replaceAll("<g", "\n<g")}\n`;
}
