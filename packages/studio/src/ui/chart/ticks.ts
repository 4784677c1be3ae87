// made once: one for each number takes longer than drawing the curve
const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });

/** A number at an axis: short, and without digits that say nothing. */
export function tickText(value: number): string {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size < 1e-3 || size >= 1e6) return Number(value.toPrecision(4)).toExponential().replace("e+", "e");
  return plain.format(Number(value.toPrecision(6)));
}
