/** One measured loss. */
export interface CurvePoint {
  readonly step: number;
  readonly loss: number;
}

export interface CurveOptions {
  /** Columns of the whole picture, labels included. */
  readonly width?: number;
  /** Lines of the picture, without the line of step numbers below it. */
  readonly height?: number;
  /** For terminals without braille: one `*` per cell in place of 2 × 4 dots. */
  readonly ascii?: boolean;
}

// A cell has `across` × `down` dots; braille numbers its dots by column.
const BRAILLE = { across: 2, down: 4, bits: [0x01, 0x02, 0x04, 0x40, 0x08, 0x10, 0x20, 0x80] } as const;
const ASCII = { across: 1, down: 1, bits: [1] } as const;

/**
 * Draws a loss over steps as text: points that share a column are averaged, gaps are joined by straight lines, and
 * what is not a finite number is left out. The highest and lowest values stand at the left, the steps below.
 *
 * @returns Lines joined by newlines; "" where there is nothing to draw.
 * @example
 * drawCurve(history, { width: 60, height: 8 });
 */
export function drawCurve(
  points: readonly CurvePoint[],
  { width = 60, height = 8, ascii = false }: CurveOptions = {},
): string {
  const finite = points.filter(({ step, loss }) => Number.isFinite(step) && Number.isFinite(loss));
  const ordered = finite.toSorted((a, b) => a.step - b.step);
  const [first, last] = [ordered[0], ordered.at(-1)];
  if (first === undefined || last === undefined) return "";
  const low = ordered.reduce((least, { loss }) => Math.min(least, loss), first.loss);
  const high = ordered.reduce((most, { loss }) => Math.max(most, loss), first.loss);
  const [top, bottom] = [formatLoss(high), formatLoss(low)];
  const margin = Math.max(top.length, bottom.length);
  const cell = ascii ? ASCII : BRAILLE;
  const columns = Math.max(8, width - margin - 2);
  const rows = Math.max(2, height);
  const values = resample(ordered, columns * cell.across);
  const lastDot = rows * cell.down - 1;
  // Dot rows count from the top. A flat curve lies in the middle.
  const dots = values.map((loss) =>
    high > low ? Math.round(((high - loss) / (high - low)) * lastDot) : lastDot >> 1,
  );
  const cells = plot(dots, { columns, rows, cell });
  const axis = ascii ? "|" : "│";
  const lines = cells.map((row, index) => {
    const label = index === 0 ? top : index === rows - 1 ? bottom : "";
    const text = row.map((bits) => glyph(bits, ascii)).join("");
    return `${label.padStart(margin)} ${axis}${text}`.trimEnd();
  });
  const steps = `step ${first.step}`;
  const end = String(last.step);
  const space = Math.max(1, columns - steps.length - end.length);
  return [...lines, `${" ".repeat(margin + 2)}${steps}${" ".repeat(space)}${end}`].join("\n");
}

interface Canvas {
  readonly columns: number;
  readonly rows: number;
  readonly cell: typeof BRAILLE | typeof ASCII;
}

/** Marks each dot, and the dots between its neighbours' heights so that the curve has no holes. */
function plot(dots: readonly number[], { columns, rows, cell }: Canvas): number[][] {
  const cells = Array.from({ length: rows }, () => new Array<number>(columns).fill(0));
  dots.forEach((dot, x) => {
    const before = dots[x - 1] ?? dot;
    // Stop one short of the last column's dot: it is marked there.
    const from = before < dot ? before + 1 : dot;
    const to = before > dot ? before - 1 : dot;
    for (let y = from; y <= to; y++) {
      const row = cells[Math.floor(y / cell.down)];
      const column = Math.floor(x / cell.across);
      const bit = cell.bits[(x % cell.across) * cell.down + (y % cell.down)] ?? 0;
      if (row !== undefined) row[column] = (row[column] ?? 0) | bit;
    }
  });
  return cells;
}

/** One value per dot column: the mean of the points in it, or on the line between the nearest columns that have one. */
function resample(points: readonly CurvePoint[], columns: number): readonly number[] {
  const start = points[0]?.step ?? 0;
  const span = (points.at(-1)?.step ?? 0) - start;
  const sums = new Array<number>(columns).fill(0);
  const counts = new Array<number>(columns).fill(0);
  for (const { step, loss } of points) {
    const column = span === 0 ? 0 : Math.round(((step - start) / span) * (columns - 1));
    sums[column] = (sums[column] ?? 0) + loss;
    counts[column] = (counts[column] ?? 0) + 1;
  }
  const known = sums.flatMap((sum, column) => {
    const count = counts[column] ?? 0;
    return count === 0 ? [] : [{ column, mean: sum / count }];
  });
  let next = 0;
  return sums.map((_, column) => {
    while (next < known.length - 1 && (known[next]?.column ?? 0) < column) next++;
    const right = known[next] ?? { column: 0, mean: 0 };
    const left = column >= right.column ? right : (known[next - 1] ?? right);
    if (left.column === right.column) return right.mean;
    const share = (column - left.column) / (right.column - left.column);
    return left.mean + share * (right.mean - left.mean);
  });
}

const glyph = (bits: number, ascii: boolean): string => {
  if (bits === 0) return " ";
  return ascii ? "*" : String.fromCodePoint(0x2800 + bits);
};

const formatLoss = (loss: number): string =>
  loss !== 0 && (Math.abs(loss) < 0.001 || Math.abs(loss) >= 10_000)
    ? loss.toExponential(2)
    : loss.toFixed(3);
