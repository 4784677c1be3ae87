// What a program printed, as a terminal shows it, in SVG. The frame is dark in light and dark pages alike. Dots of
// Braille are drawn and runs of text are stretched to their columns, so that every font gives the same picture.

const CELL = { width: 8, height: 18 };
const MARGIN = { x: 20, top: 46, bottom: 16 };
const FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const PLAIN = "#d7dce2";

/** What SGR codes do to a style; codes that are not here do nothing. */
const CODES: Readonly<Record<string, Partial<Style>>> = {
  "0": { fill: PLAIN, bold: false },
  "1": { bold: true },
  "2": { fill: "#8b949e" },
  "22": { fill: PLAIN, bold: false },
  "31": { fill: "#ff7b72" },
  "32": { fill: "#7ee787" },
  "33": { fill: "#e3b341" },
  "34": { fill: "#79c0ff" },
  "35": { fill: "#d2a8ff" },
  "36": { fill: "#76e3ea" },
  "39": { fill: PLAIN },
  "90": { fill: "#8b949e" },
};

interface Style {
  readonly fill: string;
  readonly bold: boolean;
}

interface Run extends Style {
  readonly column: number;
  readonly text: string;
}

export const escapeXml = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

const styled = (style: Style, codes: string): Style =>
  Object.assign({ ...style }, ...codes.split(";").map((code) => CODES[code === "" ? "0" : code]));

/** Each character with its style; what follows an escape begins with the codes, such as "1;32m". */
function charactersOf(text: string): readonly (Style & { readonly text: string })[] {
  const [plain = "", ...parts] = text.split("\u001b[");
  let style: Style = { fill: PLAIN, bold: false };
  const characters = [...plain].map((character) => ({ ...style, text: character }));
  for (const part of parts) {
    const end = part.indexOf("m");
    style = styled(style, part.slice(0, end));
    characters.push(...[...part.slice(end + 1)].map((character) => ({ ...style, text: character })));
  }
  return characters;
}

/** Lines as columns allow; a terminal breaks them anywhere. */
function linesOf(text: string, columns: number): readonly (readonly Run[])[] {
  const lines: Run[][] = [[]];
  for (const character of charactersOf(text)) {
    const column = lines.at(-1)?.length ?? 0;
    if (character.text === "\n") lines.push([]);
    else if (column === columns) lines.push([{ ...character, column: 0 }]);
    else lines.at(-1)?.push({ ...character, column });
  }
  return lines.map(joined);
}

const isBraille = (text: string): boolean => /^[\u2800-\u28ff]/.test(text);

/** Neighbours of one style become one run; a gap of two spaces ends it. */
function joined(cells: readonly Run[]): readonly Run[] {
  const runs: Run[] = [];
  for (const cell of cells) {
    const last = runs.at(-1);
    const fits =
      last !== undefined &&
      last.fill === cell.fill &&
      last.bold === cell.bold &&
      isBraille(last.text) === isBraille(cell.text) &&
      !last.text.endsWith("  ") &&
      last.column + last.text.length === cell.column;
    if (fits) runs[runs.length - 1] = { ...last, text: last.text + cell.text };
    else if (cell.text !== " ") runs.push(cell);
  }
  return runs.map((run) => ({ ...run, text: run.text.trimEnd() }));
}

/** The bits of a Braille character's code, by column and row. */
const DOTS = [
  [0, 0, 0x01],
  [0, 1, 0x02],
  [0, 2, 0x04],
  [1, 0, 0x08],
  [1, 1, 0x10],
  [1, 2, 0x20],
  [0, 3, 0x40],
  [1, 3, 0x80],
] as const;

/** One path for a line's dots. */
function dots({ column, text }: Run, top: number): string {
  const parts = [...text].flatMap((character, i) => {
    const code = character.charCodeAt(0) - 0x2800;
    const left = MARGIN.x + (column + i) * CELL.width;
    return DOTS.filter(([, , bit]) => (code & bit) !== 0).map(
      ([x, y]) => `M${left + 2 + 4 * x} ${top + 2.25 + 4.5 * y}h0`,
    );
  });
  return `<path class="dots" d="${parts.join("")}"/>`;
}

function drawn(run: Run, line: number): string {
  const top = MARGIN.top + line * CELL.height;
  if (isBraille(run.text)) return dots(run, top);
  const place = `x="${MARGIN.x + run.column * CELL.width}" y="${top + 13}" textLength="${run.text.length * CELL.width}"`;
  const fill = run.fill === PLAIN ? "" : ` fill="${run.fill}"`;
  return `<text ${place}${fill}${run.bold ? ' font-weight="bold"' : ""}>${escapeXml(run.text)}</text>`;
}

export interface Screen {
  /** What was printed, with SGR codes for colours. */
  readonly text: string;
  readonly columns: number;
  /** For those who do not see the picture. */
  readonly label: string;
}

/** A window with this text in it. */
export function terminalSvg({ text, columns, label }: Screen): string {
  const lines = linesOf(text.trimEnd(), columns);
  const width = 2 * MARGIN.x + columns * CELL.width;
  const height = MARGIN.top + lines.length * CELL.height + MARGIN.bottom;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(label)}">`,
    `<style>text{font:13px ${FONT};white-space:pre}.dots{stroke:#7ee787;stroke-width:3;stroke-linecap:round}</style>`,
    `<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8" fill="#0d1117" stroke="#484f58"/>`,
    ...["#ff5f57", "#febc2e", "#28c840"].map(
      (fill, i) => `<circle cx="${MARGIN.x + 4 + 20 * i}" cy="20" r="6" fill="${fill}"/>`,
    ),
    `<g fill="${PLAIN}">`,
    ...lines.flatMap((runs, line) => runs.map((run) => drawn(run, line))),
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}
