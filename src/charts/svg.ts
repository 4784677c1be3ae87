// What the pictures share: SVG as text, colours, an estimate of how wide a text is, ticks, and a heading.

/** Blue bars, orange where something is emphasised (Okabe and Ito, 2008): distinguishable with any colour vision. */
export const PLAIN = "#7f9fbf";
export const EMPHASISED = "#d55e00";
export const INK = "#222222";
export const PALE = "#555555";
export const GRID = "#dddddd";

/** Pixels between the picture's edge and its content. */
export const PADDING = 12;
/** Pixels of labels and numbers. */
export const FONT_SIZE = 12;
const FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

type Attributes = Readonly<Record<string, string | number>>;

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** Two decimals are enough for pixels, and keep the text short. */
const shown = (value: string | number): string =>
  typeof value === "number" ? String(Math.round(value * 100) / 100) : escaped(value);

/** One element. `content` is SVG, not text. */
export function element(name: string, attributes: Attributes, content = ""): string {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}="${shown(value)}"`);
  return content === ""
    ? `<${name}${written.join("")}/>`
    : `<${name}${written.join("")}>${content}</${name}>`;
}

/** From the middle of a line of text to its baseline, as a share of the font's size; few viewers know a middle. */
const BASELINE = 0.36;

/** A line of text whose middle is at `y`. */
export const label = (
  text: string,
  { y, ...attributes }: Attributes & { readonly y: number; readonly "font-size"?: number },
): string =>
  element("text", { ...attributes, y: y + BASELINE * (attributes["font-size"] ?? FONT_SIZE) }, escaped(text));

/** The whole picture on white. */
export const picture = (
  { width, height }: { readonly width: number; readonly height: number },
  content: readonly string[],
): string =>
  element(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      width,
      height,
      viewBox: `0 0 ${shown(width)} ${shown(height)}`,
      "font-family": FONT,
      "font-size": FONT_SIZE,
      fill: INK,
    },
    [element("rect", { width, height, fill: "#ffffff" }), ...content].join("\n"),
  );

/** Shares of the font's size; DejaVu Sans is the widest of the fonts, so texts of the others are narrower. */
function widthOfCharacter(character: string): number {
  if (/[ijlI.,:;|'!()[\] ]/.test(character)) return 0.4;
  if (/[mwMW@%]/.test(character)) return 0.98;
  return /[A-Z]/.test(character) ? 0.72 : 0.64;
}

/** About how many pixels a text takes, rather too many than too few. */
export const widthOf = (text: string, fontSize: number = FONT_SIZE): number =>
  fontSize * [...text].reduce((sum, character) => sum + widthOfCharacter(character), 0);

/** Breaks a text into lines of at most so many pixels, between words. */
export function wrap(
  text: string,
  { width, fontSize = FONT_SIZE }: { readonly width: number; readonly fontSize?: number },
): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length === 0 || widthOf(longer, fontSize) > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

/** The words above a picture. */
export interface Heading {
  readonly title?: string;
  readonly subtitle?: string;
}

/** The heading and the pixels below which the content begins. */
export function heading(
  { title, subtitle }: Heading,
  width: number,
): { readonly content: readonly string[]; readonly bottom: number } {
  const room = width - 2 * PADDING;
  const content: string[] = [];
  let bottom = PADDING;
  const add = (text: string | undefined, fontSize: number, attributes: Attributes): void => {
    for (const line of text === undefined ? [] : wrap(text, { width: room, fontSize })) {
      const height = 1.4 * fontSize;
      content.push(label(line, { x: PADDING, y: bottom + height / 2, "font-size": fontSize, ...attributes }));
      bottom += height;
    }
  };
  add(title, 16, { "font-weight": "bold" });
  add(subtitle, FONT_SIZE, { fill: PALE });
  return { content, bottom: content.length === 0 ? bottom : bottom + PADDING };
}

/** A number in three significant digits, or with so many decimals. */
export const written = (value: number, decimals?: number): string =>
  decimals === undefined ? String(Number(value.toPrecision(3))) : value.toFixed(decimals);

/** About `count` round numbers that span the range: the first is at most `low`, the last at least `high`. */
export function ticksOf(low: number, high: number, count: number): readonly number[] {
  const rough = (high - low || Math.abs(high) || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  const [from, to] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)];
  return Array.from({ length: Math.max(to, from + 1) - from + 1 }, (_, i) => (from + i) * step);
}

/** Decimals that distinguish ticks from each other. */
export const decimalsOf = ([first = 0, second = 1]: readonly number[]): number =>
  Math.max(0, -Math.floor(Math.log10(second - first) + 1e-9));
